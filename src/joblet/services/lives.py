"""
The lives of jobs: from the start that is asked for to the end that is told.

    start ─► store.add ┐ side by side
             engine.start ┘─► RUNNING ──── JobEnded ─► stored ─► told ─► forgotten by the engine

An end is told to nobody before it is stored, and the engine forgets it after that: whatever is
killed in between, the end is found again. Of a job that is started: its end waits for its
start, and without a record it does not run on.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: docs/contributors.md, "After a crash"; API specification, "Log Levels and Format".
"""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from joblet.domain.errors import EngineUnavailable, JobletError, JobNotStored, StorageFailed
from joblet.domain.job import Ended, Job, JobId, JobState, Running, with_end
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
from joblet.services import lifelines
from joblet.services.ledger import Ledger
from joblet.services.tasks import Tasks

T = TypeVar("T")

_NOT_STORED: Final = "its record could not be stored"
_NOT_ANSWERED: Final = "nobody waits for it: its start was never confirmed"
# Longer than a store needs for 10,000 ends; a store that refuses them, or a disk that refuses the last of their logs,
# must not keep the server from starting.
_SETTLE_S: Final = 2.0


class JobListener(Protocol):
    """Who wants to hear of jobs as they change (`services.logs.Logs`). Called in the loop; must not raise or wait."""

    def engine_attached(self) -> None:
        """The engine answers (again); what it was asked to watch before is forgotten."""

    def engine_lost(self) -> None:
        """The engine does not answer any more; jobs run on."""

    def job_running(self, job_id: JobId) -> None:
        """Its command has been started."""

    def job_ended(self, job: Job) -> None:
        """It is over, all of its output is in the log, and its end is stored."""

    def job_unmade(self, job: Job) -> None:
        """It could not be stored, and is gone: no user has known of it."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """So much of its log can be read now."""


@dataclass(slots=True, eq=False)
class Life:
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


class Lives:
    """
    Every job that has not ended, and what the engine says of it.

    Args:
        engine_wait_s: How long a start whose answer was lost waits for the engine; a workflow's waits for ever.
    """

    def __init__(
        self, engine: Engine, store: JobStore, logs: LogStore, clock: Clock, journal: Journal, *, engine_wait_s: float
    ) -> None:
        self._engine = engine
        self._store = store
        self._logs = logs
        self._clock = clock
        self._journal = journal
        self._engine_wait_s = engine_wait_s
        self._lives = {job.id: Life(job) for job in store.unfinished()}
        self._ledger = Ledger(store, journal, self._tell_ends)
        self._listeners: list[JobListener] = []
        self._tasks = Tasks(journal)
        self._attached: Attached | None = None
        self._first_attached = asyncio.Event()
        self._attachments = 0
        self.limits_enforced = "yes"

    def __len__(self) -> int:
        """Jobs INITIALIZING or RUNNING."""
        return len(self._lives)

    def get(self, job_id: JobId) -> Life | None:
        """The job's life, until its end is told."""
        return self._lives.get(job_id)

    def as_it_stands(self, stored: Job) -> Job:
        """What is known of a job beyond what the store says."""
        life = self._lives.get(stored.id)
        return life.job if life is not None else self._ledger.unstored.get(stored.id, stored)

    def listen(self, listener: JobListener) -> None:
        """Tell this listener too, from now on."""
        self._listeners.append(listener)

    async def attached(self) -> None:
        """Wait until the engine has answered once, and what ended while no server ran is told as ended."""
        await self._first_attached.wait()
        known = self._attached.ended if self._attached is not None else ()
        ending = [life for life in self._lives.values() if life.concluded or life.job.id in known]
        with suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                for life in ending:
                    await life.over.wait()

    async def consume(self) -> None:
        """Follow the engine's events until it is closed: one task for the life of the server."""
        async for event in self._engine.events():
            try:
                self._happened(event)
            except Exception as error:
                # One job's surprise must not leave all the others without their ends.
                self._journal.log("ERROR", "engine event failed", event=type(event).__name__, error=repr(error))

    async def close(self) -> None:
        """Finish the starts and stops under way and store what is known. Jobs run on. Call before the store closes."""
        await self._tasks.wait(self._engine_wait_s)
        self._tasks.cancel()
        await self._ledger.close()

    # Start

    def start(self, job: Job, recorded: Job, refusal: JobletError | None = None) -> asyncio.Task[Job]:
        """
        Store and start a new job; it counts from now on. The task must not be cancelled: shield it.

        A job of a workflow is stored before it is started: whatever is killed in between, whether its command has
        run is known, and it is started again if not. Others save that time, and are their user's to start again.

        Args:
            job: As the engine gets it.
            recorded: As everybody else sees it: without the values of secrets.
            refusal: Why it cannot be run; then it is stored with that as its end. Of jobs of a workflow only.
        """
        life = self._lives[job.id] = Life(recorded, starting=True, recorded=False)
        return self._tasks.start(self._start(life, job, refusal))

    async def _start(self, life: Life, job: Job, refusal: JobletError | None) -> Job:
        starting = None if job.workflow else self._tasks.start(self._engine.start(job))
        attachments = self._attachments
        stored = await _result(self._store.add(life.job))
        if isinstance(stored, StorageFailed):
            stored = JobNotStored(stored.why)
        life.recorded = not isinstance(stored, Exception)
        if starting is None and stored is None and refusal is None:
            attachments = self._attachments
            starting = self._tasks.start(self._engine.start(job))
        started = stored or refusal if starting is None else await _result(starting)
        life.starting = False
        if isinstance(started, EngineUnavailable):
            started = await self._judgement(life, started, attachments)
        if isinstance(stored, Exception):
            await self._unmake(life, running=isinstance(started, Running))
            lifelines.failed_to_start(self._journal, life.job, stored)
            raise stored
        if isinstance(started, Exception):
            lifelines.failed_to_start(self._journal, life.job, started)
            self._conclude(life, life.end or self._failed(life.job, str(started)))
            await life.over.wait()
            raise started
        assert started is not None  # else it was not stored
        self._started(life, started)
        return life.job

    async def _judgement(self, life: Life, lost: EngineUnavailable, attachments: int) -> Running | EngineUnavailable:
        """What became of a start whose answer was lost: the next `Attached` tells."""
        if self._attachments > attachments and self._attached is not None:  # in flight; of others it is no news
            found = self._attached.running.get(life.job.id)
            self._reconcile([life], {life.job.id: found} if found else {}, self._attached.ended)
        if life.end is None and not life.judged.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(None if life.job.workflow else self._engine_wait_s):
                    await life.judged.wait()
        if isinstance(life.job.phase, Running):
            return life.job.phase
        if life.end is not None and life.end.started_ns:
            return Running(life.end.started_ns, pid=0)
        return lost

    def _started(self, life: Life, running: Running) -> None:
        took_ns = self._clock.now_ns() - life.job.created_ns
        lifelines.started(self._journal, life.job, running, took_ns=took_ns)
        if not life.concluded:
            self._runs(life, running)
        if life.end is not None:
            self._conclude(life, life.end)
        elif life.stop_reason:
            self._stop(life)

    def _runs(self, life: Life, running: Running) -> None:
        if life.job.phase == running:
            return
        life.job = replace(life.job, phase=running)
        if life.recorded:
            self._ledger.enter_soon(life.job)
        for listener in self._listeners:
            listener.job_running(life.job.id)

    async def _unmake(self, life: Life, *, running: bool) -> None:
        """Nothing half-made: a job that could not be recorded does not run on."""
        if running and life.end is None:
            life.stop_reason = life.stop_reason or _NOT_STORED
            self._stop(life)
            await life.over.wait()
        self._lives.pop(life.job.id, None)
        for listener in self._listeners:
            listener.job_unmade(life.job)
        await self._forget([life.job.id])

    # Stop

    def stop(self, life: Life, reason: str) -> None:
        """Ask the engine to stop it, again whenever the engine comes back. A second reason changes nothing."""
        if not life.stop_reason:
            life.stop_reason = reason
            self._journal.log("INFO", "job stop requested", jobId=life.job.id, reason=reason)
            self._stop(life)

    def _stop(self, life: Life) -> None:
        self._tasks.start(self._ask_to_stop(life.job.id, life.stop_reason))

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
                for listener in self._listeners:
                    listener.engine_lost()
            case JobEnded(job_id=job_id, ended=ended):
                self._job_ended(job_id, ended)
            case LogGrew(job_id=job_id, size_bytes=size_bytes):
                for listener in self._listeners:
                    listener.log_grew(job_id, size_bytes)
            case Notice():
                self._journal.log(event.level, event.message, **event.fields)

    def _engine_attached(self, attached: Attached) -> None:
        self._attached = attached
        self.limits_enforced = attached.limits_enforced
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

    def _reconcile(self, lives: Sequence[Life], running: Mapping[JobId, Running], ended: Collection[JobId]) -> None:
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
                    self._tasks.start(self._ask_to_stop(job_id, reason))
                    self._conclude(life, self._failed(life.job, reason))
                case Kill(job_id=job_id):
                    self._journal.log("WARN", "unknown job killed", jobId=job_id)
                    self._tasks.start(self._ask_to_stop(job_id, _NOT_ANSWERED))
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
                self._tasks.start(self._forget([job_id]))
        elif life.end is None:
            life.end = ended
            life.judged.set()
            if not life.starting:
                self._conclude(life, ended)

    def _conclude(self, life: Life, ended: Ended) -> None:
        """This is its end: into the store with it. A second one changes nothing."""
        if life.concluded:
            return
        job = with_end(life.job, ended)
        life.end = ended
        life.concluded = True
        if life.recorded:
            self._ledger.enter(job)
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
                assert isinstance(job.phase, Ended)
                lifelines.ended(self._journal, job, job.phase)
                for listener in self._listeners:
                    listener.job_ended(job)
                life.over.set()
        if stored:
            self._tasks.start(self._forget([job.id for job in jobs]))

    async def _forget(self, job_ids: Sequence[JobId]) -> None:
        with suppress(EngineUnavailable):  # it tells the ends again, and then it is asked again
            await self._engine.forget(job_ids)


async def _result(work: Awaitable[T]) -> T | Exception:
    """What it returns or raises."""
    try:
        return await work
    except Exception as error:
        return error
