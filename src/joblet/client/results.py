"""
What a server's answers say: plain values, no messages of the wire.

Runs in: a user's program. May not: import grpc or protobuf; import `domain.job`, whose nine classes take as long
to build as a whole call over the wire.
Source: API specification, "Job", "GetJobStatus", "StopJob".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joblet.domain.job import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    A job, as it is started and listed.

    Args:
        status: To compare with `JobState`; a server newer than this client may have more of them.
        cpu_max_percent: 100 is one core.
        io_max_bytes_per_s: 0 for unlimited.
        started_at: None until its command has been started.
        ended_at: None until it has ended.
        exit_code: None until it has ended; 128 + n after signal n; -1 when it was stopped.
        secret_environment: The names; a server never sends the values.
    """

    id: str
    status: str
    command: str
    args: tuple[str, ...] = ()
    name: str = ""
    cpu_max_percent: int = 0
    cpu_cores: str = ""
    memory_max_bytes: int = 0
    io_max_bytes_per_s: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.exit_code is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus(Job):
    """
    Everything a server tells about one job.

    Args:
        timeout_s: Seconds it may run; 0 for no limit.
        reason: Why it ended, in words; empty for a plain exit.
        signal: That ended its command; 0 for none.
        oom_killed: The kernel killed one of its processes for memory.
        log_bytes: Length of its log so far.
        limits_enforced: "yes", or why the limits are not enforced; empty from a server that does not tell.
        workflow_id: UUID of the workflow it belongs to; empty for none.
        dependencies: Names of the workflow's jobs it had to wait for.
    """

    usage: "Usage"
    work_dir: str = ""
    timeout_s: int = 0
    reason: str = ""
    signal: int = 0
    oom_killed: bool = False
    log_bytes: int = 0
    limits_enforced: str = ""
    workflow_id: str = ""
    dependencies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedWorkflow:
    """
    A workflow after `run_workflow`: what to ask for it by.

    Args:
        name: As it was given.
        status: When its first jobs had been begun with: as `Workflow`'s.
    """

    id: str
    name: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """
    A workflow, as it is listed and shown.

    Args:
        name: What its user calls it: mostly the name of its file.
        status: PENDING, RUNNING, COMPLETED, FAILED, CANCELED or STOPPED.
        canceled_jobs: Will never start, or were stopped.
        started_at: When its first job was; None before.
        ended_at: None until it has ended.
        reason: Why it ended, where its jobs do not say so.
        yaml: Its file, with the values of secrets masked; empty in a list.
    """

    id: str
    name: str
    status: str
    total_jobs: int
    completed_jobs: int = 0
    failed_jobs: int = 0
    canceled_jobs: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    yaml: str = field(default="", repr=False)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.ended_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowJob:
    """
    One job of a workflow.

    Args:
        job_id: UUID of its newest attempt, to be asked for as any job; None when it was not started.
        status: PENDING until it is started, then as the job's own; CANCELED when it never will be.
        exit_code: None until it has ended.
        reason: Why it was canceled, or ended so; empty for a plain exit.
        attempts: How often it was started; 0 also from a server that does not tell.
    """

    job_id: str | None
    name: str
    status: str
    dependencies: tuple[str, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStatus:
    """A workflow and each of its jobs, in the order of its file."""

    workflow: Workflow
    jobs: tuple[WorkflowJob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedJob:
    """A job after `stop_job`: nothing of it is left on the machine."""

    id: str
    status: str
    ended_at: datetime | None
    exit_code: int
