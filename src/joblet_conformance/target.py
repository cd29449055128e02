"""
The server under test: where it is, who we are to it, and the connections to it.

Runs in: the terminal of whoever tests a server. May not: know a case.
"""

import asyncio
import contextlib
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from joblet_conformance.calls import Call
from joblet_conformance.certificates import Identity
from joblet_conformance.dialect import Dialect
from joblet_conformance.evidence import Skipped

# For what takes a moment, on a machine that has much else to do: a call, a job to end, the next piece of a log.
PATIENCE_S: Final = 30.0

# gRPC shares one connection among equal channels; a case that asks for one of its own means it.
_OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 * 1024 * 1024))

# What a client has not asked for stays with the server; gRPC would else take in a megabyte, and more as it learns.
_TAKES_LITTLE: Final = (("grpc.http2.lookahead_bytes", 65_536), ("grpc.http2.bdp_probe", 0))


class ProgramsUnusable(Exception):
    """The file that names programs says what cannot be."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What these four are called where the server's jobs run."""

    sh: str = "sh"
    echo: str = "echo"
    sleep: str = "sleep"
    cat: str = "cat"


def read_programs(path: Path) -> Programs:
    """
    The programs in a TOML file such as `sh = "/opt/bin/sh"`.

    Raises:
        ProgramsUnusable: It cannot be read, or names another program.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProgramsUnusable(f"cannot use {path}: {error}") from None
    known = [each.name for each in fields(Programs)]
    for name, value in found.items():
        if name not in known or not isinstance(value, str):
            raise ProgramsUnusable(f"cannot use {path}: {name} (it may hold texts for {', '.join(known)})")
    return Programs(**found)


@dataclass(slots=True)
class Target:
    """
    The server.

    Args:
        address: HOST:PORT.
        ca: Certificate of the CA that signed the server's, PEM.
        identities: The clients we can be.
        server_name: The name in the server's certificate, where that is not HOST; empty for HOST.
        patience_s: How long to wait for what should take a moment.
    """

    address: str
    ca: bytes
    identities: Mapping[str, Identity]
    dialect: Dialect = field(default_factory=lambda: Dialect("joblet"))
    programs: Programs = field(default_factory=Programs)
    server_name: str = ""
    patience_s: float = PATIENCE_S
    _channels: dict[str, aio.Channel] = field(default_factory=dict, init=False, repr=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()

    def identity(self, role: str) -> Identity:
        """
        The client of this kind.

        Raises:
            Skipped: We have none; with how to give one.
        """
        found = self.identities.get(role)
        if found is None:
            raise Skipped(f"needs the client {role!r}: give --{role}-cert and --{role}-key, or --ca-key")
        return found

    def channel(self, role: str) -> aio.Channel:
        """The connection that all cases share for this kind of client. Raises what `identity` does."""
        if role not in self._channels:
            self._channels[role] = self._open(role)
        return self._channels[role]

    @contextlib.asynccontextmanager
    async def fresh(self, role: str, through: str = "") -> AsyncIterator[aio.Channel]:
        """
        A connection of its own, on which little is under way that nobody reads. Raises what `identity` does.

        Args:
            through: HOST:PORT of what passes all on to the server, when that is not connected to directly.
        """
        channel = self._open(role, _TAKES_LITTLE, through)
        try:
            yield channel
        finally:
            await channel.close(None)

    def _open(self, role: str, further: Sequence[tuple[str, int]] = (), through: str = "") -> aio.Channel:
        identity = self.identity(role)
        shown = (identity.key, identity.certificate) if identity.certificate else ()
        options: list[tuple[str, Any]] = [*_OPTIONS, *further]
        if name := self.server_name or (through and self.address.rpartition(":")[0].strip("[]")):
            options.append(("grpc.ssl_target_name_override", name))
        credentials = grpc.ssl_channel_credentials(self.ca, *shown)
        return aio.secure_channel(through or self.address, credentials, options=options)

    def path(self, call: Call) -> str:
        """Where the server has this call."""
        return self.dialect.path(call)


async def services(target: Target) -> frozenset[str] | None:
    """Full names of the services that the server offers; None when it has no reflection."""
    stub = reflection_pb2_grpc.ServerReflectionStub(target.channel("admin"))
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    try:
        async with asyncio.timeout(target.patience_s):
            answer = await anext(aiter(stub.ServerReflectionInfo(iter([question]))))
    except (aio.AioRpcError, StopAsyncIteration, TimeoutError):
        return None
    return frozenset(service.name for service in answer.list_services_response.service)
