"""
Workflows: order, names, and what becomes of a job whose requirement cannot hold.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Workflow API".
"""

import asyncio
import re
import time
import uuid
from typing import Any, Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.case import Level, Profile, case, fields
from joblet_conformance.evidence import Failed, Found, expect, is_uuid, same
from joblet_conformance.subject import ENDED, POLL_S, Subject
from joblet_conformance.workflowfile import job, request_of

NOT_STARTED: Final = "0"
SETTLES_S: Final = 0.1  # in which a server would start what it should not


async def run(server: Subject, jobs: dict[str, Any], name: str = "conformance.yaml", **further: Any) -> str:
    """Start a workflow; its UUID."""
    request = request_of(jobs, name, **further)
    return (await server.answer("RunWorkflow", request, pb.RunWorkflowResponse)).workflowUuid


async def status(server: Subject, workflow: str, *, role: str = "admin") -> pb.GetWorkflowStatusResponse:
    """What GetWorkflowStatus says now."""
    request = pb.GetWorkflowStatusRequest(workflowUuid=workflow)
    return await server.answer("GetWorkflowStatus", request, pb.GetWorkflowStatusResponse, role=role)


async def jobs_until(server: Subject, workflow: str, **wanted: str) -> Found[pb.WorkflowJob]:
    """Each job by its name, once those named have the status that is wanted."""
    jobs = Found[pb.WorkflowJob]("the workflow", {})
    try:
        async with asyncio.timeout(server.patience_s):
            while True:
                told = (await status(server, workflow)).jobs
                jobs = Found("the workflow", {each.jobName: each for each in told})
                if all(name in jobs and jobs[name].status == state for name, state in wanted.items()):
                    return jobs
                for name, state in wanted.items():
                    if name in jobs and jobs[name].status in ENDED:
                        same(f"the status of the job {name}", jobs[name].status, state)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        states = {name: each.status for name, each in jobs.items()}
        raise Failed(f"after {server.patience_s:g} s the jobs are {states}, expected {wanted}") from None


def seconds(moment: pb.Timestamp) -> float:
    """Since 1970."""
    return moment.seconds + moment.nanos / 1e9


def is_recent(what: str, moment: pb.Timestamp) -> None:
    """Fail unless it is about now."""
    away_s = abs(seconds(moment) - time.time())
    expect(away_s < times.FAR_S, f"{what} is {away_s:.0f} s away from now")


@case(
    "workflow.order",
    "workflow.dependencies",
    "workflow-names.requires",
    "workflow-job.start-time",
    "workflow-job.end-time",
    "workflow-status.jobs",
    "job-service.run-workflow",
    "job-service.get-workflow-status",
    profile=Profile.WORKFLOW,
    covers=(
        "RunWorkflow=OK",
        "GetWorkflowStatus=OK",
        *fields("RunWorkflowRequest", "yamlContent", "totalJobs"),
        "RunWorkflowResponse.workflowUuid",
        "GetWorkflowStatusRequest.workflowUuid",
        "GetWorkflowStatusResponse.jobs",
        *fields("WorkflowJob", "startTime", "endTime"),
        "Timestamp.seconds",
    ),
)
async def a_job_starts_after_what_it_requires(server: Subject) -> None:
    """A job that requires another one COMPLETED starts when that has ended, and not before."""
    workflow = await run(
        server,
        {
            "process-data": job(server.programs.echo, "second", requires={"setup-data": "COMPLETED"}),
            "setup-data": job(server.programs.sleep, "0.2"),
        },
    )
    jobs = await jobs_until(server, workflow, **{"setup-data": "COMPLETED", "process-data": "COMPLETED"})
    first, second = jobs["setup-data"], jobs["process-data"]

    expect(
        seconds(second.startTime) >= seconds(first.endTime) >= seconds(first.startTime) > 0,
        f"setup-data ended at {seconds(first.endTime)}, process-data started at {seconds(second.startTime)}",
    )
    expect(seconds(second.endTime) >= seconds(second.startTime), "a job ends before it starts")


@case(
    "workflow.names",
    "workflow.names",
    "version-2-10.names",
    "workflow-names.derived",
    "workflow-names.name",
    "workflow-names.id",
    "workflow-job.job-name",
    "workflow-job.job-id",
    "workflow-job.started",
    "workflow-job.dependencies",
    "job.name",
    profile=Profile.WORKFLOW,
    covers=(
        "GetWorkflowStatus=OK",
        *fields("WorkflowJob", "jobId", "jobName", "dependencies"),
        "Job.name",
        "GetJobStatusRes.name",
    ),
)
async def jobs_are_called_as_in_the_file(server: Subject) -> None:
    """Each job has its key in the YAML as its name, its dependencies by name, and a UUID that GetJobStatus knows."""
    workflow = await run(
        server,
        {
            "fetch": job(server.programs.echo, "one"),
            "lint": job(server.programs.echo, "two"),
            "build": job(server.programs.echo, "three", requires={"fetch": "COMPLETED", "lint": "COMPLETED"}),
        },
    )
    jobs = await jobs_until(server, workflow, build="COMPLETED")
    listed = await server.listed()

    same("the names", sorted(jobs), ["build", "fetch", "lint"])
    same("the dependencies of build", sorted(jobs["build"].dependencies), ["fetch", "lint"])
    same("the dependencies of fetch", list(jobs["fetch"].dependencies), [])
    for name, each in jobs.items():
        is_uuid("the jobId", each.jobId)
        same("the name in ListJobs", listed[each.jobId].name, name)
        same("the name in GetJobStatus", (await server.status(each.jobId)).name, name)
    same("the log of build", await server.log(jobs["build"].jobId), b"three\n")


@case(
    "workflow.told-of-jobs",
    "job.everywhere",
    "workflow-job.dependencies",
    profile=Profile.WORKFLOW,
    level=Level.MAY,
    covers=fields("GetJobStatusRes", "dependencies", "workflowUuid"),
)
async def a_job_knows_its_workflow(server: Subject) -> None:
    """GetJobStatus of a workflow's job names the workflow, and what the job depends on."""
    first, last = job(server.programs.echo, "1"), job(server.programs.echo, "2", requires={"first": "COMPLETED"})
    workflow = await run(server, {"first": first, "last": last})
    jobs = await jobs_until(server, workflow, last="COMPLETED")
    found = await server.status(jobs["last"].jobId)

    same("workflowUuid and dependencies", (found.workflowUuid, list(found.dependencies)), (workflow, ["first"]))


@case(
    "workflow.not-started",
    "workflow-job.not-started",
    "workflow-job.job-id",
    "workflow.monitoring",
    profile=Profile.WORKFLOW,
    covers=("GetWorkflowStatus=OK", "WorkflowJob.jobId", "WorkflowJob.status"),
)
async def a_job_that_has_not_started_has_the_id_0(server: Subject) -> None:
    """While a job waits for one that runs, its jobId is "0", it has no start, and it is not RUNNING."""
    workflow = await run(
        server,
        {
            "first": job(server.programs.sleep, "3600"),
            "second": job(server.programs.echo, "never", requires={"first": "COMPLETED"}),
        },
    )
    jobs = await jobs_until(server, workflow, first="RUNNING")
    waiting = jobs["second"]

    same("the jobId", waiting.jobId, NOT_STARTED)
    same("startTime", seconds(waiting.startTime), 0)
    expect(waiting.status not in ("RUNNING", *ENDED), f"the status is {waiting.status!r}")
    await server.stop(jobs["first"].jobId)


@case(
    "workflow.at-the-same-time",
    "workflow.dependencies",
    profile=Profile.WORKFLOW,
    covers=("GetWorkflowStatus=OK",),
)
async def jobs_without_dependencies_run_at_the_same_time(server: Subject) -> None:
    """Two jobs that require nothing of each other are RUNNING together."""
    workflow = await run(server, {name: job(server.programs.sleep, "3600") for name in ("left", "right")})
    jobs = await jobs_until(server, workflow, left="RUNNING", right="RUNNING")

    for each in jobs.values():
        await server.stop(each.jobId)


@case(
    "workflow.jobs",
    "job-service.get-workflow-jobs",
    "workflow-status.jobs",
    profile=Profile.WORKFLOW,
    covers=("GetWorkflowJobs=OK", "GetWorkflowJobsRequest.workflowUuid", "GetWorkflowJobsResponse.jobs"),
)
async def the_jobs_are_those_of_the_status(server: Subject) -> None:
    """GetWorkflowJobs and GetWorkflowStatus name the same jobs, to an admin and to a viewer."""
    workflow = await run(server, {"only": job(server.programs.echo, "one")})
    await jobs_until(server, workflow, only="COMPLETED")
    request = pb.GetWorkflowJobsRequest(workflowUuid=workflow)
    for role in ("admin", "viewer"):
        answer = await server.answer("GetWorkflowJobs", request, pb.GetWorkflowJobsResponse, role=role)

        same("the jobs", list(answer.jobs), list((await status(server, workflow, role=role)).jobs))


def _unknown(name: str, request: type[Any]) -> None:
    @case(
        f"workflow.unknown-{re.sub('(?<!^)(?=[A-Z])', '-', name).lower()}",
        "code.not-found",
        profile=Profile.WORKFLOW,
        covers=(f"{name}=NOT_FOUND",),
    )
    async def refused(server: Subject) -> None:
        """A UUID that no workflow has is NOT_FOUND."""
        for unknown in (str(uuid.uuid4()), "no-uuid"):
            await server.refused(name, request(workflowUuid=unknown), StatusCode.NOT_FOUND)


_unknown("GetWorkflowStatus", pb.GetWorkflowStatusRequest)
_unknown("GetWorkflowJobs", pb.GetWorkflowJobsRequest)


@case("workflow.unknown-words", "code.not-found", "error.not-found", profile=Profile.WORKFLOW, level=Level.SHOULD)
async def which_workflow_is_unknown_is_told(server: Subject) -> None:
    """The refusal of a workflow that is not found has its id in the message, as that of a job has."""
    unknown = str(uuid.uuid4())
    words = re.compile(rf".*{unknown}.*", re.DOTALL)
    await server.refused(
        "GetWorkflowStatus", pb.GetWorkflowStatusRequest(workflowUuid=unknown), StatusCode.NOT_FOUND, words
    )


@case(
    "workflow.secrets",
    "job.secret-environment",
    "job.environment",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=("GetWorkflowStatus=OK", "WorkflowInfo.yamlContent", "Job.secret_environment", "Job.environment"),
)
async def secrets_of_a_workflow_are_masked_everywhere(server: Subject) -> None:
    """A secret of a workflow's job reaches the job, and is in no answer of any call."""
    secret = f"secret-{uuid.uuid4()}"
    only = job(server.programs.sh, "-c", 'echo "$PLAIN $SECRET"')
    only |= {"environment": {"PLAIN": "plain"}, "secret_environment": {"SECRET": secret}}
    workflow = await run(server, {"only": only})
    found = (await jobs_until(server, workflow, only="COMPLETED"))["only"]
    everything = pb.ListWorkflowsRequest(includeCompleted=True)

    same("what the job prints", await server.log(found.jobId), f"plain {secret}\n".encode())
    for role in ("admin", "viewer"):
        listed = (await server.listed(role=role))[found.jobId]
        same(f"environment in ListJobs, as {role}", dict(listed.environment), {"PLAIN": "plain"})
        for answer in (
            listed,
            await status(server, workflow, role=role),
            await server.status(found.jobId, role=role),
            await server.answer("ListWorkflows", everything, pb.ListWorkflowsResponse, role=role),
        ):
            shown = answer.DESCRIPTOR.name
            expect(secret not in str(answer), f"the value of a secret variable is shown to {role} in {shown}")
