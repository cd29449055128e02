"""
The workflow calls of JobService.

Runs in: server loop.
Source: API specification, "Workflow API".
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from grpc import aio

from joblet.api import convert
from joblet.api.listing import in_pieces, newest_that_fit
from joblet.domain.errors import InvalidRequest, NotAvailable
from joblet.domain.workflow.workflow import WorkflowJob
from joblet.serverlog import ServerLog
from joblet.services.workflows import Workflows
from joblet.wire import joblet_pb2 as pb

_LONGEST_NAME: Final = 255  # as of a file


class WorkflowCalls:
    """
    The part of JobService that is about workflows.

    Args:
        max_send_bytes: Of the largest message that gRPC sends for us.
    """

    def __init__(self, workflows: Workflows, log: ServerLog, *, max_send_bytes: int) -> None:
        self._workflows = workflows
        self._log = log
        self._max_send_bytes = max_send_bytes

    async def RunWorkflow(
        self,
        request: pb.RunWorkflowRequest,
        context: aio.ServicerContext[pb.RunWorkflowRequest, pb.RunWorkflowResponse],
    ) -> pb.RunWorkflowResponse:
        """Check a workflow and begin with it."""
        if request.workflowFiles:
            raise NotAvailable("uploading files with a workflow")
        if request.workflow and not (request.workflow.strip() and request.workflow.isprintable()):
            raise InvalidRequest("workflow is a name of printable characters, not only blanks; or empty")
        if len(request.workflow) > _LONGEST_NAME:
            raise InvalidRequest(f"workflow is a name of at most {_LONGEST_NAME} characters")
        workflow = await self._workflows.run(
            request.workflow,
            request.yamlContent,
            total_jobs=request.totalJobs,
            job_names=tuple(request.jobOrder),
        )
        return pb.RunWorkflowResponse(workflowUuid=workflow.id, status=workflow.state)

    async def GetWorkflowStatus(
        self,
        request: pb.GetWorkflowStatusRequest,
        context: aio.ServicerContext[pb.GetWorkflowStatusRequest, pb.GetWorkflowStatusResponse],
    ) -> pb.GetWorkflowStatusResponse:
        """How far a workflow has come, and each of its jobs."""
        workflow = self._workflows.get(request.workflowUuid)
        return pb.GetWorkflowStatusResponse(
            workflow=convert.workflow_info(workflow, with_yaml=True),
            jobs=await _jobs(self._workflows.jobs(workflow.id)),
        )

    async def ListWorkflows(
        self,
        request: pb.ListWorkflowsRequest,
        context: aio.ServicerContext[pb.ListWorkflowsRequest, pb.ListWorkflowsResponse],
    ) -> pb.ListWorkflowsResponse:
        """Workflows, oldest first; when they are more than one message may hold, the newest."""
        pieces = (
            [convert.workflow_info(workflow, with_yaml=False) for workflow in piece]
            for piece in self._workflows.newest_first(ended=request.includeCompleted)
        )
        answer, left_out = await newest_that_fit(
            pieces, lambda entries: pb.ListWorkflowsResponse(workflows=entries), self._max_send_bytes
        )
        if left_out:
            self._log.warn("list cut: the oldest workflows do not fit", maxSendMsgSize=self._max_send_bytes)
        return answer

    async def GetWorkflowJobs(
        self,
        request: pb.GetWorkflowJobsRequest,
        context: aio.ServicerContext[pb.GetWorkflowJobsRequest, pb.GetWorkflowJobsResponse],
    ) -> pb.GetWorkflowJobsResponse:
        """Each job of a workflow."""
        return pb.GetWorkflowJobsResponse(jobs=await _jobs(self._workflows.jobs(request.workflowUuid)))

    async def StopWorkflow(
        self,
        request: pb.StopWorkflowRequest,
        context: aio.ServicerContext[pb.StopWorkflowRequest, pb.StopWorkflowResponse],
    ) -> pb.StopWorkflowResponse:
        """Stop a workflow; answers once nothing of it runs."""
        workflow = await self._workflows.stop(request.workflowUuid)
        return pb.StopWorkflowResponse(workflow=convert.workflow_info(workflow, with_yaml=False))


async def _jobs(jobs: Sequence[WorkflowJob]) -> Sequence[pb.WorkflowJob]:
    converted: list[pb.WorkflowJob] = []
    for piece in in_pieces(jobs):
        converted += map(convert.workflow_job, piece)
        await asyncio.sleep(0)
    return converted
