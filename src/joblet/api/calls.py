"""
What happens around every call: who asks, may they, how long it took, and how it failed.

    role of the certificate ─► allowed? ─► the servicer ─► one line in the log
         UNAUTHENTICATED    PERMISSION_DENIED     └► an error's code from `status.CODE`

Runs in: server loop. May not: know a use case.
Source: API specification, "Error Handling" and "Monitoring and Observability".
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode, aio

from joblet.api import roles, status
from joblet.api.memory import Trimming
from joblet.domain.errors import InvalidRequest, JobletError, ShuttingDown
from joblet.domain.role import Role
from joblet.serverlog import Level, ServerLog
from joblet.services.lifelines import milliseconds

# A message is of whatever class the method has: only the servicer knows, so this module has to say Any.
if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
    Interceptor = aio.ServerInterceptor[Any, Any]
else:  # generic in the stubs only
    Context, Handler, Interceptor = aio.ServicerContext, grpc.RpcMethodHandler, aio.ServerInterceptor
Behaviour = Callable[[Any, Context], Awaitable[Any]]

# The client reads the status of a stalled stream only once it has read what lies before it; we do not wait for that.
ABORT_PATIENCE_S: Final = 1.0

MAX_PEERS_REMEMBERED: Final = 4096


class Calls(Interceptor):
    """Wraps the handler of every method of every service."""

    def __init__(self, log: ServerLog) -> None:
        self._log = log
        self._arrived = 0
        self._wrapped: dict[str, Handler] = {}
        self._peers: dict[str, None] = {}
        self._streams: set[asyncio.Timeout] = set()
        self._ending = False
        self._trimming = Trimming(log)

    async def all_taken(self, quiet_s: float, at_most_s: float) -> None:
        """
        Wait until no call has come for a while: none is left then of those that had arrived before.

        Args:
            quiet_s: How long a while.
            at_most_s: Some clients never leave one.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                seen = -1
                while seen != self._arrived:
                    seen = self._arrived
                    await asyncio.sleep(quiet_s)

    def end_streams(self) -> None:
        """End every stream, and each new one, with the words that the server is shutting down."""
        self._ending = True
        self._trimming.close()
        now_s = asyncio.get_running_loop().time()
        while self._streams:
            self._streams.pop().reschedule(now_s)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The method's handler inside ours; an unknown method stays gRPC's own UNIMPLEMENTED."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        return self._wrapped.setdefault(method, self._wrap(handler, method))

    def _wrap(self, handler: Handler, method: str) -> Handler:
        serializers = {
            "request_deserializer": _or_no_message(handler.request_deserializer),
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary is not None:
            inside = self._around(method, cast("Behaviour", handler.unary_unary))
            return grpc.unary_unary_rpc_method_handler(inside, **serializers)
        if handler.unary_stream is not None:
            inside = self._around(method, self._streaming(handler.unary_stream))
            serializers["response_serializer"] = _unless_encoded(handler.response_serializer)
            return grpc.unary_stream_rpc_method_handler(inside, **serializers)
        if handler.stream_stream is not None:
            inside = self._around(method, self._streaming(handler.stream_stream))
            return grpc.stream_stream_rpc_method_handler(inside, **serializers)
        raise NotImplementedError(f"{method} streams requests to one answer, which no service here does")

    def _around(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def call(request: Any, context: Context) -> Any:
            self._arrived += 1
            record = _Record(self._log, self._arrived, method, context.peer())
            try:
                self._admit(context, record)
                if request is _NO_MESSAGE:
                    raise InvalidRequest("its bytes are no message of this method")
                answer = await behaviour(request, context)
            except JobletError as error:
                code, words = status.CODE[type(error)], status.details(error)
                record.ended(code, words)
                await _abort(context, code, words)
            except aio.AbortError:
                record.ended(context.code() or StatusCode.UNKNOWN)
                raise
            except (asyncio.CancelledError, aio.InternalError):
                # InternalError: an answer could not be written, because the client went at that very moment.
                record.ended(StatusCode.CANCELLED)
                raise asyncio.CancelledError from None
            except Exception as error:
                record.ended(StatusCode.INTERNAL)
                self._log.failure("call failed", error, request=record.number, method=method)
                await _abort(context, StatusCode.INTERNAL, status.UNFORESEEN)
            else:
                record.ended(StatusCode.OK)
                return answer

        return call

    def _streaming(self, behaviour: Callable[..., Any]) -> Behaviour:
        async def write(request: Any, context: Context) -> None:
            if self._ending:
                raise ShuttingDown
            # A timeout without a time: it comes when the server ends. A task to cancel would cost each stream more.
            stream = asyncio.timeout(None)
            self._streams.add(stream)
            try:
                async with stream:
                    await _write(behaviour, request, context)
            except TimeoutError:
                if not stream.expired():
                    raise
                raise ShuttingDown from None
            finally:
                self._streams.discard(stream)
                if not self._ending:
                    self._trimming.stream_ended()

        return write

    def _admit(self, context: Context, record: "_Record") -> None:
        """Let the caller in, and note it once a connection. Raises Unauthenticated, NotAllowed."""
        caller = context.auth_context()
        record.client = _name(caller)
        record.role = roles.role_of(caller)
        if record.peer not in self._peers:
            if len(self._peers) >= MAX_PEERS_REMEMBERED:
                del self._peers[next(iter(self._peers))]
            self._peers[record.peer] = None
            self._log.info("client authenticated", peer=record.peer, client=record.client, role=record.role)
        roles.check_allowed(record.role, record.method)


def _name(caller: Mapping[str, Iterable[bytes]]) -> str:
    """The certificate's CN."""
    return b" ".join(caller.get("x509_common_name", ())).decode("utf-8", "replace")


async def _write(behaviour: Callable[..., Any], request: Any, context: Context) -> None:
    """Write a stream's answers to the context, whether its behaviour does so itself or yields them."""
    answers = behaviour(request, context)
    if not hasattr(answers, "__aiter__"):
        await answers
        return
    async for answer in answers:
        await context.write(answer)


async def _abort(context: Context, code: StatusCode, details: str) -> None:
    """
    End the call with this status, without waiting for a client that does not read.

    The status is on its way when the wait is given up: gRPC's core keeps it behind the one
    message that the client has not taken, and drops both when the connection goes.
    """
    try:
        async with asyncio.timeout(ABORT_PATIENCE_S):
            await context.abort(code, details)
    except (TimeoutError, aio.InternalError):
        raise asyncio.CancelledError from None


class _Record:
    """One call, as it will stand in the log."""

    __slots__ = ("_log", "_started_ns", "client", "method", "number", "peer", "role")

    def __init__(self, log: ServerLog, number: int, method: str, peer: str) -> None:
        self._log = log
        self._started_ns = time.monotonic_ns()
        self.number = number
        self.method = method
        self.peer = peer
        self.client = ""
        self.role: Role | None = None

    def ended(self, code: StatusCode, why: str = "") -> None:
        """Write the line; how loud depends on the code."""
        level, message = _LINE.get(code, (Level.WARN, "call refused"))
        fields: dict[str, object] = {
            "request": self.number,
            "method": self.method,
            "peer": self.peer,
            "client": self.client,
            "role": self.role or "none",
            "code": code.name,
            "duration": milliseconds(time.monotonic_ns() - self._started_ns),
        }
        if why:
            fields["reason"] = why
        self._log.record(level, message, fields)


# Authentication failures are ERROR and limits violated WARN by the specification; the rest follows from that.
_LINE: Final = {
    StatusCode.OK: (Level.DEBUG, "call served"),
    StatusCode.CANCELLED: (Level.INFO, "call cancelled"),
    StatusCode.NOT_FOUND: (Level.INFO, "call refused"),
    StatusCode.INVALID_ARGUMENT: (Level.INFO, "call refused"),
    StatusCode.OUT_OF_RANGE: (Level.INFO, "call refused"),
    StatusCode.UNIMPLEMENTED: (Level.INFO, "call refused"),
    StatusCode.RESOURCE_EXHAUSTED: (Level.WARN, "call refused"),
    StatusCode.UNAVAILABLE: (Level.WARN, "call refused"),
    StatusCode.UNAUTHENTICATED: (Level.ERROR, "authentication failed"),
    StatusCode.PERMISSION_DENIED: (Level.WARN, "call not allowed"),
    StatusCode.INTERNAL: (Level.ERROR, "call failed"),
    StatusCode.DATA_LOSS: (Level.ERROR, "call failed"),
}


_NO_MESSAGE: Final = object()


def _or_no_message(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """gRPC would answer bytes that are no message with UNKNOWN, and log a traceback."""
    assert deserialize is not None

    def message_of(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _NO_MESSAGE

    return message_of


def _unless_encoded(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
    """A stream may hand over bytes that are a message already (`convert.encoded_chunk`)."""
    assert serialize is not None  # generated code always names one
    return lambda message: message if isinstance(message, bytes) else serialize(message)
