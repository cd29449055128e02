"""Attempts of a workflow's jobs and their records: nothing is shown that cannot be asked for, no room stays unused."""

import asyncio

import pytest

from joblet.domain.errors import IsolationFailed, StorageFailed
from joblet.domain.job import Job
from joblet.domain.reconcile import LOST_IN_SETUP
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.ports import JobStore
from joblet.services.request import JobDefaults
from joblet.services.workflow_runs import MOST_LOST
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.clock import SECOND_NS, pass_time
from joblet.testing.faults import CRASH, Faults, FaultyStore
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import sleeps

ONE = "jobs: {a: {command: sleep, args: [60]}}"
FLAKY = 'jobs: {a: {command: sh, args: [-c, "sleep 1; exit 1"], retries: {max: 1, backoff: 10s}}}'


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


@pytest.mark.parametrize("refused", [0, 1, 2])
async def test_what_is_shown_of_a_job_and_its_retry_can_be_asked_for_at_every_moment(refused: int) -> None:
    """Also when the store refuses one of the records at first: until it stands, the job waits."""
    database = open_job_store(JobStoreConfig())
    async with FakeJoblet(store=SlowToAdd(database, refused)) as joblet:
        workflow = await joblet.run_workflow(FLAKY)
        shown: dict[tuple[str, int, bool], None] = {}
        while not joblet.workflows.get(workflow.id).ended_ns:
            [job] = joblet.workflows.jobs(workflow.id)
            assert not job.job_id or joblet.jobs.get(job.job_id)
            if job.status != "INITIALIZING":  # too short to be seen each time
                shown[job.status, job.attempts, bool(job.job_id)] = None
            await pass_time(0.01)

        assert list(shown) == [
            ("PENDING", 0, False),
            ("RUNNING", 1, True),
            ("PENDING", 1, True),
            ("RUNNING", 2, True),
        ]
        [job] = joblet.workflows.jobs(workflow.id)
        assert (job.status, job.attempts) == ("FAILED", 2)
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


async def test_a_job_for_whose_set_up_the_disk_has_no_room_waits_for_it() -> None:
    """As one does whose record is refused: it is no fault of the job's, and no attempt."""
    full = IsolationFailed("no space left on device: mkdir(work)")
    async with FakeJoblet(faults=Faults(1, full, only=["engine.start"])) as joblet:
        ended = await joblet.workflow_ended(workflow := await joblet.run_workflow("jobs: {a: {command: echo}}"))

        assert joblet.faults.fired
        assert (ended.state, ended.counts) == (WorkflowState.COMPLETED, Counts(1, completed=1))
        assert joblet.workflows.jobs(workflow.id)[0].attempts == 1
        assert (ended.ended_ns - ended.started_ns) / SECOND_NS >= 1


async def test_a_set_up_that_fails_otherwise_is_a_failure() -> None:
    faults = Faults(1, IsolationFailed("operation not permitted: mount(proc, /proc)"), only=["engine.start"])
    async with FakeJoblet(faults=faults) as joblet:
        ended = await joblet.workflow_ended(await joblet.run_workflow("jobs: {a: {command: echo}}"))

        assert ended.counts == Counts(1, failed=1)


async def test_a_full_disk_does_not_keep_a_workflow_from_being_stopped() -> None:
    """It may be the one that fills it."""
    faults = Faults(1, StorageFailed("full"), only=["workflows.request_stop"])
    async with FakeJoblet(faults=faults) as joblet:
        workflow = await joblet.run_workflow(ONE)
        await pass_time(1)

        stopped = await joblet.workflows.stop(workflow.id)

        assert joblet.faults.fired
        assert (stopped.state, stopped.counts) == (WorkflowState.STOPPED, Counts(1, canceled=1))
        assert joblet.journal.saying("workflow stop not stored")


async def test_a_job_whose_set_up_is_always_interrupted_is_given_up_in_the_end() -> None:
    """A set-up that takes the server down with it must not do so for ever."""
    async with FakeJoblet(faults=Faults(1, CRASH, only=["engine.start"])) as joblet:
        running = asyncio.create_task(joblet.run_workflow("jobs: {a: {command: echo}}"))
        for _ in range(MOST_LOST + 1):
            await joblet.faults.crashed.wait()
            await joblet.crash(faults=Faults(1, CRASH, only=["engine.start"]))
        [workflow] = joblet.list_workflows(ended=True)

        ended = await joblet.workflow_ended(workflow)

        attempts = joblet.jobs.of_workflow(workflow.id)
        assert [job.phase.reason for job in attempts] == [LOST_IN_SETUP] * (MOST_LOST + 1)  # type: ignore[union-attr]
        assert (ended.state, ended.counts) == (WorkflowState.FAILED, Counts(1, failed=1))
        [job] = joblet.workflows.jobs(workflow.id)
        assert (job.status, job.reason, job.attempts) == ("FAILED", LOST_IN_SETUP, 1)
        running.cancel()
