"""
A log that is read piece by piece.

Runs in: the terminal of whoever tests a server. May not: know a case.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import grpc
from grpc import StatusCode, aio

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.evidence import MOST_CHARACTERS, Exchange, Failed, clipped, expect
from joblet_conformance.together import is_cancelled

MOST_BYTES: Final = 64 * 2**20  # of one log; the largest of the suite has 21 MB
TOO_LONG: Final = f"the log has more than {MOST_BYTES // 2**20} MiB: no job of this suite prints so much"


class Reader:
    """A log stream that is under way."""

    def __init__(
        self,
        stream: Any,
        exchange: Exchange,
        parse: Callable[[bytes], pb.DataChunk],
        patience_s: float,
        since: Callable[[], str],
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._parse = parse
        self._patience_s = patience_s
        self._since = since
        self.data = bytearray()
        self.over = False

    async def begun(self) -> None:
        """
        Wait until the server has taken the call, without reading a byte of its answer.

        Raises:
            Failed: It has not.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._stream.initial_metadata()
        except TimeoutError:
            raise Failed(f"the server has not begun to answer GetJobLogs after {self._patience_s:g} s") from None

    async def piece(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._stream.read()
        except TimeoutError:
            raise Failed(
                f"{self._since()}the log stream neither goes on nor ends for {self._patience_s:g} s;"
                f" it has given {shown(self.data)}"
            ) from None
        except aio.AioRpcError as error:
            self._exchange.ended(error.code().name, error.details() or "")
            raise Failed(f"the log stream ends with {error.code().name} {error.details()!r}, expected OK") from None
        if not isinstance(found, bytes):  # grpc.aio.EOF
            self.over = True
            self._exchange.ended("OK", shown(self.data))
            return b""
        payload = self._parse(found).payload
        self.data += payload
        expect(len(self.data) <= MOST_BYTES, TOO_LONG)
        return payload

    async def until(self, text: bytes) -> None:
        """Read until this was printed."""
        while text not in self.data:
            await self.piece()
            if self.over and text not in self.data:
                raise Failed(f"the log ends without {text!r}; it is {shown(self.data)}")

    async def rest(self) -> bytes:
        """Read to the end; everything from the beginning."""
        while not self.over:
            await self.piece()
        return bytes(self.data)

    async def cancelled(self) -> StatusCode:
        """Cancel, and the status that this end of the wire sees. What cancels the case itself goes on to it."""
        self._stream.cancel()
        try:
            await self._stream.read()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
        except grpc.RpcError:
            pass
        code = cast("StatusCode", await self._stream.code())
        self._exchange.ended(code.name, "")
        return code

    async def close(self) -> None:
        """Cancel if it is still under way."""
        if not self._stream.done():
            self._stream.cancel()
        if not self._exchange.code:
            self._exchange.ended("CANCELLED", shown(self.data))


def shown(data: bytes | bytearray) -> str:
    """Bytes as a report has them; of many, the first, and how many there are."""
    if len(data) <= MOST_CHARACTERS:
        return clipped(repr(bytes(data)))
    return f"{clipped(repr(bytes(data[:MOST_CHARACTERS])))} and so on, {len(data)} bytes"
