"""
A real gRPC server over real TLS in this process, on a fake engine in real time.

    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        job = await admin.RunJob(pb.RunJobReq(command="echo", args=["hello"]))

Runs in: tests.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from certificates import Authority, Credentials, Key, write_server_certificates
from grpc import aio

from joblet.api import tls
from joblet.api.server import Server, WireOptions
from joblet.serverlog import Level, ServerLog
from joblet.services.request import JobDefaults
from joblet.testing.clock import SystemClock
from joblet.testing.engine import FakeEngine
from joblet.testing.faults import Faults
from joblet.testing.joblet import FakeJoblet
from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

if TYPE_CHECKING:
    Admin = joblet_pb2_grpc.JobServiceAsyncStub


class Lines(list[str]):
    """The lines of a server's log, which can be waited for. They come from gRPC's threads too."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def write(self, line: str) -> None:
        """Take one line."""
        self.append(line)
        self._loop.call_soon_threadsafe(self._changed.set)

    async def saying(self, words: str, times: int = 1) -> list[str]:
        """The lines with these words, once there are so many; fails when they do not come."""
        async with asyncio.timeout(20):
            while len(found := [line for line in self if words in line]) < times:
                self._changed.clear()
                await self._changed.wait()
        return found


@dataclass
class Served:
    """
    A server that listens.

    Args:
        log: The lines of its log.
    """

    authority: Authority
    joblet: FakeJoblet
    server: Server
    port: int
    certs: Path
    log: Lines

    @property
    def engine(self) -> FakeEngine:
        """The fake machine."""
        return self.joblet.engine

    def channel(self, credentials: Credentials | None, options: list[tuple[str, int]] | None = None) -> aio.Channel:
        """A connection of its own (gRPC would share one among equal channels)."""
        return aio.secure_channel(
            f"localhost:{self.port}",
            channel_credentials(self.authority, credentials),
            options=[("grpc.use_local_subchannel_pool", 1), *(options or [])],
        )

    def blocking_channel(self, credentials: Credentials | None) -> grpc.Channel:
        """The same for a thread."""
        return grpc.secure_channel(
            f"localhost:{self.port}",
            channel_credentials(self.authority, credentials),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )

    @contextlib.asynccontextmanager
    async def client(
        self, credentials: Credentials, options: list[tuple[str, int]] | None = None
    ) -> "AsyncIterator[Admin]":
        """JobService's calls, typed."""
        async with self.channel(credentials, options) as channel:
            yield cast("Admin", joblet_pb2_grpc.JobServiceStub(channel))


def channel_credentials(authority: Authority, credentials: Credentials | None) -> grpc.ChannelCredentials:
    """What a client shows; None for no certificate."""
    if credentials is None:
        return grpc.ssl_channel_credentials(authority.certificate)
    return grpc.ssl_channel_credentials(authority.certificate, credentials.key, credentials.certificate)


@contextlib.asynccontextmanager
async def a_server(
    authority: Authority,
    *,
    options: WireOptions | None = None,
    faults: Faults | None = None,
    defaults: JobDefaults | None = None,
    chunk_bytes: int = 1024 * 1024,
    key: Key | None = None,
) -> AsyncIterator[Served]:
    """Serve until the block ends."""
    lines = Lines()
    log = ServerLog(Level.DEBUG, lines.write)
    joblet = FakeJoblet(
        clock=SystemClock(), faults=faults, defaults=defaults, chunk_bytes=chunk_bytes, engine_wait_s=0.2
    )
    server = Server(joblet.jobs, joblet.logs, joblet.workflows, options or WireOptions(), log)
    joblet.jobs.listen(server.health)
    with tempfile.TemporaryDirectory() as folder:
        certs = Path(folder)
        write_server_certificates(certs, authority, authority.issue("server", for_server=True, key=key))
        async with joblet:
            port = await server.start("127.0.0.1:0", tls.server_credentials(certs, tls.read(certs), log))
            try:
                yield Served(authority, joblet, server, port, certs, lines)
            finally:
                await server.stop(grace_s=0.2)


async def refusal(
    call: "aio.UnaryUnaryCall[Any, Any] | aio.UnaryStreamCall[Any, Any]",
) -> tuple[grpc.StatusCode, str]:
    """The code and the message that a call ends with."""
    code, details = await call.code(), await call.details()
    return code, details


async def read_all(call: "aio.UnaryStreamCall[pb.GetJobLogsReq, pb.DataChunk]") -> bytes:
    """A whole log."""
    return b"".join([chunk.payload async for chunk in call])
