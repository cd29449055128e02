"""
The standard health service: SERVING while jobs can be run, NOT_SERVING without an engine and while shutting down.

Runs in: server loop.
Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from collections.abc import Sequence
from typing import Final

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """
    One answer for the server as a whole ("") and for each of its services.

    Args:
        services: Full names.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs know the threaded one

    def register(self, server: aio.Server) -> None:
        """Offer the service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set_serving(self, *, serving: bool) -> None:
        """Answer so from now on; watchers are told."""
        for service in self._services:
            await self._servicer.set(service, _SERVING if serving else _NOT_SERVING)

    async def shut_down(self) -> None:
        """NOT_SERVING for good."""
        await self._servicer.enter_graceful_shutdown()
