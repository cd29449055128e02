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
    """

    usage: "Usage"
    work_dir: str = ""
    timeout_s: int = 0
    reason: str = ""
    signal: int = 0
    oom_killed: bool = False
    log_bytes: int = 0
    limits_enforced: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedJob:
    """A job after `stop_job`: nothing of it is left on the machine."""

    id: str
    status: str
    ended_at: datetime | None
    exit_code: int
