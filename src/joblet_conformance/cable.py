"""
A connection to the server that can be cut from outside, as when the client's machine goes away.

Runs in: the terminal of whoever tests a server. May not: look at what passes through.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_PIECE_BYTES: Final = 65_536


class Cable:
    """
    What lies between.

    Attributes:
        address: HOST:PORT that a client connects to instead of the server.
    """

    def __init__(self, address: str, ends: list[asyncio.StreamWriter]) -> None:
        self.address = address
        self._ends = ends

    def cut(self) -> None:
        """Reset every connection, at both ends; nobody says goodbye."""
        for end in self._ends:
            end.transport.abort()


@contextlib.asynccontextmanager
async def cable(address: str) -> AsyncIterator[Cable]:
    """A cable to the server at this address (HOST:PORT)."""
    host, _, port = address.rpartition(":")
    ends: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        try:
            there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError:
            writer.transport.abort()
            return
        ends.append(back)
        await asyncio.gather(_carry(reader, back), _carry(there, writer))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as listening:
        line = Cable(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", ends)
        try:
            yield line
        finally:
            line.cut()


async def _carry(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_PIECE_BYTES):
            to.write(data)
            await to.drain()
    to.transport.abort()
