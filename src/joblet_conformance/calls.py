"""
Every call of every service, as the generated code describes them.

Runs in: the terminal of whoever tests a server. May not: connect.
Source: proto/joblet.proto; API specification, "Service Definition" and "Service Architecture".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from joblet.wire import joblet_pb2

# Calls that our own server adds; the specification does not know them.
ADDITIONS: Final = frozenset({"JobService.StopWorkflow"})


@dataclass(frozen=True, slots=True)
class Call:
    """
    One call.

    Args:
        id: `JobService.RunJob`.
        streams: Its answer is a stream.
    """

    id: str
    name: str
    request: type[Message]
    answer: type[Message]
    streams: bool


CALLS: Final[Mapping[str, Call]] = {
    f"{service.name}.{method.name}": Call(
        f"{service.name}.{method.name}",
        method.name,
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
        method.server_streaming,
    )
    for service in joblet_pb2.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


def call(name: str) -> Call:
    """
    The call of this name, with or without its service; JobletService's where two services have it.

    Raises:
        KeyError: There is none.
    """
    if name in CALLS:
        return CALLS[name]
    for found in CALLS.values():
        if found.name == name:
            return found
    raise KeyError(name)
