"""
What the services need from the outside, and what they may rely on.

Each sentence of a docstring here is a test in `joblet/testing/contracts/`, run
against the fake and against the real thing.

Runs in: server loop. May not: import an adapter, grpc or sqlite3.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from joblet.domain.job import Ended, Job, JobId, Running
from joblet.domain.retention import Space, StoredLog
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob


@dataclass(frozen=True, slots=True)
class Attached:
    """
    The engine answers (at start, and again after it was lost): this is what it runs.

    Args:
        running: Every job whose command has been started and whose end is not yet known.
        ended: Every job whose end nobody has forgotten, also those of an earlier engine: each follows as
            `JobEnded`. Without this list, a job that ended unwatched could not be told from one that is lost.
            A job that stands in neither has no command that runs, and never will.
        limits_enforced: "yes", or why limits are not enforced here.
    """

    running: Mapping[JobId, Running]
    ended: Collection[JobId]
    limits_enforced: str = "yes"


@dataclass(frozen=True, slots=True)
class Detached:
    """The engine does not answer any more; its jobs run on, and `Attached` follows when it is back."""

    why: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job is over, all of its output is in the log, and nothing of it is left on the machine."""

    job_id: JobId
    ended: Ended


@dataclass(frozen=True, slots=True)
class LogGrew:
    """So many bytes of a watched job's log can be read now."""

    job_id: JobId
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Notice:
    """
    Something an administrator should read in the server log.

    Args:
        level: DEBUG, INFO, WARN or ERROR.
    """

    level: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)


EngineEvent = Attached | Detached | JobEnded | LogGrew | Notice


class Engine(Protocol):
    """Who runs jobs."""

    async def start(self, job: Job) -> Running:
        """
        Set a job up and start its command.

        Returns once the command has been started, or could not be executed: a program that is
        missing or not executable is a job that ends with 127 or 126, not a failure to start.

        Raises:
            CgroupSetupFailed, IsolationFailed, NotLinux: The set-up failed; nothing of the job is left.
            EngineUnavailable: The engine was lost meanwhile. The job may or may not have been
                started: the next `Attached` tells.
        """
        ...

    async def stop(self, job_id: JobId, reason: str = "") -> None:
        """
        Begin to stop a job: SIGTERM to its process group, STOP_GRACE_MS, SIGKILL to all of it.

        Its end arrives as `JobEnded` with state STOPPED, exit code -1 and this reason.
        A job that has ended, or is unknown, is left alone. The first reason counts.

        Raises:
            EngineUnavailable: The engine is away: ask again after `Attached`.
        """
        ...

    async def forget(self, job_ids: Sequence[JobId]) -> None:
        """The ends of these jobs are stored: what the engine kept for them may go (their logs stay)."""
        ...

    def watch_log(self, job_id: JobId) -> None:
        """
        Tell with `LogGrew` how far this job's log can be read, now and whenever it grows.

        Watching a job again is watching it once. It is forgotten at the job's end and when the
        engine is lost (watch again after `Attached`).
        """
        ...

    def unwatch_log(self, job_id: JobId) -> None:
        """No more `LogGrew` for this job."""
        ...

    def events(self) -> AsyncIterator[EngineEvent]:
        """
        What happens, in order, for one consumer.

        The first event is `Attached` or `Detached`. A `JobEnded` is repeated after every
        `Attached` until it is forgotten. Per job, `LogGrew` never shrinks.
        """
        ...

    async def close(self) -> None:
        """Let go of the engine; its jobs run on."""
        ...


class JobStore(Protocol):
    """
    Where jobs are kept for ever.

    Secret values are never stored: a job read back has MASK in their place.
    """

    async def add(self, job: Job) -> None:
        """
        Store a new job; it is durable on return.

        Raises:
            StorageFailed: Nothing was stored.
        """
        ...

    async def update(self, job: Job) -> None:
        """
        Store the new phase of a known job; it is durable on return.

        Raises:
            StorageFailed: The old phase still stands.
        """
        ...

    def get(self, job_id: JobId) -> Job | None:
        """The job with exactly this id."""
        ...

    def matching(self, prefix: str, limit: int) -> Sequence[JobId]:
        """Ids that start with this prefix, at most `limit`, sorted; none for an empty prefix."""
        ...

    def all(self) -> Sequence[Job]:
        """Every job, oldest first."""
        ...

    def older_than(self, job_id: JobId | None, limit: int) -> Sequence[Job]:
        """The next jobs before this one, newest first, at most `limit`; None to begin with the newest of all."""
        ...

    def unfinished(self) -> Sequence[Job]:
        """Every job that has not ended."""
        ...

    def of_workflow(self, workflow: str) -> Sequence[Job]:
        """The jobs of one workflow, each of their attempts, in the order in which they were added."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, then let go of the store."""
        ...


@dataclass(frozen=True, slots=True)
class StoredWorkflow:
    """
    A workflow that has not ended, as it was stored.

    Args:
        text: The file as it was submitted, with its secrets; empty when it cannot be read any more.
        stop_requested: Nothing of it may start any more.
    """

    workflow: Workflow
    text: str = field(repr=False)
    stop_requested: bool


class WorkflowStore(Protocol):
    """
    Where workflows are kept for ever. How far one has come is not: that follows from its jobs in the `JobStore`.

    What a secret's value can be read from is never stored in clear, and not longer than the workflow runs.
    """

    async def add(self, workflow: Workflow, text: str) -> None:
        """
        Store a new workflow; it is durable on return.

        Raises:
            StorageFailed: Nothing was stored.
        """
        ...

    async def request_stop(self, workflow_id: WorkflowId) -> None:
        """Note that it is to be stopped; durable on return. Raises StorageFailed."""
        ...

    async def finish(self, workflow: Workflow, jobs: Sequence[WorkflowJob]) -> None:
        """Store how it and each of its jobs ended, and forget its text; durable on return. Raises StorageFailed."""
        ...

    def get(self, workflow_id: WorkflowId) -> Workflow | None:
        """The workflow with exactly this id, as it was stored last."""
        ...

    def jobs(self, workflow_id: WorkflowId) -> Sequence[WorkflowJob]:
        """The jobs of a workflow that has ended, as `finish` was given them; none before."""
        ...

    def matching(self, prefix: str, limit: int) -> Sequence[WorkflowId]:
        """Ids that start with this prefix, at most `limit`, sorted; none for an empty prefix."""
        ...

    def older_than(self, workflow_id: WorkflowId | None, limit: int) -> Sequence[Workflow]:
        """The next workflows before this one, newest first, at most `limit`, without their yaml; None as for jobs."""
        ...

    def unfinished(self) -> Sequence[StoredWorkflow]:
        """Every workflow that has not ended, oldest first."""
        ...


class NotKept(Exception):
    """
    The beginning of a log was removed, and with it the byte that was to be read.

    Attributes:
        first_bytes: Offset of the first byte that is kept.
    """

    def __init__(self, first_bytes: int) -> None:
        super().__init__(f"the first {first_bytes} bytes are not kept any more")
        self.first_bytes = first_bytes


class LogStore(Protocol):
    """The bytes of the jobs' logs, by offset: byte n stays byte n whatever is removed before it."""

    async def read(self, job_id: JobId, offset_bytes: int, max_bytes: int) -> bytes:
        """
        At most `max_bytes` of a job's log from an offset on.

        Empty when nothing is there (yet), also for a job without a log. Bytes that were
        returned once are returned again until they are removed, and never become others.

        Raises:
            NotKept: The log's beginning was removed, this offset included.
            LogDamaged: The bytes that are there are not those of the job.
        """
        ...

    def size_bytes(self, job_id: JobId) -> int:
        """How far the log can be read now; 0 for a job without a log, or whose log was removed whole."""
        ...

    def first_bytes(self, job_id: JobId) -> int:
        """Offset of the first byte that is kept; 0 for a log that is whole, or not there."""
        ...

    async def offset_at(self, job_id: JobId, at_ns: int) -> int:
        """
        An offset that everything printed from this time on lies behind: the last one known; 0 when none is.

        Args:
            at_ns: Nanoseconds since the epoch.
        """
        ...

    def refresh(self) -> None:
        """Hold nothing on to logs that were removed or compressed meanwhile: their space is given back."""
        ...


class LogKeeper(Protocol):
    """
    The logs as files that take space: what retention does with them.

    Of each log one call at a time. Each gives back what it freed, in bytes on the disk, and is done again
    without harm: what a crash interrupted leaves a log that can be read as before or as after.

    Calls that change a log raise OSError when the disk refuses (nothing is lost), and LogBusy.
    """

    async def stored(self) -> Sequence[StoredLog]:
        """Every log there is."""
        ...

    async def mend(self, job_id: JobId) -> int:
        """Finish, or undo, what was interrupted."""
        ...

    async def trim(self, job_id: JobId, first_bytes: int) -> int:
        """Give back the space of a log's beginning, in whole blocks; it may still grow at its end."""
        ...

    async def compress(self, job_id: JobId) -> int:
        """Make an archive of a log that grows no more: the same bytes at the same offsets."""
        ...

    async def remove(self, job_id: JobId) -> int:
        """Remove a log and all that is known about it."""
        ...

    async def space(self) -> Space:
        """How full the disk is that the logs lie on."""
        ...


class LogBusy(Exception):
    """Another process works on this log; later it does not."""


class Clock(Protocol):
    """What time it is."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, UTC."""
        ...


class Journal(Protocol):
    """The server's log, for administrators."""

    def log(self, level: str, message: str, **fields: object) -> None:
        """
        Write one line.

        Args:
            level: DEBUG, INFO, WARN or ERROR.
            message: What happened, the same words each time.
            fields: On which values; never a secret and never an environment variable's value.
        """
        ...
