"""Starts that fail, a store that refuses, callers that vanish: nothing half-made is left, and no truth is lost."""

import asyncio
from collections import Counter

import pytest

from joblet.domain.errors import (
    CgroupSetupFailed,
    IsolationFailed,
    JobletError,
    JobNotRunning,
    StorageFailed,
)
from joblet.domain.job import Ended, Job, JobState, Running
from joblet.ports import JobStore
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.clock import pass_time
from joblet.testing.faults import Faults, FaultyStore
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import exits, runs_forever, sleeps


@pytest.mark.parametrize("error", [CgroupSetupFailed("permission denied"), IsolationFailed("operation not permitted")])
async def test_a_job_whose_set_up_fails_is_stored_as_failed_with_the_reason(error: JobletError) -> None:
    async with FakeJoblet(faults=Faults(1, error, only=["engine.start"])) as joblet:
        with pytest.raises(type(error)) as raised:
            await joblet.run(exits(0))

        [job] = joblet.jobs.list()
        assert raised.value is error
        assert isinstance(job.phase, Ended)
        assert (job.state, job.phase.exit_code, job.phase.started_ns) == (JobState.FAILED, 125, 0)
        assert job.phase.reason == error.message
        assert joblet.store.unfinished() == []
        assert joblet.journal.saying("job failed to start")[0].level == "ERROR"


async def test_a_job_that_cannot_be_stored_does_not_run_on() -> None:
    faults = Faults(1, StorageFailed("the disk is full"), only=["store.add"])
    async with FakeJoblet(faults=faults) as joblet:
        with pytest.raises(StorageFailed):
            await joblet.run(runs_forever())

        assert joblet.jobs.list() == []
        assert joblet.engine.running == frozenset()
        assert joblet.engine.unforgotten == frozenset()
        assert isinstance((await joblet.run(exits(0))).phase, Running)


async def test_a_job_that_can_neither_be_stored_nor_started_leaves_nothing() -> None:
    faults = Faults(1, StorageFailed("the disk is full"), only=["store.add"])
    async with FakeJoblet(faults=faults) as joblet:
        joblet.engine.lose()
        starting = asyncio.create_task(joblet.run(exits(0)))
        await pass_time(1)
        joblet.engine.come_back()

        with pytest.raises(StorageFailed):
            await starting

        assert joblet.engine.running == frozenset()
        assert joblet.jobs.list() == []


async def test_an_end_that_cannot_be_stored_for_now_is_told_and_tried_again() -> None:
    """A full disk must not keep anybody from the truth, nor lose it."""
    faults = Faults(1, StorageFailed("the disk is full"), only=["store.update"])
    async with FakeJoblet(faults=faults) as joblet:
        job = await joblet.run(exits(3))

        ended = await joblet.ended(job)

        assert faults.fired == "store.update"
        assert joblet.jobs.get(job.id).phase == ended
        assert joblet.jobs.list()[0].phase == ended
        stored = joblet.store.get(job.id)
        assert stored is not None
        assert stored.state is not JobState.FAILED
        await pass_time(0.1)
        assert joblet.engine.unforgotten == {job.id}
        with pytest.raises(JobNotRunning):
            await joblet.jobs.stop(job.id)
        await pass_time(2)
        stored = joblet.store.get(job.id)
        assert stored is not None
        assert stored.phase == ended
        assert joblet.engine.unforgotten == frozenset()
        assert len(joblet.journal.saying("job failed")) == 1


async def test_a_run_whose_caller_is_gone_still_makes_a_whole_job() -> None:
    async with FakeJoblet() as joblet:
        running = asyncio.create_task(joblet.run(exits(3)))
        await pass_time(0)

        running.cancel()
        await pass_time(1)

        [job] = joblet.jobs.list()
        assert isinstance(job.phase, Ended)
        assert job.phase.exit_code == 3


class SlowStore(FaultyStore):
    """Takes a moment for each update, and remembers how many ends were asked for at each moment."""

    def __init__(self, store: JobStore) -> None:
        super().__init__(store, Faults())
        self.ends: Counter[float] = Counter()

    async def update(self, job: Job) -> None:
        """See `ports.JobStore.update`."""
        if isinstance(job.phase, Ended):
            self.ends[asyncio.get_running_loop().time()] += 1
        await pass_time(1)
        await super().update(job)


async def test_what_ends_while_the_store_writes_is_stored_in_one_go() -> None:
    """Group commit: what is entered in the meantime goes into the next transaction together."""
    database = open_job_store(JobStoreConfig())
    store = SlowStore(database)
    async with FakeJoblet(store=store) as joblet:
        jobs = [await joblet.run(sleeps(10 + 0.01 * number)) for number in range(20)]

        for job in jobs:
            await joblet.ended(job)

        assert list(store.ends.values()) == [1, 19]
        assert joblet.store.unfinished() == []
    await database.close()
