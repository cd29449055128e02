"""
Where jobs knock and wait for a word, so that a test decides when they go on and sees when they have ended.

    async with Gate() as gate:
        job = await client.run_job(*gate.knocking("a", "bash", "-c", "echo one; read -r word <&3; exit 7"))
        visitor = await gate.visitor("a")
        visitor.tell()
        await visitor.left()

Jobs share the machine's network, so a loopback port is in their reach; descriptor 3 is their end of it.

Runs in: tests.
"""

import asyncio
import contextlib
from typing import Final, Self

# Arguments: port, name, then the command that takes this process over with descriptor 3 open.
KNOCK: Final = 'exec 3<>"/dev/tcp/127.0.0.1/$0"; echo "$1" >&3; shift; exec "$@"'


class Visitor:
    """A job that has knocked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def says(self) -> str:
        """The next line that it wrote to descriptor 3."""
        return (await self._reader.readline()).decode().rstrip("\n")

    def tell(self, word: str = "go") -> None:
        """A line for it to read."""
        self._writer.write(f"{word}\n".encode())

    async def left(self) -> None:
        """Wait until no process holds its end any more."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(4096):
                pass

    def close(self) -> None:
        """Turn it away."""
        self._writer.close()


class Gate:
    """An async context manager; a job that still waits when it closes finds its descriptor at the end."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._visitors: dict[str, asyncio.Future[Visitor]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._knocked, "127.0.0.1", 0, backlog=4096)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for visitor in self._visitors.values():
            if visitor.done():
                visitor.result().close()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def knocking(self, name: str, *command: str) -> tuple[str, list[str]]:
        """Command and arguments of a job that knocks under this name, and then becomes `command`."""
        return "bash", ["-c", KNOCK, str(self.port), name, *command]

    async def visitor(self, name: str) -> Visitor:
        """The job that knocked under this name, once it has."""
        return await self._expected(name)

    def _expected(self, name: str) -> "asyncio.Future[Visitor]":
        return self._visitors.setdefault(name, asyncio.get_running_loop().create_future())

    async def _knocked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = (await reader.readline()).decode().rstrip("\n")
        self._expected(name).set_result(Visitor(reader, writer))
