"""
What `ports.Engine` promises, as checks that run against the fake and the real thing alike.

    @pytest.mark.parametrize("check", ENGINE_CONTRACT, ids=lambda check: check.__name__)
    def test_the_engine_keeps_its_promises(check): ...

Only programs that every engine has: sh, echo, sleep, true, false, cat, printenv. Time may be
virtual or real: a check waits for events with a deadline, and never for a while.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from joblet.domain.job import STOP_GRACE_MS, Ended, Job, JobId, JobSpec, JobState, Running
from joblet.domain.limits import MIB, Limits
from joblet.ports import Attached, Detached, Engine, EngineEvent, JobEnded, LogGrew, LogStore

DEADLINE_S: Final = 20.0

Event = TypeVar("Event", bound=EngineEvent)


class EngineSubject(Protocol):
    """An engine under test."""

    @property
    def logs(self) -> LogStore:
        """The logs of its jobs."""

    def attach(self) -> Engine:
        """
        The engine as a server has it that has just been started.

        Called again once the one before is closed: the jobs are the same.
        """


class Attachment:
    """
    A server's view of an engine: starts jobs on it and remembers what it said.

    Attributes:
        events: Everything it said, in order.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[EngineEvent] = []
        self._news = asyncio.Condition()

    async def follow(self) -> None:
        """Listen until the engine is closed."""
        async for event in self.engine.events():
            async with self._news:
                self.events.append(event)
                self._news.notify_all()

    async def until(self, kind: type[Event], wanted: Callable[[Event], bool]) -> Event:
        """The first event of this kind that is wanted, past or future. Raises TimeoutError at the deadline."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            while True:
                for event in self.events:
                    if isinstance(event, kind) and wanted(event):
                        return event
                await self._news.wait()

    async def end_of(self, job: Job) -> Ended:
        """The job's end."""
        return (await self.until(JobEnded, lambda event: event.job_id == job.id)).ended

    async def attached(self) -> Attached:
        """The engine's first answer."""
        return await self.until(Attached, lambda _: True)

    async def ran(self, job: Job) -> Ended:
        """Start the job and wait for its end."""
        await self.engine.start(job)
        return await self.end_of(job)


def a_job(
    command: str,
    *args: str,
    timeout_s: float = 0,
    environment: Mapping[str, str] | None = None,
    secret_environment: Mapping[str, str] | None = None,
) -> Job:
    """A new job with limits that any machine can give."""
    limits = Limits(cpu_max_percent=100, cpu_cores="", memory_max_bytes=64 * MIB, io_max_bytes_per_s=0)
    spec = JobSpec(
        command,
        args,
        limits,
        timeout_s,
        environment=environment or {},
        secret_environment=secret_environment or {},
    )
    return Job(JobId(str(uuid.uuid4())), spec, created_ns=1)


@contextlib.asynccontextmanager
async def attached_to(subject: EngineSubject) -> AsyncIterator[Attachment]:
    """A server that has just been started, until it is stopped in good order."""
    attachment = Attachment(subject.attach())
    following = asyncio.create_task(attachment.follow())
    try:
        await attachment.attached()
        yield attachment
    finally:
        await attachment.engine.close()
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


async def the_first_event_is_attached_or_detached(subject: EngineSubject) -> None:
    """`Engine.events`."""
    async with attached_to(subject) as server:
        assert isinstance(server.events[0], Attached | Detached)


async def a_start_returns_once_the_command_runs(subject: EngineSubject) -> None:
    """`Engine.start`."""
    async with attached_to(subject) as server:
        job = a_job("sleep", "60")

        running = await server.engine.start(job)

        assert running.pid > 0
        assert running.started_ns > 0
        assert not [event for event in server.events if isinstance(event, JobEnded)]
        await server.engine.stop(job.id)
        await server.end_of(job)


async def a_job_that_exits_with_0_is_completed(subject: EngineSubject) -> None:
    """`Ended.state`, and times that fit together."""
    async with attached_to(subject) as server:
        job = a_job("true")

        running = await server.engine.start(job)
        ended = await server.end_of(job)

        assert (ended.state, ended.exit_code, ended.reason, ended.signal) == (JobState.COMPLETED, 0, "", 0)
        assert ended.started_ns == running.started_ns
        assert ended.ended_ns >= ended.started_ns


async def another_exit_code_is_failed_and_kept(subject: EngineSubject) -> None:
    """`Ended.exit_code`."""
    async with attached_to(subject) as server:
        ended = await server.ran(a_job("sh", "-c", "exit 3"))

        assert (ended.state, ended.exit_code, ended.signal) == (JobState.FAILED, 3, 0)


async def a_signal_is_128_and_its_number(subject: EngineSubject) -> None:
    """`Ended.signal`."""
    async with attached_to(subject) as server:
        ended = await server.ran(a_job("sh", "-c", "kill -9 $$"))

        assert (ended.state, ended.exit_code, ended.signal) == (JobState.FAILED, 137, 9)
        assert "SIGKILL" in ended.reason


async def a_missing_program_is_a_job_that_ends_with_127(subject: EngineSubject) -> None:
    """`Engine.start`: not a failure to start; the reason is the last line of its log."""
    async with attached_to(subject) as server:
        job = a_job("no-such-program-anywhere")

        ended = await server.ran(job)

        assert (ended.state, ended.exit_code) == (JobState.FAILED, 127)
        assert "no-such-program-anywhere" in ended.reason
        log = await subject.logs.read(job.id, 0, MIB)
        assert log.endswith(b"\n")
        assert b"no-such-program-anywhere" in log.splitlines()[-1]


async def all_output_is_in_the_log_when_the_end_is_told(subject: EngineSubject) -> None:
    """`JobEnded`: stdout and stderr, merged, in order."""
    async with attached_to(subject) as server:
        job = a_job("sh", "-c", "echo one; echo two >&2; echo three")

        ended = await server.ran(job)

        assert await subject.logs.read(job.id, 0, MIB) == b"one\ntwo\nthree\n"
        assert ended.log_bytes == subject.logs.size_bytes(job.id) == 14


async def a_job_without_output_has_an_empty_log(subject: EngineSubject) -> None:
    """`LogStore.read`."""
    async with attached_to(subject) as server:
        job = a_job("true")

        ended = await server.ran(job)

        assert ended.log_bytes == 0
        assert await subject.logs.read(job.id, 0, MIB) == b""


async def stdin_is_at_its_end(subject: EngineSubject) -> None:
    """A job that reads its input is not one that hangs."""
    async with attached_to(subject) as server:
        ended = await server.ran(a_job("cat"))

        assert ended.state is JobState.COMPLETED


async def both_environments_reach_the_job(subject: EngineSubject) -> None:
    """`JobSpec.environment` and `secret_environment`."""
    async with attached_to(subject) as server:
        job = a_job(
            "sh",
            "-c",
            "printenv PLAIN; printenv HIDDEN",
            environment={"PLAIN": "seen"},
            secret_environment={"HIDDEN": "masked"},
        )

        await server.ran(job)

        assert await subject.logs.read(job.id, 0, MIB) == b"seen\nmasked\n"


async def a_stopped_job_says_so_with_the_reason(subject: EngineSubject) -> None:
    """`Engine.stop`."""
    async with attached_to(subject) as server:
        job = a_job("sleep", "60")
        await server.engine.start(job)

        await server.engine.stop(job.id, "because I say so")
        ended = await server.end_of(job)

        assert (ended.state, ended.exit_code, ended.reason) == (JobState.STOPPED, -1, "because I say so")


async def a_job_that_ignores_sigterm_is_killed_after_the_grace(subject: EngineSubject) -> None:
    """`Engine.stop`: STOP_GRACE_MS, then SIGKILL to all of it."""
    async with attached_to(subject) as server:
        job = a_job("sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.05; done")
        await server.engine.start(job)
        server.engine.watch_log(job.id)
        await server.until(LogGrew, lambda event: event.job_id == job.id and event.size_bytes >= 6)
        loop = asyncio.get_running_loop()
        before_s = loop.time()

        await server.engine.stop(job.id)
        ended = await server.end_of(job)

        assert ended.state is JobState.STOPPED
        assert loop.time() - before_s >= STOP_GRACE_MS / 1000 - 1e-6


async def the_first_reason_to_stop_counts(subject: EngineSubject) -> None:
    """`Engine.stop`, many times."""
    async with attached_to(subject) as server:
        job = a_job("sleep", "60")
        await server.engine.start(job)

        await server.engine.stop(job.id, "first")
        await server.engine.stop(job.id, "second")
        ended = await server.end_of(job)

        assert ended.reason == "first"


async def a_stop_of_an_ended_or_unknown_job_is_left_alone(subject: EngineSubject) -> None:
    """`Engine.stop`: the end stays as it was."""
    async with attached_to(subject) as server:
        job = a_job("true")
        await server.ran(job)

        await server.engine.stop(job.id, "too late")
        await server.engine.stop(JobId(str(uuid.uuid4())), "never was")
        await server.ran(a_job("true"))

        ends = [event.ended for event in server.events if isinstance(event, JobEnded) and event.job_id == job.id]
        assert [end.state for end in ends] == [JobState.COMPLETED]


async def a_job_past_its_timeout_is_stopped_and_says_why(subject: EngineSubject) -> None:
    """`JobSpec.timeout_s`."""
    async with attached_to(subject) as server:
        ended = await server.ran(a_job("sleep", "60", timeout_s=0.25))

        assert (ended.state, ended.exit_code) == (JobState.STOPPED, -1)
        assert ended.reason == "timed out after 0.25 s"
        assert ended.ended_ns - ended.started_ns >= 250_000_000


async def jobs_at_once_each_get_their_own_end(subject: EngineSubject) -> None:
    """`JobEnded.job_id`."""
    async with attached_to(subject) as server:
        jobs = [a_job("sh", "-c", f"echo {code}; exit {code}") for code in range(8)]

        await asyncio.gather(*(server.engine.start(job) for job in jobs))
        codes = [(await server.end_of(job)).exit_code for job in jobs]

        assert codes == list(range(8))
        logs = [await subject.logs.read(job.id, 0, MIB) for job in jobs]
        assert logs == [f"{code}\n".encode() for code in range(8)]


async def a_job_outlives_the_server_and_is_named_to_the_next(subject: EngineSubject) -> None:
    """`Attached.running`, with the start it had."""
    job = a_job("sleep", "60")
    async with attached_to(subject) as server:
        running = await server.engine.start(job)

    async with attached_to(subject) as successor:
        found: Mapping[JobId, Running] = (await successor.attached()).running
        assert found[job.id] == running
        await successor.engine.stop(job.id, "by the successor")
        assert (await successor.end_of(job)).reason == "by the successor"


async def an_end_is_told_to_every_server_until_it_is_forgotten(subject: EngineSubject) -> None:
    """`Engine.events`, `Engine.forget`, `Attached.ended`."""
    job = a_job("sh", "-c", "exit 7")
    async with attached_to(subject) as server:
        first = await server.ran(job)

    async with attached_to(subject) as successor:
        assert job.id in (await successor.attached()).ended
        assert job.id not in (await successor.attached()).running
        assert await successor.end_of(job) == first
        await successor.engine.forget([job.id])
        # One more job's whole life: what was asked for before it has been done by then.
        last = a_job("true")
        await successor.ran(last)
        await successor.engine.forget([last.id])

    async with attached_to(subject) as third:
        assert job.id not in (await third.attached()).ended
    assert await subject.logs.read(job.id, 0, MIB) == b""


async def a_watched_log_is_told_now_and_as_it_grows(subject: EngineSubject) -> None:
    """`Engine.watch_log`: never less than before, and what is told can be read."""
    async with attached_to(subject) as server:
        job = a_job("sh", "-c", "echo one; sleep 0.2; echo two; sleep 60")
        await server.engine.start(job)

        server.engine.watch_log(job.id)
        server.engine.watch_log(job.id)
        await server.until(LogGrew, lambda event: event.job_id == job.id)
        await server.until(LogGrew, lambda event: event.job_id == job.id and event.size_bytes == 8)

        assert await subject.logs.read(job.id, 0, MIB) == b"one\ntwo\n"
        sizes = [event.size_bytes for event in server.events if isinstance(event, LogGrew)]
        assert sizes == sorted(sizes)
        await server.engine.stop(job.id)
        await server.end_of(job)


async def an_unwatched_log_is_told_no_more(subject: EngineSubject) -> None:
    """`Engine.unwatch_log`."""
    async with attached_to(subject) as server:
        job = a_job("sh", "-c", "sleep 0.2; echo late")
        await server.engine.start(job)
        server.engine.watch_log(job.id)
        await server.until(LogGrew, lambda event: event.job_id == job.id)

        server.engine.unwatch_log(job.id)
        await server.end_of(job)

        assert [event.size_bytes for event in server.events if isinstance(event, LogGrew)] == [0]


ENGINE_CONTRACT: Final[Sequence[Callable[[EngineSubject], Awaitable[None]]]] = (
    the_first_event_is_attached_or_detached,
    a_start_returns_once_the_command_runs,
    a_job_that_exits_with_0_is_completed,
    another_exit_code_is_failed_and_kept,
    a_signal_is_128_and_its_number,
    a_missing_program_is_a_job_that_ends_with_127,
    all_output_is_in_the_log_when_the_end_is_told,
    a_job_without_output_has_an_empty_log,
    stdin_is_at_its_end,
    both_environments_reach_the_job,
    a_stopped_job_says_so_with_the_reason,
    a_job_that_ignores_sigterm_is_killed_after_the_grace,
    the_first_reason_to_stop_counts,
    a_stop_of_an_ended_or_unknown_job_is_left_alone,
    a_job_past_its_timeout_is_stopped_and_says_why,
    jobs_at_once_each_get_their_own_end,
    a_job_outlives_the_server_and_is_named_to_the_next,
    an_end_is_told_to_every_server_until_it_is_forgotten,
    a_watched_log_is_told_now_and_as_it_grows,
    an_unwatched_log_is_told_no_more,
)
