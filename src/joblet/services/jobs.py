"""
Jobs: run, look up, list, stop.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: API specification, "RunJob", "GetJobStatus", "StopJob", "ListJobs".
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from joblet.domain.errors import AmbiguousJobId, JobletError, JobNotFound, JobNotRunning, TooManyJobs
from joblet.domain.job import MASK, Ended, Job, JobId, JobSpec
from joblet.domain.limits import Machine
from joblet.ports import Clock, Engine, JobStore, Journal, LogStore
from joblet.services.lives import JobListener, Lives
from joblet.services.request import JobDefaults, JobRequest, spec_of, unchecked_spec

STOPPED_ON_REQUEST: Final = "stopped on request"

PIECE_OF_LIST: Final = 100  # jobs, or workflows


class Jobs:
    """
    The use cases of jobs.

    `consume` must run for as long as this object is used: without it no job is ever seen to end.

    Args:
        new_id: Makes the UUID of each new job.
        engine_wait_s: How long a start whose answer was lost waits for the engine to come back.
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
    ) -> None:
        self._store = store
        self._logs = logs
        self._clock = clock
        self._journal = journal
        self._defaults = defaults
        self._machine = machine
        self._new_id = new_id
        self._lives = Lives(engine, store, logs, clock, journal, engine_wait_s=engine_wait_s)

    def listen(self, listener: JobListener) -> None:
        """Tell this listener too, from now on."""
        self._lives.listen(listener)

    async def consume(self) -> None:
        """Follow the engine's events until it is closed: one task for the life of the server."""
        await self._lives.consume()

    async def attached(self) -> None:
        """Wait until the engine has answered once and the store agrees with it: then the server may take calls."""
        await self._lives.attached()

    async def close(self) -> None:
        """Finish the starts under way and store what is known. Jobs run on. Call before the store is closed."""
        await self._lives.close()

    # Use cases

    async def run(self, request: JobRequest) -> Job:
        """
        Create a job and start it.

        A caller that is cancelled does not take the job with it: it is stored and runs.

        Returns:
            The job, durable, RUNNING or already ended.

        Raises:
            InvalidCommand, InvalidLimit, InvalidRequest, TooManyJobs: No job was made.
            CgroupSetupFailed, IsolationFailed, NotLinux: The job is stored as FAILED with this reason.
            EngineUnavailable: The job is stored as FAILED, and killed should it be found to run.
            JobNotStored: Nothing of it is kept; it was stopped if it had been started.
        """
        spec = spec_of(request, self._defaults, self._machine)
        if not self.room:
            self._journal.log(
                "WARN", "job refused: too many jobs", maxConcurrentJobs=self._defaults.max_concurrent_jobs
            )
            raise TooManyJobs(self._defaults.max_concurrent_jobs)
        _, starting = self._start(spec)
        return await asyncio.shield(starting)

    @property
    def room(self) -> int:
        """How many more jobs may be started now."""
        return max(0, self._defaults.max_concurrent_jobs - len(self._lives))

    def start_in_workflow(self, request: JobRequest, workflow: str, dependencies: tuple[str, ...]) -> JobId:
        """
        Create and start a job of a workflow, whether or not there is room. It is never refused for want of an engine.

        Returns:
            Its id. Listeners are told of its end, or that it was unmade. One that is found never to have run ends
            FAILED with the reason `LOST_IN_SETUP`, and one that this machine cannot run with the reason for that.
        """
        refusal = None
        try:
            spec = spec_of(request, self._defaults, self._machine)
        except JobletError as error:  # it was checked when it was submitted, but the machine may be another one now
            spec, refusal = unchecked_spec(request), error
        job_id, _ = self._start(spec, workflow, dependencies, refusal)
        return job_id

    def stop_in_workflow(self, job_id: JobId, reason: str) -> None:
        """Begin to stop a job, unless it has ended."""
        life = self._lives.get(job_id)
        if life is not None:
            self._lives.stop(life, reason)

    def of_workflow(self, workflow: str) -> Sequence[Job]:
        """Every attempt of a workflow's jobs as it stands now, in the order in which they were made."""
        return [self._lives.as_it_stands(job) for job in self._store.of_workflow(workflow)]

    def resolve(self, id_or_prefix: str) -> JobId:
        """
        The job with this UUID, or the only one whose UUID starts so (upper or lower case).

        Raises:
            JobNotFound: None; an empty prefix matches nothing.
            AmbiguousJobId: Several, with their ids.
        """
        prefix = id_or_prefix.lower()
        life = self._lives.get(JobId(prefix))
        if life is not None and life.recorded:
            return life.job.id
        found = self._store.matching(prefix, 2)
        if not found:
            raise JobNotFound(id_or_prefix)
        if len(found) > 1:
            raise AmbiguousJobId(id_or_prefix, self._store.matching(prefix, 1_000_000))
        return found[0]

    def get(self, id_or_prefix: str) -> Job:
        """One job as it stands now. Raises as `resolve`."""
        job_id = JobId(id_or_prefix.lower())
        if self._lives.get(job_id) is None and (job := self._stored(job_id)) is not None:
            return job  # programs ask with a whole id: one look into the store instead of two
        return self.newest(self.resolve(id_or_prefix))

    def newest(self, job_id: JobId) -> Job:
        """
        One job as it stands now, by its full id.

        Raises:
            JobNotFound: No such job.
        """
        life = self._lives.get(job_id)
        job = life.job if life is not None else self._stored(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    def recorded(self, job_id: JobId) -> Job | None:
        """One job as it stands now, by its full id; None before users know of it."""
        life = self._lives.get(job_id)
        if life is not None:
            return life.job if life.recorded else None
        return self._stored(job_id)

    def list(self) -> Sequence[Job]:
        """Every job as it stands now, oldest first. Holds the loop as long as that takes: see `newest_first`."""
        return [self._lives.as_it_stands(job) for job in self._store.all()]

    def newest_first(self) -> Iterator[Sequence[Job]]:
        """
        Every job as it stands when its piece is asked for, newest first.

        In pieces that hold the loop for milliseconds: 30,000 jobs at once would hold it for more than a second.
        """
        last = None
        while piece := self._store.older_than(last, PIECE_OF_LIST):
            yield [self._lives.as_it_stands(job) for job in piece]
            last = piece[-1].id

    def log_bytes(self, job: Job) -> int:
        """Length of the job's log: so far, or in the end."""
        return job.phase.log_bytes if isinstance(job.phase, Ended) else self._logs.size_bytes(job.id)

    async def stop(self, id_or_prefix: str) -> Job:
        """
        Stop a job: SIGTERM, 100 ms, SIGKILL; returns once nothing of it is left and its end is stored.

        May be called many times at once; all get the same end. A job that ended by itself in the
        meantime is returned with its own end. A caller that is cancelled does not call the stop off.

        Raises:
            JobNotFound, AmbiguousJobId: As `resolve`.
            JobNotRunning: It had already ended, with its status.
        """
        job_id = self.resolve(id_or_prefix)
        life = self._lives.get(job_id)
        if life is None:
            raise JobNotRunning(job_id, self.newest(job_id).state)
        self._lives.stop(life, STOPPED_ON_REQUEST)
        await life.over.wait()
        return life.job

    async def wait_ended(self, job_id: JobId) -> Job:
        """
        The job, once it has ended and its end is stored; at once when it already has. Takes a full id.

        Raises:
            JobNotFound: No such job.
        """
        life = self._lives.get(job_id)
        if life is None:
            return self.newest(job_id)
        await life.over.wait()
        return life.job

    def _start(
        self,
        spec: JobSpec,
        workflow: str = "",
        dependencies: tuple[str, ...] = (),
        refusal: JobletError | None = None,
    ) -> tuple[JobId, asyncio.Task[Job]]:
        job = Job(
            JobId(self._new_id()),
            spec,
            self._clock.now_ns(),
            limits_enforced=self._lives.limits_enforced,
            workflow=workflow,
            dependencies=dependencies,
        )
        masked = replace(spec, secret_environment=dict.fromkeys(spec.secret_environment, MASK))
        return job.id, self._lives.start(job, replace(job, spec=masked), refusal)

    def _stored(self, job_id: JobId) -> Job | None:
        job = self._store.get(job_id)
        return None if job is None else self._lives.as_it_stands(job)
