"""
The gRPC server: every service registered, one port, and an orderly end.

Runs in: server loop. May not: know how the services it is given were made (`bootstrap.py` does).
Source: docs/contributors.md, "The wire"; API specification, "Server Configuration".
"""

import socket
from dataclasses import dataclass
from typing import Final, cast

import grpc
from grpc import aio
from grpc_reflection.v1alpha import reflection

from joblet.api.calls import Calls
from joblet.api.health import SERVICE as HEALTH_SERVICE
from joblet.api.health import Health
from joblet.api.jobs import JobCalls
from joblet.api.logs import LogCalls
from joblet.api.runtimes import RuntimeServicer
from joblet.api.workflows import WorkflowCalls
from joblet.complaint import Complaint
from joblet.serverlog import ServerLog
from joblet.services.jobs import Jobs
from joblet.services.logs import STALL_TIMEOUT_S, Logs
from joblet.services.workflows import Workflows
from joblet.wire import joblet_pb2, joblet_pb2_grpc

JOBLET_SERVICES: Final = tuple(service.full_name for service in joblet_pb2.DESCRIPTOR.services_by_name.values())

# A message is the tag and length of its piece of the log (5 bytes for less than 256 MiB), and perhaps an offset (11).
CHUNK_OVERHEAD_BYTES: Final = 16

# How long calls may take to finish once the server is asked to end; a job's set-up takes milliseconds, a stop 200.
GRACE_S: Final = 10.0

# For watchers of our health to be told NOT_SERVING before their streams end, and for calls that have arrived to be
# taken: gRPC cancels those that it has not handed us yet, without a word. At most so long when they keep coming.
TELL_S: Final = 0.05
TAKE_AT_MOST_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class WireOptions:
    """
    How the server talks; the defaults are the configuration's.

    Args:
        keep_alive_s: Silence after which the server asks whether the client is still there.
        stall_timeout_s: How long one piece of a log may wait for its reader.
    """

    max_receive_bytes: int = 524_288
    max_send_bytes: int = 4_194_304
    keep_alive_s: float = 30.0
    stall_timeout_s: float = STALL_TIMEOUT_S

    def as_grpc(self) -> list[tuple[str, int]]:
        """Channel arguments."""
        return [
            ("grpc.max_receive_message_length", self.max_receive_bytes),
            ("grpc.max_send_message_length", self.max_send_bytes),
            ("grpc.keepalive_time_ms", round(self.keep_alive_s * 1000)),
            # Clients ping idle connections too (every 30 s is usual). Without these two a log stream that is silent
            # for 90 s is cut with `too_many_pings`; the similar `min_recv_ping_interval_…` changes nothing.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # A second server on the same port must fail, not take every other connection.
            ("grpc.so_reuseport", 0),
        ]


class JobServicer(JobCalls, LogCalls, WorkflowCalls, joblet_pb2_grpc.JobServiceServicer):
    """JobService; JobletService is the same object under its older name."""

    def __init__(self, jobs: Jobs, logs: Logs, workflows: Workflows, options: WireOptions, log: ServerLog) -> None:
        JobCalls.__init__(self, jobs, log, max_send_bytes=options.max_send_bytes)
        LogCalls.__init__(self, logs, stall_timeout_s=options.stall_timeout_s)
        WorkflowCalls.__init__(self, workflows, log, max_send_bytes=options.max_send_bytes)


class Server:
    """What listens."""

    def __init__(self, jobs: Jobs, logs: Logs, workflows: Workflows, options: WireOptions, log: ServerLog) -> None:
        self._calls = Calls(log)
        self._server = aio.server(interceptors=[self._calls], options=options.as_grpc())
        servicer = JobServicer(jobs, logs, workflows, options, log)
        joblet_pb2_grpc.add_JobServiceServicer_to_server(servicer, self._server)
        joblet_pb2_grpc.add_JobletServiceServicer_to_server(
            cast("joblet_pb2_grpc.JobletServiceServicer", servicer), self._server
        )
        joblet_pb2_grpc.add_RuntimeServiceServicer_to_server(RuntimeServicer(), self._server)
        self.health = Health(JOBLET_SERVICES)
        reflection.enable_server_reflection([*JOBLET_SERVICES, HEALTH_SERVICE, reflection.SERVICE_NAME], self._server)

    async def start(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """
        Listen.

        Returns:
            The port, which the kernel chose when the address says 0.

        Raises:
            Complaint: The address cannot be listened on.
        """
        try:
            port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise _cannot_listen(address) from None
        await self.health.start(self._server)
        await self._server.start()
        return port

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Take no more calls, let unary ones finish, end streams with the words that the server is shutting down."""
        await self.health.shut_down()
        await self._calls.all_taken(TELL_S, TAKE_AT_MOST_S)
        self._calls.end_streams()
        await self._server.stop(grace_s)


def _cannot_listen(address: str) -> Complaint:
    """gRPC does not say why, so ask the kernel once more."""
    host, _, port = address.rpartition(":")
    reason = "the address cannot be used"
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    return Complaint(
        f"cannot listen on {address}: {reason}",
        "end what listens there (ss -ltnp shows it), or pass another --address HOST:PORT",
    )
