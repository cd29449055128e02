"""
Jobs: run, look up, list, stop, and follow what the engine says of them.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: API specification, "RunJob", "GetJobStatus", "StopJob", "ListJobs".
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from joblet.domain.job import Job, JobId
from joblet.domain.limits import Machine
from joblet.ports import Clock, Engine, JobStore, Journal, LogStore
from joblet.services.request import JobDefaults, JobRequest


class JobListener(Protocol):
    """Who wants to hear of jobs as they change (`services.logs.Logs`). Called in the loop; must not raise or wait."""

    def engine_attached(self) -> None:
        """The engine answers (again); what it was asked to watch before is forgotten."""

    def job_running(self, job_id: JobId) -> None:
        """Its command has been started."""

    def job_ended(self, job: Job) -> None:
        """It is over, all of its output is in the log, and both are stored."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """So much of its log can be read now."""


class Jobs:
    """
    The use cases of jobs.

    `consume` must run for as long as this object is used: without it no job is ever seen to end.

    Args:
        new_id: Makes the UUID of each new job.
        engine_wait_s: How long a new job waits for an engine that does not answer.
    """

    def __init__(
        self,
        engine: Engine,
        store: JobStore,
        logs: LogStore,
        clock: Clock,
        journal: Journal,
        *,
        defaults: JobDefaults,
        machine: Machine,
        new_id: Callable[[], str],
        engine_wait_s: float = 10.0,
    ) -> None: ...

    def listen(self, listener: JobListener) -> None:
        """Tell this listener too, from now on."""

    async def consume(self) -> None:
        """Follow the engine's events until it is closed: one task for the life of the server."""

    async def attached(self) -> None:
        """Wait until the engine has answered and the store agrees with it: then the server may take calls."""

    async def close(self) -> None:
        """Finish the starts under way and store what is known. Jobs run on. Call before the store is closed."""

    async def run(self, request: JobRequest) -> Job:
        """
        Create a job and start it.

        A caller that is cancelled does not take the job with it: it is stored and runs.

        Returns:
            The job, durable, RUNNING or already ended.

        Raises:
            InvalidCommand, InvalidLimit, InvalidRequest, TooManyJobs: No job was made.
            CgroupSetupFailed, IsolationFailed, NotLinux: The job is stored as FAILED with this reason.
            EngineUnavailable: No job was made, or it is stored as FAILED and will be killed should it still run.
            StorageFailed: The job is not stored, and stopped if it had been started.
        """
        raise NotImplementedError

    def resolve(self, id_or_prefix: str) -> JobId:
        """
        The job with this UUID, or the only one whose UUID starts so (upper or lower case).

        Raises:
            JobNotFound: None; an empty prefix matches nothing.
            AmbiguousJobId: Several, with their ids.
        """
        raise NotImplementedError

    def get(self, id_or_prefix: str) -> Job:
        """One job as it stands now. Raises as `resolve`."""
        raise NotImplementedError

    def list(self) -> Sequence[Job]:
        """Every job as it stands now, oldest first."""
        raise NotImplementedError

    def log_bytes(self, job: Job) -> int:
        """Length of the job's log: so far, or in the end."""
        raise NotImplementedError

    async def stop(self, id_or_prefix: str) -> Job:
        """
        Stop a job: SIGTERM, 100 ms, SIGKILL; returns once nothing of it is left and its end is stored.

        May be called many times at once; all get the same end. A job that ended by itself in the
        meantime is returned with its own end. A caller that is cancelled does not call the stop off.

        Raises:
            JobNotFound, AmbiguousJobId: As `resolve`.
            JobNotRunning: It had already ended, with its status.
        """
        raise NotImplementedError

    async def wait_ended(self, job_id: JobId) -> Job:
        """The job, once it has ended and its end is stored; at once when it already has. Takes a full id."""
        raise NotImplementedError
