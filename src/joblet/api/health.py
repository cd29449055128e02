"""
The standard health service: SERVING while jobs can be run, NOT_SERVING without an engine and while shutting down.

Runs in: server loop.
Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from joblet.domain.job import Job, JobId

SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """
    One answer for the server as a whole ("") and for each of its services; a `services.jobs.JobListener`.

    Args:
        services: Full names.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", *services)
        self._servicer = _Servicer(self)
        self._serving = False
        self._changed = asyncio.Event()
        self._changed.set()
        self._teller: asyncio.Task[None] | None = None

    async def start(self, server: aio.Server) -> None:
        """Offer the service; NOT_SERVING until the engine is attached."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        self._teller = asyncio.create_task(self._tell(), name="health")

    async def shut_down(self) -> None:
        """NOT_SERVING for good."""
        self._serving = False
        if self._teller is not None:
            self._teller.cancel()
        await self._servicer.enter_graceful_shutdown()

    def statuses(self) -> dict[str, health_pb2.HealthCheckResponse.ServingStatus]:
        """What each service has to say for itself."""
        return dict.fromkeys(self._services, _SERVING if self._serving else _NOT_SERVING)

    def engine_attached(self) -> None:
        """See `JobListener`."""
        self._serving = True
        self._changed.set()

    def engine_lost(self) -> None:
        """See `JobListener`."""
        self._serving = False
        self._changed.set()

    def job_running(self, job_id: JobId) -> None:
        """Nothing to do."""

    def job_ended(self, job: Job) -> None:
        """Nothing to do."""

    def job_unmade(self, job: Job) -> None:
        """Nothing to do."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """Nothing to do."""

    async def _tell(self) -> None:
        """Setting a status waits for its watchers, which a listener may not: so it happens here."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for service, status in self.statuses().items():
                await self._servicer.set(service, status)


class _Servicer(health.aio.HealthServicer):  # type: ignore[misc,name-defined]  # the stubs know the threaded one only
    """grpcio-health-checking's own, with the call that it leaves out."""

    def __init__(self, health_: Health) -> None:
        super().__init__()
        self._health = health_

    async def List(self, request: health_pb2.HealthListRequest, context: object) -> health_pb2.HealthListResponse:
        """All of them at once."""
        statuses = self._health.statuses()
        return health_pb2.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=status) for name, status in statuses.items()}
        )
