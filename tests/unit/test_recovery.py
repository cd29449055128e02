"""Whatever is killed, and whenever: afterwards nothing is RUNNING that is not, and nothing runs that nobody knows."""

import asyncio
import itertools

import pytest

from joblet.domain.errors import EngineUnavailable, JobletError, JobNotRunning
from joblet.domain.job import Ended, JobState, Running
from joblet.domain.reconcile import LOST_RUNNING
from joblet.testing.clock import VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.faults import CRASH, Faults
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import exits, ignores_sigterm, prints, runs_forever, sleeps


def an_engine(*, set_up_s: float = 0.003, answer_s: float = 0.0) -> tuple[VirtualClock, FakeEngine]:
    clock = VirtualClock()
    return clock, FakeEngine(clock=clock, set_up_s=set_up_s, answer_s=answer_s)


async def settled(joblet: FakeJoblet) -> None:
    """Everything that was going to happen has happened."""
    await pass_time(60)


async def check_agreement(joblet: FakeJoblet) -> None:
    """Store, services and machine say the same, and the machine keeps nothing that it need not."""
    listed = {job.id: job for job in joblet.jobs.list()}
    stored = {job.id: job for job in joblet.store.all()}
    assert listed == stored
    running = {job.id for job in listed.values() if isinstance(job.phase, Running)}
    assert running == joblet.engine.running
    assert not [job for job in listed.values() if job.state is JobState.INITIALIZING]
    assert joblet.engine.unforgotten == frozenset()


async def a_busy_day(joblet: FakeJoblet) -> None:
    """Jobs of every kind; each step may meet a server that has died."""
    long = await joblet.run(runs_forever())
    short = await joblet.run(prints(b"x").then_exits(3))
    await joblet.ended(short)
    stubborn = await joblet.run(ignores_sigterm())
    await joblet.jobs.stop(stubborn.id)
    await joblet.run(sleeps(5))
    await pass_time(1)
    assert joblet.jobs.get(long.id).state is JobState.RUNNING


async def test_a_server_killed_at_any_step_is_followed_by_one_that_knows_the_truth() -> None:
    """Every point of every port fails once: before its effect, and after it."""
    for nth in itertools.count(1):
        faults = Faults(nth, CRASH)
        async with FakeJoblet(faults=faults) as joblet:
            day = asyncio.create_task(a_busy_day(joblet))
            over = asyncio.create_task(settled(joblet))
            dead = asyncio.create_task(faults.crashed.wait())
            await asyncio.wait((over, dead), return_when=asyncio.FIRST_COMPLETED)
            if not faults.fired:
                await day
                await check_agreement(joblet)
                break

            await joblet.crash()
            await settled(joblet)

            await check_agreement(joblet)
            for job in joblet.jobs.list():
                if isinstance(job.phase, Ended) and job.phase.exit_code == 125:
                    assert faults.fired.endswith(("store.add", "engine.start")), f"an end was lost at {faults.fired}"
    assert nth > 25  # the injector was really on the path


async def test_a_port_that_fails_at_any_step_loses_no_truth() -> None:
    """An engine that is away for one call: EngineUnavailable wherever it may be raised."""
    points = ["engine.stop", "engine.forget"]
    for nth in itertools.count(1):
        faults = Faults(nth, EngineUnavailable("it is being restarted"), only=points)
        async with FakeJoblet(faults=faults) as joblet:
            day = asyncio.create_task(a_busy_day(joblet))
            for _ in range(2):
                await settled(joblet)
                joblet.engine.lose()
                joblet.engine.come_back()
            await settled(joblet)

            await day
            await check_agreement(joblet)
            if not faults.fired:
                break
    assert nth > 3


async def test_a_running_job_survives_a_restart_of_the_server_with_its_start() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(100).then_exits(3))

        await joblet.restart()

        assert joblet.jobs.get(job.id) == job
        assert (await joblet.ended(job)).exit_code == 3


async def test_a_job_that_ended_while_no_server_watched_gets_its_true_end() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"done\n").then_sleeps(1).then_exits(7))
        await joblet.close()
        await pass_time(10)

        await joblet.restart()

        ended = await joblet.ended(job)
        assert (ended.exit_code, ended.ended_ns - ended.started_ns) == (7, 1_000_000_000)
        assert await joblet.log(job) == b"done\n"


async def test_jobs_that_a_reboot_took_are_lost_and_say_so() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"so far").then_sleeps(100))
        await joblet.close()
        joblet.engine.reboot()

        await joblet.restart()

        ended = await joblet.ended(job)
        assert (ended.state, ended.exit_code, ended.reason) == (JobState.FAILED, 125, LOST_RUNNING)
        assert ended.log_bytes == 6
        assert await joblet.log(job) == b"so far"
        with pytest.raises(JobNotRunning):
            await joblet.jobs.stop(job.id)


async def test_the_first_answer_of_a_new_server_is_the_truth() -> None:
    """Who ended unwatched, and who was taken by a reboot, is told as ended as soon as the server may take calls."""
    async with FakeJoblet() as joblet:
        ended = await joblet.run(exits(7))
        await joblet.close()
        await pass_time(10)
        await joblet.restart()
        assert joblet.jobs.get(ended.id).state is JobState.FAILED

        lost = await joblet.run(runs_forever())
        await joblet.close()
        joblet.engine.reboot()
        await joblet.restart()
        assert joblet.jobs.get(lost.id).state is JobState.FAILED


async def test_a_set_up_that_outlives_its_server_becomes_a_job_of_the_next_one() -> None:
    """The engine answers once it is known whether the command runs."""
    clock, engine = an_engine(set_up_s=5)
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        asyncio.create_task(joblet.run(runs_forever()))  # noqa: RUF006
        await pass_time(1)

        await joblet.crash()
        await settled(joblet)

        [job] = joblet.jobs.list()
        assert job.state is JobState.RUNNING
        await check_agreement(joblet)


async def test_jobs_run_on_while_the_engine_is_away() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(1).then_exits(3))
        joblet.engine.lose()
        await pass_time(10)
        assert joblet.jobs.get(job.id).state is JobState.RUNNING

        joblet.engine.come_back()

        assert (await joblet.ended(job)).exit_code == 3
        assert [line.message for line in joblet.journal.at("WARN")] == ["engine lost"]


async def test_a_stop_asked_for_while_the_engine_is_away_happens_when_it_is_back() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(runs_forever())
        joblet.engine.lose()
        stopping = asyncio.create_task(joblet.jobs.stop(job.id))
        await pass_time(5)
        assert not stopping.done()

        joblet.engine.come_back()

        assert (await stopping).state is JobState.STOPPED


async def test_a_start_whose_answer_was_lost_is_running_when_the_engine_says_so() -> None:
    clock, engine = an_engine(answer_s=3)
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        starting = asyncio.create_task(joblet.run(sleeps(100)))
        await pass_time(1)
        engine.lose()
        await pass_time(1)
        assert not starting.done()

        engine.come_back()

        job = await starting
        assert isinstance(job.phase, Running)
        await pass_time(1)
        assert joblet.engine.running == {job.id}


async def test_a_start_whose_answer_was_lost_while_the_engine_was_already_back_is_running() -> None:
    """The news that it runs can come before the news that its answer is lost."""
    clock, engine = an_engine(answer_s=3)
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        bystander = await joblet.run(runs_forever())
        starting = asyncio.create_task(joblet.run(sleeps(100)))
        await pass_time(1)
        engine.lose()
        engine.come_back()
        before_ns = clock.now_ns()

        job = await starting

        assert isinstance(job.phase, Running)
        assert clock.now_ns() == before_ns
        assert joblet.engine.running == {bystander.id, job.id}


async def test_a_start_whose_answer_and_end_came_while_the_engine_was_away_is_told_its_end() -> None:
    clock, engine = an_engine(answer_s=3)
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        starting = asyncio.create_task(joblet.run(sleeps(2).then_exits(3)))
        await pass_time(1)
        engine.lose()
        await pass_time(5)

        engine.come_back()

        assert (await joblet.ended(await starting)).exit_code == 3


async def test_a_start_that_the_engine_lost_for_good_fails_and_says_so() -> None:
    async with FakeJoblet() as joblet:
        joblet.engine.lose("the supervisor was killed")
        starting = asyncio.create_task(joblet.run(runs_forever()))
        await pass_time(1)

        joblet.engine.come_back()

        with pytest.raises(EngineUnavailable, match="the supervisor was killed"):
            await starting
        [job] = joblet.jobs.list()
        assert job.state is JobState.FAILED
        await check_agreement(joblet)


async def test_a_start_that_waited_too_long_is_failed_and_killed_should_it_run_after_all() -> None:
    clock, engine = an_engine(answer_s=3)
    async with FakeJoblet(clock=clock, engine=engine, engine_wait_s=10) as joblet:
        starting = asyncio.create_task(joblet.run(runs_forever()))
        await pass_time(1)
        engine.lose()
        with pytest.raises(EngineUnavailable):
            await starting
        [job] = joblet.jobs.list()
        assert job.state is JobState.FAILED
        assert engine.running == {job.id}

        engine.come_back()
        await settled(joblet)

        assert engine.running == frozenset()
        assert joblet.jobs.get(job.id) == job
        await check_agreement(joblet)


async def test_a_job_that_the_store_does_not_know_is_killed() -> None:
    clock, engine = an_engine()
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        await joblet.run(runs_forever())

    async with FakeJoblet(clock=clock, engine=engine) as other_store:
        await settled(other_store)

        assert engine.running == frozenset()
        assert engine.unforgotten == frozenset()
        assert other_store.jobs.list() == []


async def test_an_end_told_again_changes_nothing_and_is_forgotten() -> None:
    async with FakeJoblet(faults=Faults(1, EngineUnavailable("away"), only=["engine.forget"])) as joblet:
        job = await joblet.run(exits(3))
        ended = await joblet.ended(job)
        await pass_time(1)
        assert joblet.engine.unforgotten == {job.id}

        joblet.engine.lose()
        joblet.engine.come_back()
        await pass_time(1)

        assert joblet.engine.unforgotten == frozenset()
        assert joblet.jobs.get(job.id).phase == ended
        assert len(joblet.journal.saying("job failed")) == 1


async def test_a_server_that_starts_before_its_engine_waits_for_it() -> None:
    joblet = FakeJoblet()
    joblet.engine.lose("not started yet")
    serving = asyncio.create_task(joblet.serve())
    await pass_time(5)
    assert not serving.done()

    joblet.engine.come_back()

    await serving
    await joblet.close()
    await joblet.store.close()


async def test_an_orderly_shutdown_finishes_the_starts_under_way() -> None:
    clock, engine = an_engine(set_up_s=2)
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        starting = asyncio.create_task(joblet.run(runs_forever()))
        await pass_time(1)

        await joblet.close()

        job = await starting
        assert isinstance(job.phase, Running)
        assert joblet.store.get(job.id) == job


async def test_one_event_that_cannot_be_handled_does_not_end_the_following() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(5))
        joblet.jobs.listen(_Broken())  # type: ignore[arg-type]
        joblet.engine.lose()
        joblet.engine.come_back()

        assert (await joblet.ended(job)).state is JobState.COMPLETED
        assert joblet.journal.saying("engine event failed")


class _Broken:
    """A listener with a mistake in it."""

    def job_running(self, job_id: str) -> None: ...

    def job_ended(self, job: object) -> None: ...

    def engine_lost(self) -> None:
        raise JobletError("a mistake")

    def engine_attached(self) -> None:
        raise JobletError("a mistake")
