"""Attempts of a workflow's jobs and their records: nothing is shown that cannot be asked for, no room stays unused."""

import asyncio

import pytest

from joblet.domain.errors import StorageFailed
from joblet.domain.job import Job
from joblet.domain.reconcile import LOST_IN_SETUP
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.ports import JobStore
from joblet.services.request import JobDefaults
from joblet.services.workflow_runs import MOST_LOST
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.clock import pass_time
from joblet.testing.faults import CRASH, Faults, FaultyStore
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import sleeps

ONE = "jobs: {a: {command: sleep, args: [60]}}"
FLAKY = 'jobs: {a: {command: "false", retries: {max: 1, backoff: 10s}}}'


class SlowToAdd(FaultyStore):
    """Takes three seconds for each new job; refuses the n-th after that."""

    def __init__(self, store: JobStore, refused: int = 0) -> None:
        super().__init__(store, Faults(refused, StorageFailed("full"), only=["store.add"]))

    async def add(self, job: Job) -> None:
        """See `ports.JobStore.add`."""
        await pass_time(3)
        await super().add(job)


async def test_an_attempt_is_shown_once_it_can_be_asked_for() -> None:
    database = open_job_store(JobStoreConfig())
    async with FakeJoblet(store=SlowToAdd(database)) as joblet:
        workflow = await joblet.run_workflow(ONE)
        await pass_time(2)

        [before] = joblet.workflows.jobs(workflow.id)
        await pass_time(2)
        [after] = joblet.workflows.jobs(workflow.id)

        assert (before.job_id, before.status, before.attempts) == ("", "PENDING", 0)
        assert (after.status, after.attempts) == ("RUNNING", 1)
        assert joblet.jobs.get(after.job_id).workflow == workflow.id
        await joblet.workflows.stop(workflow.id)
    await database.close()


@pytest.mark.parametrize("refused", [0, 2])
async def test_until_a_retry_is_stored_the_attempt_before_it_is_shown(refused: int) -> None:
    """Also when the store refuses it."""
    database = open_job_store(JobStoreConfig())
    async with FakeJoblet(store=SlowToAdd(database, refused)) as joblet:
        workflow = await joblet.run_workflow(FLAKY)
        await pass_time(5)
        [first] = joblet.workflows.jobs(workflow.id)
        assert joblet.jobs.get(first.job_id).state.value == "FAILED"

        shown = {first}
        while workflow in joblet.workflows.list(ended=False) or len(shown) < 2:
            await pass_time(0.5)
            shown.update(joblet.workflows.jobs(workflow.id))
            for job in shown:
                assert joblet.jobs.get(job.job_id)
            if joblet.workflows.get(workflow.id).ended_ns:
                break

        assert {(job.status, job.attempts) for job in shown} >= {("PENDING", 1), ("FAILED", 2)}
        assert first.job_id in {job.job_id for job in shown if job.attempts == 1}
    await database.close()


async def test_the_room_of_a_job_that_could_not_be_stored_is_taken() -> None:
    faults = Faults(2, StorageFailed("full"), only=["store.add"])
    async with FakeJoblet(faults=faults, defaults=JobDefaults(max_concurrent_jobs=2)) as joblet:
        long = await joblet.run(sleeps(1000))
        refused = asyncio.create_task(joblet.run(sleeps(1000)))
        await pass_time(0)
        workflow = await joblet.run_workflow("jobs: {a: {command: echo}}")
        with pytest.raises(StorageFailed):
            await refused

        ended = await joblet.workflow_ended(workflow)

        assert ended.counts == Counts(1, completed=1)
        await joblet.jobs.stop(long.id)


async def test_a_job_whose_set_up_is_always_interrupted_is_given_up_in_the_end() -> None:
    """A set-up that takes the server down with it must not do so for ever."""
    async with FakeJoblet(faults=Faults(1, CRASH, only=["engine.start"])) as joblet:
        running = asyncio.create_task(joblet.run_workflow("jobs: {a: {command: echo}}"))
        for _ in range(MOST_LOST + 1):
            await joblet.faults.crashed.wait()
            await joblet.crash(faults=Faults(1, CRASH, only=["engine.start"]))
        [workflow] = joblet.workflows.list(ended=True)

        ended = await joblet.workflow_ended(workflow)

        attempts = joblet.jobs.of_workflow(workflow.id)
        assert [job.phase.reason for job in attempts] == [LOST_IN_SETUP] * (MOST_LOST + 1)  # type: ignore[union-attr]
        assert (ended.state, ended.counts) == (WorkflowState.FAILED, Counts(1, failed=1))
        [job] = joblet.workflows.jobs(workflow.id)
        assert (job.status, job.reason, job.attempts) == ("FAILED", LOST_IN_SETUP, 1)
        running.cancel()
