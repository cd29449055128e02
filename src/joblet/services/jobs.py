"""
Jobs: run, look up, list, stop, and follow what the engine says of them.

    RunJob ─► checks ─► store.add ┐ side by side
                       engine.start ┘─► RUNNING ──── JobEnded ─► stored ─► told ─► forgotten by the engine

An end is told to nobody before it is stored, and forgotten by the engine after that: whatever
is killed in between, the end is found again. Promises about a job that is started: its record
goes first, its end waits for its start, and a job without a record does not run on.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: API specification, "RunJob", "GetJobStatus", "StopJob", "ListJobs"; design, "State".
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from joblet.domain.errors import (
    AmbiguousJobId,
    EngineUnavailable,
    JobletError,
    JobNotFound,
    JobNotRunning,
    TooManyJobs,
)
from joblet.domain.job import (
    MASK,
    Ended,
    IllegalTransition,
    Job,
    JobEvent,
    JobId,
    JobSpec,
    JobState,
    Running,
    Waiting,
    after,
)
from joblet.domain.limits import Machine
from joblet.domain.reconcile import UNKNOWN_EXIT_CODE, Kill, MarkLost, MarkRunning, reconcile
from joblet.ports import (
    Attached,
    Clock,
    Detached,
    Engine,
    EngineEvent,
    JobEnded,
    JobStore,
    Journal,
    LogGrew,
    LogStore,
    Notice,
)
from joblet.services.ledger import Ledger
from joblet.services.request import JobDefaults, JobRequest, spec_of

STOPPED_ON_REQUEST: Final = "stopped on request"
_NOT_STORED: Final = "its record could not be stored"
_NOT_ANSWERED: Final = "nobody waits for it: its start was never confirmed"
_COMMAND_SHOWN: Final = 200


class JobListener(Protocol):
    """Who wants to hear of jobs as they change (`services.logs.Logs`). Called in the loop; must not raise or wait."""

    def engine_attached(self) -> None:
        """The engine answers (again); what it was asked to watch before is forgotten."""

    def job_running(self, job_id: JobId) -> None:
        """Its command has been started."""

    def job_ended(self, job: Job) -> None:
        """It is over, all of its output is in the log, and its end is stored."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """So much of its log can be read now."""


@dataclass(slots=True, eq=False)
class _Life:
    """
    A job that has not ended, as this server lives through it.

    Args:
        starting: Its start has been asked for and not answered: its end, should it come first, is held back.
        recorded: Whether it is in the store: only then do users know it.
        stop_reason: Why it is to be stopped; asked for again whenever the engine comes back.
        end: How it ended, once that is known; `job` has it once it is told.
        concluded: Whether that end is on its way into the store.
        judged: Set when the engine has said what became of a start whose answer was lost.
        over: Set when its end has been told.
    """

    job: Job
    starting: bool = False
    recorded: bool = True
    stop_reason: str = ""
    end: Ended | None = None
    concluded: bool = False
    judged: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


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
        self._engine = engine
        self._store = store
        self._logs = logs
        self._clock = clock
        self._journal = journal
        self._defaults = defaults
        self._machine = machine
        self._new_id = new_id
        self._engine_wait_s = engine_wait_s
        self._lives = {job.id: _Life(job) for job in store.unfinished()}
        self._ledger = Ledger(store, journal, self._tell_ends)
        self._listeners: list[JobListener] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._attached: Attached | None = None
        self._limits_enforced = "yes"
        self._first_attached = asyncio.Event()
        self._attachments = 0

    def listen(self, listener: JobListener) -> None:
        """Tell this listener too, from now on."""
        self._listeners.append(listener)

    async def consume(self) -> None:
        """Follow the engine's events until it is closed: one task for the life of the server."""
        async for event in self._engine.events():
            try:
                self._happened(event)
            except Exception as error:
                # One job's surprise must not leave all the others without their ends.
                self._journal.log("ERROR", "engine event failed", event=type(event).__name__, error=repr(error))

    async def attached(self) -> None:
        """Wait until the engine has answered once and the store agrees with it: then the server may take calls."""
        await self._first_attached.wait()

    async def close(self) -> None:
        """Finish the starts and stops under way and store what is known. Jobs run on. Call before the store closes."""
        under_way = [task for task in self._tasks if not task.done()]
        if under_way:
            await asyncio.wait(under_way, timeout=self._engine_wait_s)
        for task in self._tasks:
            task.cancel()
        await self._ledger.close()

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
            StorageFailed: The job is not stored, and stopped if it had been started.
        """
        spec = spec_of(request, self._defaults, self._machine)
        if len(self._lives) >= self._defaults.max_concurrent_jobs:
            self._journal.log(
                "WARN", "job refused: too many jobs", maxConcurrentJobs=self._defaults.max_concurrent_jobs
            )
            raise TooManyJobs(self._defaults.max_concurrent_jobs)
        job = Job(JobId(self._new_id()), spec, self._clock.now_ns(), limits_enforced=self._limits_enforced)
        masked = replace(job, spec=replace(spec, secret_environment=dict.fromkeys(spec.secret_environment, MASK)))
        life = self._lives[job.id] = _Life(masked, starting=True, recorded=False)
        return await asyncio.shield(self._task(self._start(life, job)))

    def resolve(self, id_or_prefix: str) -> JobId:
        """
        The job with this UUID, or the only one whose UUID starts so (upper or lower case).

        Raises:
            JobNotFound: None; an empty prefix matches nothing.
            AmbiguousJobId: Several, with their ids.
        """
        prefix = id_or_prefix.lower()
        found = self._store.matching(prefix, 2)
        if not found:
            raise JobNotFound(id_or_prefix)
        if len(found) > 1:
            raise AmbiguousJobId(id_or_prefix, self._store.matching(prefix, 1_000_000))
        return found[0]

    def get(self, id_or_prefix: str) -> Job:
        """One job as it stands now. Raises as `resolve`."""
        return self.newest(self.resolve(id_or_prefix))

    def newest(self, job_id: JobId) -> Job:
        """
        One job as it stands now, by its full id.

        Raises:
            JobNotFound: No such job.
        """
        life = self._lives.get(job_id)
        if life is not None:
            return life.job
        job = self._ledger.unstored.get(job_id) or self._store.get(job_id)
        if job is None:
            raise JobNotFound(job_id)
        return job

    def list(self) -> Sequence[Job]:
        """Every job as it stands now, oldest first."""
        return [self._as_it_stands(job) for job in self._store.all()]

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
        if not life.stop_reason:
            life.stop_reason = STOPPED_ON_REQUEST
            self._journal.log("INFO", "job stop requested", jobId=job_id)
            self._stop(life)
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

    def _as_it_stands(self, stored: Job) -> Job:
        life = self._lives.get(stored.id)
        return life.job if life is not None else self._ledger.unstored.get(stored.id, stored)

    # Start

    async def _start(self, life: _Life, job: Job) -> Job:
        attachments = self._attachments
        stored, started = await asyncio.gather(
            self._store.add(life.job), self._engine.start(job), return_exceptions=True
        )
        life.starting = False
        life.recorded = not isinstance(stored, BaseException)
        if isinstance(started, EngineUnavailable):
            started = await self._judgement(life, started, attachments)
        if isinstance(stored, BaseException):
            await self._unmake(life, running=isinstance(started, Running))
            self._start_failed(life.job, stored)
            raise stored
        if isinstance(started, BaseException):
            self._start_failed(life.job, started)
            self._conclude(life, self._failed(life.job, str(started)))
            await life.over.wait()
            raise started
        self._started(life, started)
        return life.job

    async def _judgement(self, life: _Life, lost: EngineUnavailable, attachments: int) -> Running | EngineUnavailable:
        """What became of a start whose answer was lost: the next `Attached` tells."""
        if self._attachments > attachments and self._attached is not None:
            # It came while the start was still in flight. Of others it is no news any more.
            found = self._attached.running.get(life.job.id)
            self._reconcile([life], {life.job.id: found} if found else {}, self._attached.ended)
        if life.end is None and not life.judged.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._engine_wait_s):
                    await life.judged.wait()
        if isinstance(life.job.phase, Running):
            return life.job.phase
        if life.end is not None and life.end.started_ns:
            return Running(life.end.started_ns, pid=0)
        return lost

    def _started(self, life: _Life, running: Running) -> None:
        self._journal.log(
            "INFO",
            "job started successfully",
            jobId=life.job.id,
            pid=running.pid,
            command=_shown(life.job.spec),
            duration=f"{(self._clock.now_ns() - life.job.created_ns) / 1e6:.0f}ms",
        )
        if not life.concluded:
            self._runs(life, running)
        if life.end is not None:
            self._conclude(life, life.end)
        elif life.stop_reason:
            self._stop(life)

    def _runs(self, life: _Life, running: Running) -> None:
        if life.job.phase == running:
            return
        life.job = replace(life.job, phase=running)
        if life.recorded:
            self._ledger.enter_soon(life.job)
        for listener in self._listeners:
            listener.job_running(life.job.id)

    async def _unmake(self, life: _Life, *, running: bool) -> None:
        """Nothing half-made: a job that could not be recorded does not run on."""
        if running and life.end is None:
            life.stop_reason = life.stop_reason or _NOT_STORED
            self._stop(life)
            await life.over.wait()
        self._lives.pop(life.job.id, None)
        await self._forget([life.job.id])

    def _start_failed(self, job: Job, error: BaseException) -> None:
        self._journal.log("ERROR", "job failed to start", jobId=job.id, command=_shown(job.spec), error=str(error))

    # Stop

    def _stop(self, life: _Life) -> None:
        self._task(self._ask_to_stop(life.job.id, life.stop_reason))

    async def _ask_to_stop(self, job_id: JobId, reason: str) -> None:
        # An engine that is away is asked again when it is back.
        with suppress(EngineUnavailable):
            await self._engine.stop(job_id, reason)

    # What the engine says

    def _happened(self, event: EngineEvent) -> None:
        match event:
            case Attached():
                self._engine_attached(event)
            case Detached(why=why):
                self._attached = None
                self._journal.log("WARN", "engine lost", why=why)
            case JobEnded(job_id=job_id, ended=ended):
                self._job_ended(job_id, ended)
            case LogGrew(job_id=job_id, size_bytes=size_bytes):
                for listener in self._listeners:
                    listener.log_grew(job_id, size_bytes)
            case Notice():
                self._journal.log(event.level, event.message, **event.fields)

    def _engine_attached(self, attached: Attached) -> None:
        self._attached = attached
        self._limits_enforced = attached.limits_enforced
        self._attachments += 1
        level = "INFO" if attached.limits_enforced == "yes" else "WARN"
        self._journal.log(
            level, "engine attached", running=len(attached.running), limitsEnforced=attached.limits_enforced
        )
        self._reconcile(list(self._lives.values()), attached.running, attached.ended)
        for life in self._lives.values():
            if life.stop_reason and not life.concluded:
                self._stop(life)
        for listener in self._listeners:
            listener.engine_attached()
        self._first_attached.set()

    def _reconcile(self, lives: Sequence[_Life], running: Mapping[JobId, Running], ended: Collection[JobId]) -> None:
        actions = reconcile(
            [life.job for life in lives if not life.starting and not life.concluded],
            running=running,
            ended=ended,
            in_flight=[life.job.id for life in lives if life.starting],
        )
        for action in actions:
            match action:
                case MarkRunning(job_id=job_id, running=found):
                    self._journal.log("INFO", "job found running", jobId=job_id, pid=found.pid)
                    self._runs(self._lives[job_id], found)
                case MarkLost(job_id=job_id, reason=reason):
                    life = self._lives[job_id]
                    self._journal.log("WARN", "job lost", jobId=job_id, reason=reason)
                    self._task(self._ask_to_stop(job_id, reason))
                    self._conclude(life, self._failed(life.job, reason))
                case Kill(job_id=job_id):
                    self._journal.log("WARN", "unknown job killed", jobId=job_id)
                    self._task(self._ask_to_stop(job_id, _NOT_ANSWERED))
        for life in lives:
            # One that has an end to tell is judged by that.
            if not life.starting and life.job.id not in ended:
                life.judged.set()

    def _job_ended(self, job_id: JobId, ended: Ended) -> None:
        life = self._lives.get(job_id)
        if life is None:
            # Its end was stored and the forgetting lost, or it is one that no user ever knew of.
            if self._store.get(job_id) is None:
                self._journal.log("WARN", "unknown job ended", jobId=job_id, reason=ended.reason)
            if job_id not in self._ledger.unstored:
                self._task(self._forget([job_id]))
        elif life.end is None:
            life.end = ended
            life.judged.set()
            if not life.starting:
                self._conclude(life, ended)

    def _conclude(self, life: _Life, ended: Ended) -> None:
        """This is its end: into the store with it. A second one changes nothing."""
        if life.concluded:
            return
        event = _event_of(life.job, ended)
        if after(life.job.state, event) is not ended.state:
            raise IllegalTransition(life.job.state, event)
        life.end = ended
        life.concluded = True
        if life.recorded:
            self._ledger.enter(replace(life.job, phase=ended))
        else:
            self._lives.pop(life.job.id, None)
            life.over.set()

    def _failed(self, job: Job, reason: str) -> Ended:
        return Ended(
            JobState.FAILED,
            exit_code=UNKNOWN_EXIT_CODE,
            started_ns=job.phase.started_ns if isinstance(job.phase, Running) else 0,
            ended_ns=self._clock.now_ns(),
            reason=reason,
            log_bytes=self._logs.size_bytes(job.id),
        )

    def _tell_ends(self, jobs: Sequence[Job], *, stored: bool) -> None:
        for job in jobs:
            life = self._lives.pop(job.id, None)
            if life is not None:
                life.job = job
                self._log_end(job)
                for listener in self._listeners:
                    listener.job_ended(job)
                life.over.set()
        if stored:
            self._task(self._forget([job.id for job in jobs]))

    async def _forget(self, job_ids: Sequence[JobId]) -> None:
        with suppress(EngineUnavailable):  # it tells the ends again, and then it is asked again
            await self._engine.forget(job_ids)

    def _log_end(self, job: Job) -> None:
        ended = job.phase
        assert isinstance(ended, Ended)
        level, message = _END_LINE[ended.state]
        facts: dict[str, object] = {"jobId": job.id, "exitCode": ended.exit_code}
        if ended.started_ns:
            facts["duration"] = f"{(ended.ended_ns - ended.started_ns) / 1e6:.0f}ms"
        facts["logBytes"] = ended.log_bytes
        if ended.usage.cpu_usec:
            facts["cpu"] = f"{ended.usage.cpu_usec / 1e3:.0f}ms"
        if ended.reason:
            facts["reason"] = ended.reason
        self._journal.log(level, message, **facts)
        if ended.oom_killed:
            self._journal.log("WARN", "memory limit exceeded", jobId=job.id, maxMemory=job.spec.limits.memory_max_bytes)

    # Tasks

    def _task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Retrieved here too: the caller that would have got it may be gone.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, JobletError):
            self._journal.log("ERROR", "internal error", error=repr(error))


_END_LINE: Final = {
    JobState.COMPLETED: ("INFO", "job completed"),
    JobState.FAILED: ("ERROR", "job failed"),
    JobState.STOPPED: ("INFO", "job stopped"),
}


def _event_of(job: Job, ended: Ended) -> JobEvent:
    match ended.state:
        case JobState.COMPLETED:
            return JobEvent.EXITED_ZERO
        case JobState.STOPPED:
            return JobEvent.STOP_FINISHED
        case _ if isinstance(job.phase, Waiting) and not ended.started_ns:
            return JobEvent.SETUP_FAILED
        case _:
            return JobEvent.EXITED_NONZERO


def _shown(spec: JobSpec) -> str:
    words = " ".join((spec.command, *spec.args[:_COMMAND_SHOWN]))
    return words if len(words) <= _COMMAND_SHOWN else f"{words[:_COMMAND_SHOWN]}…"
