"""
A server with one fault: what mutants are made of.

    class StopsWithZero(Broken, caught_by="stop-job.answer"):
        \"""A stopped job has the exit code 0.\"""

        def answer(self, call: str, answer: Any) -> Any:
            if call == "StopJob":
                answer.exitCode = 0
            return answer

It is our own server on the fake engine, over real TLS, with one more interceptor around everything else.

Runs in: tests.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import grpc
from certificates import Authority, Credentials
from google.protobuf.message import Message
from grpc import StatusCode, aio
from grpc_reflection.v1alpha import reflection

from joblet.api.calls import Calls
from joblet.api.health import SERVICE as HEALTH_SERVICE
from joblet.api.health import Health
from joblet.api.runtimes import RuntimeServicer
from joblet.api.server import JOBLET_SERVICES, JobServicer, WireOptions
from joblet.serverlog import Level, ServerLog
from joblet.testing.clock import SystemClock
from joblet.testing.joblet import FakeJoblet
from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

if TYPE_CHECKING:
    Interceptor = aio.ServerInterceptor[Any, Any]
else:  # generic in the stubs only
    Interceptor = aio.ServerInterceptor

Peer = Mapping[str, Iterable[bytes]]
Go = Callable[[Any], Awaitable[Any]]
Write = Callable[[bytes], Awaitable[None]]


class Refusal(Exception):
    """A call that the server refuses."""

    def __init__(self, code: StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Broken:
    """
    A healthy server, of which a subclass breaks one thing.

    Attributes:
        caught_by: The case that is meant for it.
        wire: The limits of its messages.
        named: The services that its reflection names.
        is_healthy: What it says of itself.
        joblet: What is behind it, while it serves.
        admin: A certificate of an admin, for those that let in whom they should not.
    """

    caught_by: ClassVar[str] = ""
    wire: ClassVar[WireOptions] = WireOptions()
    named: ClassVar[Sequence[str]] = JOBLET_SERVICES
    is_healthy: ClassVar[bool] = True
    joblet: FakeJoblet
    admin: Credentials

    def __init_subclass__(cls, *, caught_by: str) -> None:
        cls.caught_by = caught_by
        if caught_by:  # else it is what several mutants have in common
            MUTANTS.append(cls)

    def credentials(self, authority: Authority, server: Credentials) -> grpc.ServerCredentials:
        """How it speaks TLS."""
        pair = (server.key, server.certificate)
        return grpc.ssl_server_credentials([pair], authority.certificate, require_client_auth=True)

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        """Whom it takes the caller for."""
        return peer

    def read(self, call: str, parse: Callable[[bytes], Any], data: bytes) -> Any:
        """The request that these bytes are."""
        return parse(data)

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        """Serve a call; `go` is the healthy way."""
        return self.answer(call, await go(self.request(call, request)))

    def request(self, call: str, request: Any) -> Any:
        """What it takes the request for."""
        return request

    def answer(self, call: str, answer: Any) -> Any:
        """What it makes of an answer."""
        return answer

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        """What it makes of a refusal."""
        return refusal

    async def log(self, request: pb.GetJobLogsReq, go: Callable[[Any, Write], Awaitable[None]], write: Write) -> None:
        """Serve a log; `go` is the healthy way."""
        await go(request, write)

    @contextlib.asynccontextmanager
    async def serving(self, authority: Authority) -> AsyncIterator[int]:
        """Serve until the block ends; gives the port on localhost."""
        log = ServerLog(Level.ERROR, lambda line: None)
        self.admin = authority.issue("somebody", ["admin"])
        joblet = self.joblet = FakeJoblet(clock=SystemClock(), engine_wait_s=0.2)
        server = aio.server(interceptors=[_Outermost(self), Calls(log)], options=self.wire.as_grpc())
        servicer = JobServicer(joblet.jobs, joblet.logs, joblet.workflows, self.wire, log)
        joblet_pb2_grpc.add_JobServiceServicer_to_server(servicer, server)
        joblet_pb2_grpc.add_JobletServiceServicer_to_server(
            cast("joblet_pb2_grpc.JobletServiceServicer", servicer), server
        )
        joblet_pb2_grpc.add_RuntimeServiceServicer_to_server(RuntimeServicer(), server)
        reflection.enable_server_reflection([*self.named, HEALTH_SERVICE], server)
        health = Health(JOBLET_SERVICES)
        if self.is_healthy:
            joblet.jobs.listen(health)
        credentials = self.credentials(authority, authority.issue("server", for_server=True))
        async with joblet:
            port = server.add_secure_port("127.0.0.1:0", credentials)
            await health.start(server)
            await server.start()
            try:
                yield port
            finally:
                await health.shut_down()
                await server.stop(0.2)


MUTANTS: Final[list[type[Broken]]] = []


class _Context:
    """gRPC's context, with another caller, and refusals that can still be changed."""

    def __init__(self, context: Any, peer: Peer, write: Write | None = None) -> None:
        self._context = context
        self._peer = peer
        self._write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def auth_context(self) -> Peer:
        return self._peer

    async def abort(self, code: StatusCode, details: str = "") -> None:
        raise Refusal(code, details)

    async def write(self, message: bytes | Message) -> None:
        if self._write is None or not isinstance(message, bytes):
            await self._context.write(message)
        else:
            await self._write(pb.DataChunk.FromString(message).payload)


class _Outermost(Interceptor):
    """Around everything that the server does with a call."""

    def __init__(self, broken: Broken) -> None:
        self._broken = broken

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        path = handler_call_details.method
        if handler is None or not path.startswith("/joblet."):
            return handler
        call = path.rpartition("/")[2]
        serializers = {
            "request_deserializer": lambda data: self._broken.read(call, handler.request_deserializer, data),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._unary(path, handler.unary_unary), **serializers)
        return grpc.unary_stream_rpc_method_handler(self._log(path, handler.unary_stream), **serializers)

    def _unary(self, path: str, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        call = path.rpartition("/")[2]

        async def serve(request: Any, context: Any) -> Any:
            # Nothing of it may be used once this has returned: gRPC has freed the call by then.
            changed = _Context(context, self._broken.peer(call, path, context.auth_context()))
            try:
                return await self._broken.unary(call, request, lambda request: behaviour(request, changed))
            except Refusal as refused:
                refusal = self._broken.refusal(call, request, refused)
                return await context.abort(refusal.code, refusal.words)

        return serve

    def _log(self, path: str, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
        call = path.rpartition("/")[2]

        async def serve(request: Any, context: Any) -> None:
            peer = self._broken.peer(call, path, context.auth_context())

            async def write(payload: bytes) -> None:
                await context.write(pb.DataChunk(payload=payload))

            async def go(request: Any, write: Write) -> None:
                await behaviour(request, _Context(context, peer, write))

            try:
                await self._broken.log(request, go, write)
            except Refusal as refused:
                refusal = self._broken.refusal(call, request, refused)
                await context.abort(refusal.code, refusal.words)

        return serve
