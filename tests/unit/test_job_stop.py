"""Every way to stop a job, and its timeout."""

import asyncio

import pytest

from joblet.domain.errors import (
    JobNotRunning,
)
from joblet.domain.job import STOP_GRACE_MS, Ended, JobState, Running
from joblet.testing.clock import SECOND_NS, VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import exits, ignores_sigterm, runs_forever, sleeps

GRACE_NS = STOP_GRACE_MS * 1_000_000


async def test_a_stopped_job_is_stopped_with_exit_code_minus_1_and_its_reason() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(runs_forever())

        stopped = await joblet.jobs.stop(job.id[:8])

        assert isinstance(stopped.phase, Ended)
        assert (stopped.state, stopped.phase.exit_code) == (JobState.STOPPED, -1)
        assert stopped.phase.reason == "stopped on request"
        assert joblet.engine.running == frozenset()


async def test_a_job_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(ignores_sigterm())
        asked_ns = joblet.clock.now_ns()

        stopped = await joblet.jobs.stop(job.id)

        assert isinstance(stopped.phase, Ended)
        assert stopped.phase.ended_ns == asked_ns + GRACE_NS


async def test_stop_of_a_finished_job_is_refused_with_its_status() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(exits(0))
        await joblet.ended(job)

        with pytest.raises(JobNotRunning) as raised:
            await joblet.jobs.stop(job.id)

        assert raised.value.message == f"job is not running: {job.id} (current status: COMPLETED)"


async def test_a_stop_that_overtakes_the_start_is_not_forgotten() -> None:
    """The engine leaves a job alone that it does not know yet."""
    clock = VirtualClock()
    async with FakeJoblet(clock=clock, engine=FakeEngine(clock=clock, accept_s=5)) as joblet:
        starting = asyncio.create_task(joblet.run(runs_forever()))
        await pass_time(1)
        [job] = joblet.jobs.list()

        stopped = await joblet.jobs.stop(job.id)

        assert isinstance(stopped.phase, Ended)
        assert stopped.phase.reason == "stopped on request"
        await starting


async def test_many_stops_at_once_get_the_same_end() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(ignores_sigterm())

        stopped = await asyncio.gather(*(joblet.jobs.stop(job.id) for _ in range(10)))

        assert {one.phase for one in stopped} == {joblet.jobs.get(job.id).phase}
        assert len(joblet.journal.saying("job stop requested")) == 1


async def test_a_job_that_ends_by_itself_while_it_is_stopped_keeps_its_own_end() -> None:
    """The end was on its way when the stop was asked for."""
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(1).then_prints(b"last words"))
        joblet.engine.stall_logs()
        await pass_time(2)

        stopping = asyncio.create_task(joblet.jobs.stop(job.id))
        await pass_time(1)
        joblet.engine.resume_logs()

        assert (await stopping).state is JobState.COMPLETED


async def test_a_stop_whose_caller_is_gone_is_not_called_off() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(ignores_sigterm())
        stopping = asyncio.create_task(joblet.jobs.stop(job.id))
        await pass_time(STOP_GRACE_MS / 2000)

        stopping.cancel()

        assert (await joblet.ended(job)).state is JobState.STOPPED


async def test_a_job_can_be_stopped_while_it_is_being_set_up() -> None:
    clock = VirtualClock()
    async with FakeJoblet(clock=clock, engine=FakeEngine(clock=clock, set_up_s=2)) as joblet:
        starting = asyncio.create_task(joblet.run(runs_forever()))
        await pass_time(1)
        [job] = joblet.jobs.list()
        assert job.state is JobState.INITIALIZING

        stopped = await joblet.jobs.stop(job.id)

        assert stopped.state is JobState.STOPPED
        await starting


async def test_a_job_past_its_timeout_is_stopped_at_that_very_moment_and_says_why() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(ignores_sigterm(), timeout_s=3600)

        ended = await joblet.ended(job)

        assert isinstance(job.phase, Running)
        assert ended == Ended(
            JobState.STOPPED,
            exit_code=-1,
            started_ns=job.phase.started_ns,
            ended_ns=job.phase.started_ns + 3600 * SECOND_NS + GRACE_NS,
            reason="timed out after 3600 s",
            signal=9,
        )
        assert joblet.journal.saying("job timed out")[0].level == "WARN"


async def test_a_job_that_ends_at_the_very_moment_of_its_timeout_has_one_end() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(5).then_exits(0), timeout_s=5)

        ended = await joblet.ended(job)

        assert ended.ended_ns == ended.started_ns + 5 * SECOND_NS
        assert ended.state in (JobState.COMPLETED, JobState.STOPPED)
        assert len([line for line in joblet.journal.lines if line.message in ("job completed", "job stopped")]) == 1
