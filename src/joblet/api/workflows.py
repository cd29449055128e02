"""
The workflow calls of JobService: declared, and refused in plain words until workflows exist.

Runs in: server loop.
Source: API specification, "Workflow API".
"""

from typing import NoReturn

from grpc import aio

from joblet.domain.errors import NotAvailable
from joblet.wire import joblet_pb2 as pb


class WorkflowCalls:
    """The part of JobService that is about workflows."""

    async def RunWorkflow(
        self,
        request: pb.RunWorkflowRequest,
        context: aio.ServicerContext[pb.RunWorkflowRequest, pb.RunWorkflowResponse],
    ) -> pb.RunWorkflowResponse:
        """Not yet."""
        _refuse()

    async def GetWorkflowStatus(
        self,
        request: pb.GetWorkflowStatusRequest,
        context: aio.ServicerContext[pb.GetWorkflowStatusRequest, pb.GetWorkflowStatusResponse],
    ) -> pb.GetWorkflowStatusResponse:
        """Not yet."""
        _refuse()

    async def ListWorkflows(
        self,
        request: pb.ListWorkflowsRequest,
        context: aio.ServicerContext[pb.ListWorkflowsRequest, pb.ListWorkflowsResponse],
    ) -> pb.ListWorkflowsResponse:
        """Not yet."""
        _refuse()

    async def GetWorkflowJobs(
        self,
        request: pb.GetWorkflowJobsRequest,
        context: aio.ServicerContext[pb.GetWorkflowJobsRequest, pb.GetWorkflowJobsResponse],
    ) -> pb.GetWorkflowJobsResponse:
        """Not yet."""
        _refuse()


def _refuse() -> NoReturn:
    raise NotAvailable("running workflows")
