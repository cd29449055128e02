"""Workflows through the services: what is started when, how they end, stop, limits, retries, secrets."""

import asyncio
from collections import Counter

import pytest

from joblet.domain.errors import (
    AmbiguousWorkflowId,
    InvalidRequest,
    InvalidWorkflow,
    StorageFailed,
    UnavailableInWorkflow,
    WorkflowNotFound,
    WorkflowNotRunning,
)
from joblet.domain.job import Ended, JobState
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.domain.workflow.workflow import Workflow
from joblet.services.request import JobDefaults
from joblet.testing.clock import SECOND_NS, VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.faults import Faults
from joblet.testing.joblet import FakeJoblet

DIAMOND = """
jobs:
  top: {command: sleep, args: [1]}
  left: {command: sleep, args: [2], requires: [{top: COMPLETED}]}
  right: {command: sleep, args: [3], requires: [{top: COMPLETED}]}
  bottom: {command: echo, args: [done], requires: [{left: COMPLETED}, {right: COMPLETED}]}
"""


def statuses(joblet: FakeJoblet, workflow: Workflow) -> dict[str, str]:
    return {job.name: job.status for job in joblet.workflows.jobs(workflow.id)}


async def test_jobs_start_the_moment_their_requirements_hold() -> None:
    async with FakeJoblet(engine=FakeEngine(clock=VirtualClock(), set_up_s=0)) as joblet:
        workflow = await joblet.run_workflow(DIAMOND)
        ended = await joblet.workflow_ended(workflow)

        assert ended.state is WorkflowState.COMPLETED
        assert ended.counts == Counts(4, completed=4)
        by_name = {job.name: job for job in joblet.workflows.jobs(workflow.id)}
        begin_ns = by_name["top"].started_ns
        starts = {name: (job.started_ns - begin_ns) / SECOND_NS for name, job in by_name.items()}
        assert starts == {"top": 0, "left": 1, "right": 1, "bottom": 4}
        assert (ended.started_ns, ended.ended_ns) == (begin_ns, begin_ns + 4 * SECOND_NS)


async def test_a_job_that_was_not_started_has_no_id_and_one_that_was_is_a_job_like_any_other() -> None:
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(DIAMOND)
        await pass_time(0.5)

        assert statuses(joblet, workflow) == {
            "top": "RUNNING",
            "left": "PENDING",
            "right": "PENDING",
            "bottom": "PENDING",
        }
        top, left, *_ = joblet.workflows.jobs(workflow.id)
        assert (left.job_id, left.dependencies) == ("", ("top",))
        await joblet.workflow_ended(workflow)
        left = joblet.workflows.jobs(workflow.id)[1]
        job = joblet.jobs.get(left.job_id)
        assert (job.spec.name, job.workflow, job.dependencies) == ("left", workflow.id, ("top",))
        assert joblet.jobs.get(top.job_id).state is JobState.COMPLETED


async def test_what_can_no_longer_run_is_canceled_and_a_handler_runs() -> None:
    text = """
    jobs:
      build: {command: "false"}
      test: {command: echo, requires: [{build: COMPLETED}]}
      deploy: {command: echo, requires: [{test: COMPLETED}]}
      alarm: {command: echo, requires: [{build: FAILED}]}
      sweep: {command: echo, requires: [{deploy: FINISHED}]}
    """
    async with FakeJoblet() as joblet:
        ended = await joblet.workflow_ended(workflow := await joblet.run_workflow(text))

        assert ended.state is WorkflowState.FAILED
        assert ended.counts == Counts(5, completed=2, failed=1, canceled=2)
        assert statuses(joblet, workflow) == {
            "build": "FAILED",
            "test": "CANCELED",
            "deploy": "CANCELED",
            "alarm": "COMPLETED",
            "sweep": "COMPLETED",
        }
        reasons = {job.name: job.reason for job in joblet.workflows.jobs(workflow.id)}
        assert (reasons["test"], reasons["deploy"]) == ("build FAILED", "test CANCELED")


async def test_a_failure_that_is_put_up_with_counts_as_completed_for_those_who_wait() -> None:
    text = """
    jobs:
      lint: {command: "false", continue_on_failure: true}
      build: {command: echo, requires: [{lint: COMPLETED}]}
    """
    async with FakeJoblet() as joblet:
        ended = await joblet.workflow_ended(await joblet.run_workflow(text))

        assert (ended.state, ended.counts) == (WorkflowState.COMPLETED, Counts(2, completed=1, failed=1))


async def test_a_failed_job_is_tried_again_after_waits_that_double() -> None:
    text = 'jobs: {flaky: {command: "false", retries: {max: 2, backoff: 10s}}}'
    async with FakeJoblet(engine=FakeEngine(clock=VirtualClock(), set_up_s=0)) as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(5)
        assert statuses(joblet, workflow) == {"flaky": "PENDING"}
        ended = await joblet.workflow_ended(workflow)

        assert (ended.ended_ns - ended.started_ns) / SECOND_NS == 30
        assert [job.state for job in joblet.jobs.of_workflow(workflow.id)] == [JobState.FAILED] * 3
        [flaky] = joblet.workflows.jobs(workflow.id)
        assert (flaky.attempts, flaky.exit_code) == (3, 1)


async def test_a_job_that_ran_too_long_has_failed() -> None:
    text = "jobs: {slow: {command: sleep, args: [60], timeout: 5s}, alarm: {command: echo, requires: [{slow: FAILED}]}}"
    async with FakeJoblet() as joblet:
        ended = await joblet.workflow_ended(workflow := await joblet.run_workflow(text))

        assert ended.counts == Counts(2, completed=1, failed=1)
        assert statuses(joblet, workflow) == {"slow": "STOPPED", "alarm": "COMPLETED"}


async def test_at_the_limit_jobs_wait_and_do_not_fail() -> None:
    jobs = "\n".join(f"  j{number}: {{command: sleep, args: [1]}}" for number in range(7))
    engine = FakeEngine(clock=VirtualClock(), set_up_s=0)
    async with FakeJoblet(engine=engine, defaults=JobDefaults(max_concurrent_jobs=3)) as joblet:
        workflow = await joblet.run_workflow(f"jobs:\n{jobs}")
        await pass_time(0.5)

        assert list(statuses(joblet, workflow).values()).count("RUNNING") == 3
        ended = await joblet.workflow_ended(workflow)
        assert ended.counts == Counts(7, completed=7)
        assert ended.ended_ns - ended.started_ns == 3 * SECOND_NS


async def test_room_that_another_job_leaves_is_taken() -> None:
    async with FakeJoblet(defaults=JobDefaults(max_concurrent_jobs=1)) as joblet:
        await joblet.run("sleep", "5")
        workflow = await joblet.run_workflow("jobs: {only: {command: echo}}")

        assert workflow.state is WorkflowState.PENDING
        ended = await joblet.workflow_ended(workflow)
        assert ended.started_ns - ended.created_ns == 5 * SECOND_NS


async def test_a_stop_ends_what_runs_and_cancels_the_rest() -> None:
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(DIAMOND)
        await pass_time(1.5)

        first, second = await asyncio.gather(joblet.workflows.stop(workflow.id), joblet.workflows.stop(workflow.id[:8]))

        assert first == second
        assert (first.state, first.counts) == (WorkflowState.STOPPED, Counts(4, completed=1, canceled=3))
        assert statuses(joblet, workflow)["left"] == "STOPPED"
        assert statuses(joblet, workflow)["bottom"] == "CANCELED"
        left = joblet.jobs.get(joblet.workflows.jobs(workflow.id)[1].job_id)
        assert isinstance(left.phase, Ended)
        assert left.phase.reason == "its workflow was stopped"
        with pytest.raises(WorkflowNotRunning, match=rf"{workflow.id} \(current status: STOPPED\)"):
            await joblet.workflows.stop(workflow.id)


async def test_a_stop_before_anything_was_started_is_a_cancellation() -> None:
    async with FakeJoblet(defaults=JobDefaults(max_concurrent_jobs=1)) as joblet:
        await joblet.run("sleep", "60")
        workflow = await joblet.run_workflow(DIAMOND)

        stopped = await joblet.workflows.stop(workflow.id)

        assert (stopped.state, stopped.counts) == (WorkflowState.CANCELED, Counts(4, canceled=4))


async def test_one_job_that_a_person_stops_is_neither_a_success_nor_a_failure() -> None:
    text = """
    jobs:
      long: {command: sleep, args: [60], retries: {max: 3}}
      after: {command: echo, requires: [{long: COMPLETED}]}
      alarm: {command: echo, requires: [{long: FAILED}]}
      sweep: {command: echo, requires: [{long: FINISHED}]}
    """
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(text)
        await joblet.jobs.stop(joblet.workflows.jobs(workflow.id)[0].job_id)
        ended = await joblet.workflow_ended(workflow)

        assert (ended.state, ended.counts) == (WorkflowState.STOPPED, Counts(4, completed=1, canceled=3))


async def test_a_file_with_problems_is_refused_with_all_of_them_and_nothing_is_kept() -> None:
    async with FakeJoblet() as joblet:
        with pytest.raises(InvalidWorkflow) as caught:
            await joblet.run_workflow("jobs:\n  a: {comand: echo}\n  b: {command: echo, requires: [{c: COMPLETED}]}")

        first, second, *_ = str(caught.value).splitlines()
        assert first.startswith("invalid workflow: workflow.yaml:2:")
        assert "workflow.yaml:3:" in str(caught.value)
        assert second
        assert joblet.list_workflows(ended=True) == []


async def test_limits_above_the_machines_are_refused_before_anything_runs() -> None:
    async with FakeJoblet() as joblet:
        with pytest.raises(InvalidWorkflow, match=r"workflow\.yaml:1:\d+: jobs\.a\.resources\.max_cpu"):
            await joblet.run_workflow("jobs: {a: {command: echo, resources: {max_cpu: 100000}}}")


async def test_what_no_server_offers_yet_is_refused_by_name_and_place() -> None:
    async with FakeJoblet() as joblet:
        with pytest.raises(UnavailableInWorkflow, match=r"^not yet available on this server: workflow\.yaml:1:\d+: "):
            await joblet.run_workflow("jobs: {a: {command: echo, volumes: [data]}}")


async def test_a_client_that_reads_the_file_otherwise_must_not_run_it() -> None:
    async with FakeJoblet() as joblet:
        with pytest.raises(InvalidRequest, match="totalJobs is 3, but the workflow has 4 jobs"):
            await joblet.workflows.run("w", DIAMOND, total_jobs=3)
        with pytest.raises(InvalidRequest, match="jobOrder names a job that the workflow does not have: middle"):
            await joblet.workflows.run("w", DIAMOND, job_names=("top", "middle"))


async def test_workflows_are_found_by_a_beginning_of_their_id() -> None:
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(DIAMOND)

        assert joblet.workflows.get(workflow.id[:10].upper()).id == workflow.id
        with pytest.raises(WorkflowNotFound):
            joblet.workflows.get("")
        with pytest.raises(WorkflowNotFound, match="workflow not found: no-such"):
            joblet.workflows.get("no-such")
        others = [await joblet.run_workflow("jobs: {a: {command: echo}}") for _ in range(20)]
        first_letters = Counter(each.id[0] for each in others)
        shared, _ = first_letters.most_common(1)[0]
        with pytest.raises(AmbiguousWorkflowId):
            joblet.workflows.get(shared)


async def test_a_list_has_those_that_have_ended_only_when_asked_for() -> None:
    async with FakeJoblet() as joblet:
        first = await joblet.run_workflow("jobs: {a: {command: echo}}")
        await joblet.workflow_ended(first)
        second = await joblet.run_workflow(DIAMOND)

        assert [each.id for each in joblet.list_workflows(ended=False)] == [second.id]
        assert [each.id for each in joblet.list_workflows(ended=True)] == [first.id, second.id]


async def test_secrets_reach_the_job_and_nothing_else() -> None:
    text = """
    secret_environment: {TOKEN: hunter2}
    jobs:
      call:
        command: printenv
        args: [URL]
        environment: {URL: "https://${TOKEN}@example.com"}
        secret_environment: {OTHER: hunter3}
    """
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(text)
        job = joblet.jobs.get(joblet.workflows.jobs(workflow.id)[0].job_id)
        await joblet.workflow_ended(workflow)

        assert await joblet.log(job) == b"https://hunter2@example.com\n"
        assert "***" in joblet.workflows.get(workflow.id).yaml
        stored = "".join(map(str, joblet.database.read("SELECT * FROM workflows, jobs")))
        for shown in (joblet.workflows.get(workflow.id).yaml, repr(job), stored, repr(joblet.journal.lines)):
            assert "hunter" not in shown


async def test_a_workflow_that_cannot_be_stored_is_not_run() -> None:
    async with FakeJoblet(faults=Faults(1, StorageFailed("full"), only=["workflows.add"])) as joblet:
        with pytest.raises(StorageFailed):
            await joblet.run_workflow(DIAMOND)

        assert joblet.jobs.list() == []
        assert joblet.list_workflows(ended=True) == []


@pytest.mark.parametrize("nth", range(1, 5))
async def test_a_job_that_cannot_be_stored_is_made_again_later(nth: int) -> None:
    async with FakeJoblet(faults=Faults(nth, StorageFailed("full"), only=["store.add"])) as joblet:
        ended = await joblet.workflow_ended(workflow := await joblet.run_workflow(DIAMOND))

        assert joblet.faults.fired
        assert (ended.state, ended.counts) == (WorkflowState.COMPLETED, Counts(4, completed=4))
        assert len(joblet.jobs.of_workflow(workflow.id)) == 4


async def test_an_end_that_cannot_be_stored_is_told_and_stored_later() -> None:
    async with FakeJoblet(faults=Faults(1, StorageFailed("full"), only=["workflows.finish"])) as joblet:
        ended = await joblet.workflow_ended(workflow := await joblet.run_workflow("jobs: {a: {command: echo}}"))

        assert ended.state is WorkflowState.COMPLETED
        assert joblet.workflows.get(workflow.id) == ended
        await pass_time(2)
        assert joblet.workflows.get(workflow.id) == ended
        assert joblet.list_workflows(ended=False) == []


async def test_a_stop_calls_off_the_retry_that_was_waited_for() -> None:
    text = 'jobs: {flaky: {command: "false", retries: {max: 5, backoff: 10s}}, long: {command: sleep, args: [60]}}'
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
    async with FakeJoblet() as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(1)

        stopped = await joblet.workflows.stop(workflow.id)
        await pass_time(60)

        assert complaints == []
        assert stopped.counts == Counts(2, failed=1, canceled=1)
        assert joblet.workflows.get(workflow.id) == stopped
        assert len(joblet.jobs.of_workflow(workflow.id)) == 2


async def test_a_stop_right_after_a_job_that_could_not_be_stored_ends_all_the_others() -> None:
    text = "jobs: {a: {command: sleep, args: [60]}, b: {command: sleep, args: [60]}}"
    async with FakeJoblet(faults=Faults(1, StorageFailed("full"), only=["store.add"])) as joblet:
        workflow = await joblet.run_workflow(text)
        await pass_time(0.5)

        stopped = await joblet.workflows.stop(workflow.id)

        assert (stopped.state, stopped.counts) == (WorkflowState.STOPPED, Counts(2, canceled=2))
        assert len(joblet.jobs.of_workflow(workflow.id)) == 1
