"""
A Joblet server that speaks another dialect: other package, services, calls and numbers, in front of ours.

Its proto is ours with everything renamed. What it is sent is turned into our messages by the names of their fields,
so that nothing here relies on what the suite does with bytes.

Runs in: tests.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from certificates import Authority
from cryptography import x509
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from served import Served

from joblet.api.server import WireOptions
from joblet.wire import joblet_pb2

PACKAGE: Final = "acme.jobs"
SERVICES: Final = {"JobletService": "Tasks", "JobService": "Work"}
CALLS: Final = {"RunJob": "Start", "GetJobStatus": "Show", "StopJob": "Halt", "ListJobs": "All", "GetJobLogs": "Output"}


def number(ours: int) -> int:
    """A field's number over there."""
    return 1000 - ours


def dialect() -> str:
    """The dialect's file."""
    lines = ['about = "a server of another house"', f'package = "{PACKAGE}"', "[services]"]
    lines += [f'{ours} = "{theirs}"' for ours, theirs in SERVICES.items()]
    lines += ["[calls]", *(f'{ours} = "{theirs}"' for ours, theirs in CALLS.items())]
    for name, message in joblet_pb2.DESCRIPTOR.message_types_by_name.items():
        lines += [f"[fields.{name}]", *(f"{field.name} = {number(field.number)}" for field in message.fields)]
    return "\n".join(lines)


def _proto() -> FileDescriptorProto:
    proto = FileDescriptorProto()
    joblet_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.name, proto.package = "acme.proto", PACKAGE
    for message in proto.message_type:
        del message.reserved_range[:]
        for field in message.field:
            field.number = number(field.number)
            if field.type_name:
                field.type_name = field.type_name.replace(".joblet.", f".{PACKAGE}.")
    del proto.service[:]  # their names are nothing that protobuf needs
    return proto


_POOL: Final = DescriptorPool()
_POOL.Add(_proto())


def _theirs(name: str) -> type[Message]:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def _turned(message: Message, into: type[Message]) -> Message:
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return json_format.ParseDict(fields, into())


def _unit(context: Any) -> str:
    (pem,) = context.auth_context()["x509_pem_cert"]
    units = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value)


@contextlib.asynccontextmanager
async def translating(served: Served, authority: Authority) -> AsyncIterator[int]:
    """Stand in front of our server until the block ends; gives the port on localhost."""
    server = authority.issue("server", for_server=True)
    translator = aio.server(options=WireOptions().as_grpc())
    async with contextlib.AsyncExitStack() as stack:
        channels = {
            unit: await stack.enter_async_context(served.channel(authority.issue(unit, [unit])))
            for unit in ("admin", "viewer")
        }
        for service in SERVICES:
            methods = joblet_pb2.DESCRIPTOR.services_by_name[service].methods
            handlers = {CALLS[method.name]: _handler(method, channels) for method in methods if method.name in CALLS}
            name = f"{PACKAGE}.{SERVICES[service]}"
            translator.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        pair = (server.key, server.certificate)
        credentials = grpc.ssl_server_credentials([pair], authority.certificate, require_client_auth=True)
        port = translator.add_secure_port("127.0.0.1:0", credentials)
        await translator.start()
        try:
            yield port
        finally:
            await translator.stop(0.2)


def _handler(method: Any, channels: dict[str, aio.Channel]) -> Any:
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    their_request, their_answer = _theirs(method.input_type.name), _theirs(method.output_type.name)
    path = f"/{method.containing_service.full_name}/{method.name}"

    async def unary(message: Message, context: Any) -> Any:
        way: Any = channels[_unit(context)].unary_unary(path, request.SerializeToString, answer.FromString)
        try:
            return _turned(await way(_turned(message, request)), their_answer)
        except aio.AioRpcError as error:
            return await context.abort(error.code(), error.details() or "")

    async def stream(message: Message, context: Any) -> Any:
        way: Any = channels[_unit(context)].unary_stream(path, request.SerializeToString, answer.FromString)
        try:
            async for piece in way(_turned(message, request)):
                yield _turned(piece, their_answer)
        except aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")

    kinds: dict[str, Any] = {
        "request_deserializer": their_request.FromString,
        "response_serializer": their_answer.SerializeToString,
    }
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, **kinds)
    return grpc.unary_unary_rpc_method_handler(unary, **kinds)
