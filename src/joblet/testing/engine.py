"""
The fake engine: `ports.Engine` with scripted programs, on whatever clock the running loop has.

Under `joblet.testing.clock.run` a job of an hour takes no time; on a real loop, in tests of the
wire, `sleep 0.2` takes 0.2 s. Its jobs outlive the server, as real ones do: a new service that
calls `events` finds them running, or their ends waiting.

Runs in: tests. May not: start a process or a thread, be imported by production code.
Source: `ports.Engine`; `joblet.testing.contracts.engine` holds it to the same promises as the real one.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from joblet.domain.errors import EngineUnavailable, IsolationFailed
from joblet.domain.job import STOP_GRACE_MS, STOPPED_EXIT_CODE, Ended, Job, JobId, JobState, Running
from joblet.domain.limits import MIB
from joblet.ports import Attached, Clock, Detached, EngineEvent, JobEnded, LogGrew, Notice
from joblet.testing.clock import SystemClock
from joblet.testing.logs import FakeLogStore
from joblet.testing.programs import (
    Exits,
    Forever,
    KilledBy,
    OutOfMemory,
    Prints,
    Program,
    Sleeps,
    Step,
    signal_name,
)
from joblet.testing.shell import program_of

SIGTERM: Final = 15
SIGKILL: Final = 9


@dataclass(slots=True, eq=False)
class _FakeJob:
    """A job on the fake machine."""

    job: Job
    program: Program
    steps: Iterator[Step]
    running: Running | None = None
    stop_reason: str | None = None
    held_back: bytearray = field(default_factory=bytearray)
    end: Ended | None = None
    timers: list[asyncio.TimerHandle] = field(default_factory=list)


class FakeEngine:
    """
    Runs scripts instead of programs.

    Args:
        accept_s: From `start` to the moment the machine knows the job, as when a start waits for the engine.
        set_up_s: From that moment until the command runs.
        answer_s: From that moment to the return of `start`: jobs shorter than this end first.
        clock: Where times come from; must agree with the running loop.

    Attributes:
        logs: What its jobs have printed.
        started: Every job that was ever started, secrets included, for tests of what reaches the engine.
    """

    def __init__(
        self,
        *,
        logs: FakeLogStore | None = None,
        clock: Clock | None = None,
        accept_s: float = 0.0,
        set_up_s: float = 0.003,
        answer_s: float = 0.0,
        limits_enforced: str = "yes",
    ) -> None:
        self.logs = logs if logs is not None else FakeLogStore()
        self.started: list[Job] = []
        self._clock = clock if clock is not None else SystemClock()
        self._accept_s = accept_s
        self._set_up_s = set_up_s
        self._answer_s = answer_s
        self._limits_enforced = limits_enforced
        self._programs: dict[str, Program] = {}
        self._jobs: dict[JobId, _FakeJob] = {}
        self._ends: dict[JobId, Ended] = {}
        self._starting: dict[JobId, asyncio.Future[Running]] = {}
        self._watched: set[JobId] = set()
        self._queue: asyncio.Queue[EngineEvent | None] | None = None
        self._lost = ""
        self._stalled = self._greeting = False
        self._pids = itertools.count(1001)

    # What tests say

    def install(self, program: Program, name: str = "") -> str:
        """Put a program on the fake machine; returns the command that runs it."""
        command = name or f"program-{len(self._programs) + 1}"
        self._programs[command] = program
        return command

    def lose(self, why: str = "the supervisor was killed") -> None:
        """The engine stops answering; its jobs run on."""
        self._lost = why
        self._greeting = False
        self._watched.clear()
        for answer in self._starting.values():
            if not answer.done():
                answer.set_exception(EngineUnavailable(why))
        if self._queue is not None:
            self._queue.put_nowait(Detached(why))

    def come_back(self) -> None:
        """The engine answers again."""
        self._lost = ""
        self._greet()

    def reboot(self) -> None:
        """The machine went down and is up again: no job is left, no end is known, and logs are where they were."""
        for fake in list(self._jobs.values()):
            self._remove(fake)
        self._ends.clear()
        self.lose("the machine went down")
        self.come_back()

    def stall_logs(self) -> None:
        """The disk hangs: output is kept in memory, and no end is told before its output is in the log."""
        self._stalled = True

    def resume_logs(self) -> None:
        """The disk works again."""
        self._stalled = False
        for fake in list(self._jobs.values()):
            self._store(fake)
            if fake.end is not None:
                self._conclude(fake, fake.end)

    def warn(self, level: str, message: str, **fields: str) -> None:
        """Tell the administrator something."""
        self._emit(Notice(level, message, fields))

    @property
    def running(self) -> frozenset[JobId]:
        """Jobs on the machine, those being set up included."""
        return frozenset(self._jobs)

    @property
    def unforgotten(self) -> frozenset[JobId]:
        """Jobs whose ends are kept."""
        return frozenset(self._ends)

    @property
    def watched(self) -> frozenset[JobId]:
        """Jobs whose logs are watched."""
        return frozenset(self._watched)

    # ports.Engine

    async def start(self, job: Job) -> Running:
        """See `ports.Engine.start`."""
        if self._lost:
            raise EngineUnavailable(self._lost)
        if self._accept_s:
            await asyncio.sleep(self._accept_s)
        if job.id in self._jobs or job.id in self._ends:
            raise IsolationFailed(f"job {job.id} exists")
        loop = asyncio.get_running_loop()
        program = self._programs.get(job.spec.command) or program_of(
            job.spec.command, job.spec.args, {**job.spec.environment, **job.spec.secret_environment}
        )
        fake = self._jobs[job.id] = _FakeJob(job, program, _steps(program))
        answer: asyncio.Future[Running] = loop.create_future()
        self._starting[job.id] = answer
        self.started.append(job)
        fake.timers.append(loop.call_later(self._set_up_s, self._run, fake))
        try:
            return await answer
        finally:
            del self._starting[job.id]

    async def stop(self, job_id: JobId, reason: str = "") -> None:
        """See `ports.Engine.stop`."""
        if self._lost:
            raise EngineUnavailable(self._lost)
        fake = self._jobs.get(job_id)
        if fake is not None and fake.stop_reason is None and fake.end is None:
            self._stop(fake, reason)

    async def forget(self, job_ids: Sequence[JobId]) -> None:
        """See `ports.Engine.forget`."""
        if not self._lost:
            for job_id in job_ids:
                self._ends.pop(job_id, None)

    def watch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.watch_log`."""
        if not self._lost and job_id in self._jobs:
            self._watched.add(job_id)
            self._emit(LogGrew(job_id, self.logs.size_bytes(job_id)))

    def unwatch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.unwatch_log`."""
        self._watched.discard(job_id)

    async def events(self) -> AsyncIterator[EngineEvent]:
        """See `ports.Engine.events`. A second consumer takes the first one's place, as a restarted server does."""
        if self._queue is not None:
            self._queue.put_nowait(None)
        queue = self._queue = asyncio.Queue()
        self._watched.clear()
        if self._lost:
            queue.put_nowait(Detached(self._lost))
        else:
            self._greet()
        while (event := await queue.get()) is not None:
            yield event

    async def close(self) -> None:
        """See `ports.Engine.close`."""
        self._watched.clear()
        if self._queue is not None:
            self._queue.put_nowait(None)
            self._queue = None

    # The life of a job

    def _run(self, fake: _FakeJob) -> None:
        loop = asyncio.get_running_loop()
        job_id = fake.job.id
        fake.running = Running(self._clock.now_ns(), next(self._pids))
        loop.call_later(self._answer_s, self._answer, job_id, fake.running)
        if timeout_s := fake.job.spec.timeout_s:
            fake.timers.append(loop.call_later(timeout_s, self._timed_out, fake))
        if fake.stop_reason is not None:
            self._terminate(fake)
        else:
            self._advance(fake)
        if self._greeting and not self._lost:
            self._greet()

    def _answer(self, job_id: JobId, running: Running) -> None:
        answer = self._starting.get(job_id)
        if answer is not None and not answer.done():
            answer.set_result(running)

    def _advance(self, fake: _FakeJob) -> None:
        for step in fake.steps:
            match step:
                case Prints(data=data):
                    fake.held_back += data
                    self._store(fake)
                case Sleeps(seconds=seconds):
                    timer = asyncio.get_running_loop().call_later(seconds, self._advance, fake)
                    fake.timers.append(timer)
                    return
        match fake.program.end:
            case Exits(code=code, failure=failure):
                self._finish(fake, code, reason=failure)
            case KilledBy(signal=number):
                words = f"killed by signal {number} ({signal_name(number)})"
                self._finish(fake, 128 + number, reason=words, signal=number)
            case OutOfMemory():
                limit_mb = fake.job.spec.limits.memory_max_bytes // MIB
                words = f"out of memory: 1 process was killed by the kernel (maxMemory: {limit_mb} MB)"
                self._finish(fake, 128 + SIGKILL, reason=words, signal=SIGKILL, oom_killed=True)
            case Forever():
                pass
            case _ as unreachable:
                assert_never(unreachable)

    def _timed_out(self, fake: _FakeJob) -> None:
        if fake.stop_reason is None and fake.end is None:
            timeout = f"{fake.job.spec.timeout_s:g}"
            self.warn("WARN", "job timed out", jobId=fake.job.id, timeout=f"{timeout}s")
            self._stop(fake, f"timed out after {timeout} s")

    def _stop(self, fake: _FakeJob, reason: str) -> None:
        fake.stop_reason = reason
        if fake.running is not None:
            self._terminate(fake)

    def _terminate(self, fake: _FakeJob) -> None:
        fake.held_back += fake.program.last_words
        self._store(fake)
        if fake.program.ignores_sigterm:
            loop = asyncio.get_running_loop()
            fake.timers.append(loop.call_later(STOP_GRACE_MS / 1000, self._stopped, fake, SIGKILL))
        else:
            self._stopped(fake, SIGTERM)

    def _stopped(self, fake: _FakeJob, number: int) -> None:
        if fake.end is None:
            self._finish(fake, STOPPED_EXIT_CODE, reason=fake.stop_reason or "", signal=number)

    def _finish(
        self, fake: _FakeJob, exit_code: int, *, reason: str, signal: int = 0, oom_killed: bool = False
    ) -> None:
        if fake.end is not None:
            return
        assert fake.running is not None
        if fake.stop_reason is not None:
            state, exit_code, reason = JobState.STOPPED, STOPPED_EXIT_CODE, fake.stop_reason
        else:
            state = JobState.COMPLETED if exit_code == 0 else JobState.FAILED
        fake.end = Ended(
            state,
            exit_code,
            started_ns=fake.running.started_ns,
            ended_ns=self._clock.now_ns(),
            reason=reason,
            signal=signal,
            oom_killed=oom_killed,
            log_bytes=self.logs.size_bytes(fake.job.id) + len(fake.held_back),
        )
        if not fake.held_back or not self._stalled:
            self._conclude(fake, fake.end)

    def _conclude(self, fake: _FakeJob, end: Ended) -> None:
        self._remove(fake)
        self._ends[fake.job.id] = end
        self._emit(JobEnded(fake.job.id, end))

    def _remove(self, fake: _FakeJob) -> None:
        for timer in fake.timers:
            timer.cancel()
        del self._jobs[fake.job.id]
        self._watched.discard(fake.job.id)

    def _store(self, fake: _FakeJob) -> None:
        if self._stalled or not fake.held_back:
            return
        job_id = fake.job.id
        self.logs.append(job_id, bytes(fake.held_back))
        fake.held_back.clear()
        if job_id in self._watched:
            self._emit(LogGrew(job_id, self.logs.size_bytes(job_id)))

    # Telling

    def _greet(self) -> None:
        """Once no job is being set up: whether its command will run must be known."""
        self._greeting = any(fake.running is None for fake in self._jobs.values())
        if self._greeting:
            return
        running = {job_id: fake.running for job_id, fake in self._jobs.items() if fake.running is not None}
        self._emit(Attached(running, frozenset(self._ends), self._limits_enforced))
        for job_id, end in self._ends.items():
            self._emit(JobEnded(job_id, end))

    def _emit(self, event: EngineEvent) -> None:
        if self._queue is not None and not (self._lost or self._greeting):
            self._queue.put_nowait(event)


def _steps(program: Program) -> Iterator[Step]:
    yield from program.steps
    if isinstance(program.end, Forever) and program.end.again:
        while True:
            yield from program.end.again
