"""
What is told of a workflow as a whole: its progress, its end, and where it is listed.

The specification names WorkflowInfo, but not its fields, so nothing that stands in it is a must.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Workflow API"; joblet.proto.
"""

import asyncio

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case, fields
from joblet_conformance.cases.workflows import is_recent, jobs_until, run, seconds, status
from joblet_conformance.evidence import Failed, expect, one_of, same
from joblet_conformance.subject import POLL_S, Subject
from joblet_conformance.workflowfile import job, request_of


@case(
    "workflow.info",
    "workflow-status.workflow",
    "workflow.monitoring",
    "job-service.list-workflows",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=(
        "ListWorkflows=OK",
        "ListWorkflowsRequest.includeCompleted",
        "ListWorkflowsResponse.workflows",
        "GetWorkflowStatusResponse.workflow",
        "RunWorkflowRequest.workflow",
        *fields("WorkflowInfo", "uuid", "workflow", "status", "totalJobs", "completedJobs"),
        *fields("WorkflowInfo", "failedJobs", "createdAt", "startedAt", "completedAt"),
    ),
)
async def a_workflow_is_listed_with_its_progress(server: Subject) -> None:
    """A workflow is found and listed under its UUID, with how many of its jobs there are, have completed and failed."""
    jobs = {"good": job(server.programs.echo, "good"), "bad": job(server.programs.sh, "-c", "exit 1")}
    workflow = await run(server, jobs, "progress.yaml")
    await jobs_until(server, workflow, good="COMPLETED", bad="FAILED")
    info = await _ended(server, workflow)
    everything = pb.ListWorkflowsRequest(includeCompleted=True)
    for role in ("admin", "viewer"):
        answer = await server.answer("ListWorkflows", everything, pb.ListWorkflowsResponse, role=role)
        listed = {each.uuid: each.status for each in answer.workflows}
        same(f"the status in the {role}'s list", listed.get(workflow), info.status)

    same("the name", info.workflow, "progress.yaml")
    same("totalJobs, completedJobs, failedJobs", (info.totalJobs, info.completedJobs, info.failedJobs), (2, 1, 1))
    same("the status of a workflow one of whose jobs failed", info.status, "FAILED")
    is_recent("completedAt", info.completedAt)
    expect(
        0 < seconds(info.createdAt) <= seconds(info.startedAt) <= seconds(info.completedAt),
        "createdAt, startedAt and completedAt are not in this order",
    )


async def _ended(server: Subject, workflow: str) -> pb.WorkflowInfo:
    """What is said of a workflow once it has ended, which may be a moment after its last job."""
    try:
        async with asyncio.timeout(server.patience_s):
            while not (info := (await status(server, workflow)).workflow).completedAt.seconds:
                await asyncio.sleep(POLL_S)  # the event is over there
            return info
    except TimeoutError:
        raise Failed(f"{server.patience_s:g} s after its last job the workflow has no completedAt") from None


@case(
    "workflow.list",
    "job-service.list-workflows",
    profile=Profile.WORKFLOW,
    covers=("ListWorkflows=OK",),
)
async def workflows_can_be_listed(server: Subject) -> None:
    """ListWorkflows is served to an admin and to a viewer."""
    for role in ("admin", "viewer"):
        await server.answer("ListWorkflows", pb.ListWorkflowsRequest(), pb.ListWorkflowsResponse, role=role)


@case(
    "workflow.begins",
    "job-service.run-workflow",
    profile=Profile.WORKFLOW,
    level=Level.MAY,
    covers=("RunWorkflow=OK", "RunWorkflowResponse.status"),
)
async def a_new_workflow_is_under_way(server: Subject) -> None:
    """The status in RunWorkflow's answer is PENDING or RUNNING."""
    request = request_of({"only": job(server.programs.sleep, "3600")}, "begins.yaml")
    started = await server.answer("RunWorkflow", request, pb.RunWorkflowResponse)

    one_of("the status", started.status, ("PENDING", "RUNNING"))


@case(
    "workflow.list-leaves-out",
    "job-service.list-workflows",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=("ListWorkflows=OK", "ListWorkflowsRequest.includeCompleted"),
)
async def what_has_ended_is_listed_on_request_only(server: Subject) -> None:
    """Without includeCompleted a list has the workflows that are under way, and no others."""
    over = await run(server, {"only": job(server.programs.echo, "one")})
    going = await run(server, {"only": job(server.programs.sleep, "3600")})
    await _ended(server, over)
    answer = await server.answer("ListWorkflows", pb.ListWorkflowsRequest(), pb.ListWorkflowsResponse)
    listed = {each.uuid for each in answer.workflows}

    same(
        "whether the one under way and the one that has ended are listed",
        (going in listed, over in listed),
        (True, False),
    )


@case(
    "workflow.prefix",
    "proto.workflow-id",
    profile=Profile.WORKFLOW,
    level=Level.MAY,
    covers=("GetWorkflowStatus=OK", "GetWorkflowStatusRequest.workflowUuid"),
)
async def the_beginning_of_a_workflows_uuid_is_enough(server: Subject) -> None:
    """The beginning of a UUID that no other workflow's has is as good as the whole."""
    workflow = await run(server, {"only": job(server.programs.echo, "one")})

    same("the uuid", (await status(server, workflow[:13])).workflow.uuid, workflow)
