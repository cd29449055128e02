"""
RuntimeService: declared, and refused in plain words until runtimes exist.

Runs in: server loop.
Source: API specification, "RuntimeService (Administrative Operations)".
"""

from typing import NoReturn

from grpc import aio

from joblet.domain.errors import NotAvailable
from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc


class RuntimeServicer(joblet_pb2_grpc.RuntimeServiceServicer):
    """Every call of RuntimeService."""

    async def InstallRuntime(
        self,
        request: pb.InstallRuntimeRequest,
        context: aio.ServicerContext[pb.InstallRuntimeRequest, pb.InstallRuntimeResponse],
    ) -> pb.InstallRuntimeResponse:
        """Not yet."""
        _refuse()

    async def ListRuntimes(
        self,
        request: pb.ListRuntimesRequest,
        context: aio.ServicerContext[pb.ListRuntimesRequest, pb.ListRuntimesResponse],
    ) -> pb.ListRuntimesResponse:
        """Not yet."""
        _refuse()

    async def GetRuntimeInfo(
        self,
        request: pb.GetRuntimeInfoRequest,
        context: aio.ServicerContext[pb.GetRuntimeInfoRequest, pb.GetRuntimeInfoResponse],
    ) -> pb.GetRuntimeInfoResponse:
        """Not yet."""
        _refuse()

    async def TestRuntime(
        self,
        request: pb.TestRuntimeRequest,
        context: aio.ServicerContext[pb.TestRuntimeRequest, pb.TestRuntimeResponse],
    ) -> pb.TestRuntimeResponse:
        """Not yet."""
        _refuse()


def _refuse() -> NoReturn:
    raise NotAvailable("managing runtimes")
