"""Workflows across crashes: they go on where they were, no job runs twice, none is forgotten."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import pytest

from joblet.domain.errors import StorageFailed
from joblet.domain.job import JobState
from joblet.domain.limits import MIB, Machine
from joblet.domain.reconcile import LOST_IN_SETUP
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.domain.workflow.workflow import Workflow
from joblet.services.workflow_runs import SECRETS_LOST
from joblet.testing.clock import VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.faults import CRASH, Faults
from joblet.testing.joblet import FakeJoblet

T = TypeVar("T")

NO_CPU = "job creation failed: maxCPU exceeds system limits"
NIGHT = """
jobs:
  fetch: {command: sh, args: [-c, "echo ran; sleep 1"]}
  flaky: {command: sh, args: [-c, "echo ran; exit 1"], retries: {max: 1, backoff: 1s}, continue_on_failure: true}
  build: {command: sh, args: [-c, "echo ran; sleep 1; exit 3"], requires: [{fetch: COMPLETED}, {flaky: COMPLETED}]}
  deploy: {command: sh, args: [-c, "echo ran"], requires: [{build: COMPLETED}]}
  alarm: {command: sh, args: [-c, "echo ran; sleep 1"], requires: [{build: FAILED}]}
  sweep: {command: sh, args: [-c, "echo ran"], requires: [{deploy: FINISHED}, {alarm: FINISHED}]}
"""
ONCE = {"fetch": 1, "flaky": 2, "build": 1, "alarm": 1, "sweep": 1}
AT_ITS_ADD = 2  # points on the way to the moment where a workflow is stored
ENDED = Counts(6, completed=3, failed=2, canceled=1)


async def times_run(joblet: FakeJoblet, workflow: Workflow) -> dict[str, int]:
    """How often each job's command really ran: it says so."""
    ran: Counter[str] = Counter()
    for job in joblet.jobs.of_workflow(workflow.id):
        ran[job.spec.name] += (await joblet.log(job)).count(b"ran")
    return +ran


async def the_only_one(joblet: FakeJoblet) -> Workflow | None:
    """Its client may never have had an answer."""
    found = joblet.list_workflows(ended=True)
    assert len(found) <= 1
    return found[0] if found else None


async def test_a_server_killed_at_any_step_is_followed_by_one_that_goes_on() -> None:
    """Every point of every port fails once: before its effect, and after it."""
    for nth in itertools.count(1):
        faults = Faults(nth, CRASH)
        async with FakeJoblet(faults=faults, engine=FakeEngine(clock=VirtualClock(), set_up_s=0.25)) as joblet:
            night = asyncio.create_task(until_the_end(joblet))
            dead = asyncio.create_task(faults.crashed.wait())
            await asyncio.wait((night, dead), return_when=asyncio.FIRST_COMPLETED)
            if not faults.fired:
                break
            await joblet.crash()
            workflow = await the_only_one(joblet)
            if workflow is None:
                assert nth <= AT_ITS_ADD, f"it was lost at {faults.fired}"
                continue

            ended = await joblet.workflow_ended(workflow)

            assert (ended.state, ended.counts) == (WorkflowState.FAILED, ENDED), faults.fired
            assert await times_run(joblet, workflow) == ONCE, faults.fired
    assert nth > 40  # the injector was really on the path


async def until_the_end(joblet: FakeJoblet) -> Workflow:
    return await joblet.workflow_ended(await joblet.run_workflow(NIGHT))


@pytest.mark.parametrize("tenths", range(0, 60, 3))
async def test_an_engine_that_is_lost_at_any_moment_is_waited_for(tenths: int) -> None:
    async with FakeJoblet(engine=FakeEngine(clock=VirtualClock(), set_up_s=0.25)) as joblet:
        workflow = await joblet.run_workflow(NIGHT)
        await pass_time(tenths / 10)
        joblet.engine.lose()
        await pass_time(30)
        joblet.engine.come_back()

        ended = await joblet.workflow_ended(workflow)

        assert ended.counts == ENDED
        assert await times_run(joblet, workflow) == ONCE


async def test_a_stop_that_was_asked_for_outlives_the_server() -> None:
    text = "jobs: {a: {command: sleep, args: [600]}, b: {command: echo, requires: [{a: FINISHED}]}}"
    # The second point: after its effect.
    async with FakeJoblet(faults=Faults(2, CRASH, only=["workflows.request_stop"])) as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(1)
        stopping = asyncio.create_task(joblet.workflows.stop(workflow.id))
        await joblet.faults.crashed.wait()
        await joblet.crash()

        ended = await joblet.workflow_ended(workflow)

        assert (ended.state, ended.counts) == (WorkflowState.STOPPED, Counts(2, canceled=2))
        stopping.cancel()


async def test_a_machine_that_went_down_has_failed_what_ran_and_the_rest_goes_on() -> None:
    text = """
    jobs:
      once: {command: sleep, args: [600]}
      again: {command: sleep, args: [60], retries: {max: 1}}
      alarm: {command: echo, requires: [{once: FAILED}]}
    """
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(1)
        joblet.engine.reboot()

        ended = await joblet.workflow_ended(workflow)

        assert ended.counts == Counts(3, completed=2, failed=1)


async def test_an_attempt_that_never_began_is_made_again_and_shows_as_lost() -> None:
    async with FakeJoblet(faults=Faults(1, CRASH, only=["engine.start"])) as joblet:
        running = asyncio.create_task(joblet.run_workflow("jobs: {a: {command: echo}}"))
        await joblet.faults.crashed.wait()
        await joblet.crash()
        workflow = await the_only_one(joblet)
        assert workflow is not None

        ended = await joblet.workflow_ended(workflow)

        lost, made = joblet.jobs.of_workflow(workflow.id)
        assert (lost.state, made.state) == (JobState.FAILED, JobState.COMPLETED)
        assert lost.phase.reason == LOST_IN_SETUP  # type: ignore[union-attr]
        assert ended.counts == Counts(1, completed=1)
        assert joblet.workflows.jobs(workflow.id)[0].attempts == 1
        running.cancel()


WITH_A_SECRET = """
secret_environment: {TOKEN: hunter2}
jobs:
  a: {command: sleep, args: [600]}
  b: {command: echo}
  c: {command: echo, requires: [{a: FINISHED}]}
  d: {command: "false", retries: {max: 3, backoff: 60s}}
"""


async def without_its_key(joblet: FakeJoblet, text: str, **faults: object) -> Workflow:
    """A workflow a second after its start, on a server that cannot read its secrets any more."""
    workflow = await joblet.run_workflow(text)
    await pass_time(1)
    await joblet.database.write("UPDATE workflows SET sealed = 'not ours'", ())
    await joblet.crash(**faults)  # type: ignore[arg-type]
    return workflow


@pytest.mark.parametrize("refused", [0, 1, 2])
async def test_a_workflow_whose_key_is_gone_is_given_up_and_shown_whole(refused: int) -> None:
    """Also when the store refuses its end at first."""
    async with FakeJoblet() as joblet:
        faults = Faults(refused, StorageFailed("full"), only=["workflows.finish"])
        workflow = await without_its_key(joblet, WITH_A_SECRET, faults=faults)
        assert [each.id for each in joblet.list_workflows(ended=False)] == [workflow.id]

        ended = await joblet.workflow_ended(workflow)
        await pass_time(5)

        found = joblet.workflows.get(workflow.id)
        assert found == ended
        assert (found.state, found.reason) == (WorkflowState.FAILED, SECRETS_LOST)
        assert found.counts == Counts(4, completed=1, failed=1, canceled=2)
        assert 0 < found.started_ns < found.ended_ns
        jobs = {job.name: job for job in joblet.workflows.jobs(workflow.id)}
        assert {name: job.status for name, job in jobs.items()} == {
            "a": "STOPPED",
            "b": "COMPLETED",
            "c": "CANCELED",
            "d": "FAILED",
        }
        assert jobs["a"].reason == SECRETS_LOST
        assert joblet.list_workflows(ended=False) == []


async def test_a_workflow_that_is_being_given_up_can_be_stopped_like_any_other() -> None:
    async with FakeJoblet() as joblet:
        workflow = await without_its_key(joblet, WITH_A_SECRET)

        stopped = await joblet.workflows.stop(workflow.id)

        assert (stopped.state, stopped.reason) == (WorkflowState.FAILED, SECRETS_LOST)


async def test_a_workflow_without_secrets_needs_no_key() -> None:
    async with FakeJoblet() as joblet:
        workflow = await without_its_key(joblet, NIGHT)

        ended = await joblet.workflow_ended(workflow)

        assert (ended.counts, ended.reason) == (ENDED, "")
        assert await times_run(joblet, workflow) == ONCE


async def test_a_file_that_this_version_does_not_take_any_more_is_given_up_with_its_jobs() -> None:
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow("jobs: {a: {command: sleep, args: [600]}, b: {command: echo}}")
        await pass_time(1)
        await joblet.database.write("UPDATE workflows SET sealed = '', yaml = 'jobs: 5'", ())
        await joblet.restart()

        ended = await joblet.workflow_ended(workflow)

        assert ended.state is WorkflowState.FAILED
        assert ended.reason.startswith("its file is not accepted any more: ")
        assert joblet.workflows.get(workflow.id).counts.total == 2
        assert ended.counts == Counts(2, completed=1, canceled=1)
        assert [job.status for job in joblet.workflows.jobs(workflow.id)] == ["STOPPED", "COMPLETED"]


async def slowly(work: Callable[[], T], /) -> T:
    await pass_time(5)
    return work()


async def test_a_job_that_ends_while_the_next_server_reads_the_file_is_not_missed() -> None:
    """Ten thousand jobs take a second to read; what happens in that second counts."""
    text = "jobs: {a: {command: sleep, args: [8]}, b: {command: echo, requires: [{a: COMPLETED}]}}"
    async with FakeJoblet(aside=slowly) as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(5)
        await joblet.restart()
        assert joblet.jobs.of_workflow(workflow.id)[0].state is JobState.COMPLETED

        async with asyncio.timeout(60):
            ended = await joblet.workflow_ended(workflow)

        assert ended.counts == Counts(2, completed=2)


async def test_a_job_that_a_smaller_machine_cannot_run_has_failed_for_that_reason_and_stays_so() -> None:
    text = """
    jobs:
      wait: {command: sleep, args: [60]}
      wide: {command: echo, resources: {max_cpu: 400}, requires: [{wait: COMPLETED}]}
      alarm: {command: sleep, args: [60], requires: [{wide: FAILED}]}
    """
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(1)
        joblet.machine = Machine(cores=1, memory_bytes=8192 * MIB)
        await joblet.restart()
        await pass_time(90)
        wide = joblet.workflows.jobs(workflow.id)[1]
        job = joblet.jobs.get(wide.job_id)
        assert (wide.status, wide.reason, wide.attempts) == ("FAILED", NO_CPU, 1)
        assert (job.state, job.spec.limits.cpu_max_percent) == (JobState.FAILED, 400)
        joblet.machine = Machine(cores=4, memory_bytes=8192 * MIB)
        await joblet.restart()

        ended = await joblet.workflow_ended(workflow)

        assert ended.counts == Counts(3, completed=2, failed=1)


async def test_a_retry_that_was_waited_for_still_comes_after_a_restart() -> None:
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow('jobs: {a: {command: "false", retries: {max: 1, backoff: 60s}}}')
        await pass_time(30)
        await joblet.restart()

        ended = await joblet.workflow_ended(workflow)

        assert ended.counts == Counts(1, failed=1)
        assert joblet.workflows.jobs(workflow.id)[0].attempts == 2
