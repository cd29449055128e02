"""
`joblet serve` as a process of its own, with everything real but the engine.

    async with a_process(tmp_path, authority) as process:
        process.signal(SIGTERM)
        assert await process.ended() == 0

Run as a program it is that process: `python serving_process.py STATE CERTS LEVEL`.

Runs in: tests.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

HERE = Path(__file__).resolve()
DEADLINE_S = 90.0


class Process:
    """
    A server process.

    Attributes:
        lines: What it has said on standard error so far.
    """

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._changed = asyncio.Event()
        self._closed = False
        self.lines: list[str] = []
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def port(self) -> int:
        """Where it listens; after "server listening"."""
        (line,) = [line for line in self.lines if "] server listening | " in line]
        return int(line.partition("address=127.0.0.1:")[2].split()[0])

    async def saying(self, words: str, times: int = 1) -> list[str]:
        """The lines with these words, once there are so many."""
        async with asyncio.timeout(DEADLINE_S):
            while len(found := [line for line in self.lines if words in line]) < times:
                assert not self._closed, f"it ended without saying {words!r}: {self.lines}"
                self._changed.clear()
                await self._changed.wait()
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send one."""
        self._child.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, once it has one and all of its output is read."""
        async with asyncio.timeout(DEADLINE_S):
            await self._reader
            return await self._child.wait()

    def resident_bytes(self) -> int:
        """RAM it occupies now."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    async def kill(self) -> None:
        """End it if it has not ended."""
        if self._child.returncode is None:
            self._child.kill()
        await self._child.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._child.stderr is not None
        async for line in self._child.stderr:
            self.lines.append(line.decode().rstrip("\n"))
            self._changed.set()
        self._closed = True
        self._changed.set()


@contextlib.asynccontextmanager
async def an_attempt(
    state: Path,
    certs: Path,
    *,
    level: str = "INFO",
    address: str = "127.0.0.1:0",
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """One that may not be able to serve; killed at the end if it is still there."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE),
        str(state),
        str(certs),
        level,
        address,
        stderr=asyncio.subprocess.PIPE,
        env={**{name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}, **(environ or {})},
        limit=1024 * 1024,
    )
    process = Process(child)
    try:
        yield process
    finally:
        await process.kill()


@contextlib.asynccontextmanager
async def a_process(
    state: Path, certs: Path, *, level: str = "INFO", environ: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """One that listens; killed at the end if it is still there."""
    async with an_attempt(state, certs, level=level, environ=environ) as process:
        await process.saying("] server listening | ")
        yield process


def main() -> None:
    """Be the server."""
    import ctypes
    import dataclasses

    # A test that is killed takes its server with it (prctl(2), PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)

    from joblet import config
    from joblet.api.bootstrap import serve
    from joblet.complaint import Complaint
    from joblet.domain.job import JobId
    from joblet.statefolder import StateFolder
    from joblet.testing.engine import FakeEngine
    from joblet.testing.logs import FakeLogStore

    class FileLogs(FakeLogStore):
        """What the fake engine's jobs print, in the files that the server reads."""

        def __init__(self, folder: StateFolder) -> None:
            super().__init__()
            self._folder = folder

        def append(self, job_id: JobId, data: bytes) -> None:
            super().append(job_id, data)
            with self._folder.log(job_id).open("ab") as file:
                file.write(data)

    state, certs, level, address = sys.argv[1:]
    defaults = config.defaults()
    loaded = dataclasses.replace(defaults, logs=dataclasses.replace(defaults.logs, level=level))
    try:
        asyncio.run(
            serve(loaded, address, Path(certs), Path(state), lambda folder, _: FakeEngine(logs=FileLogs(folder)))
        )
    except Complaint as complaint:
        sys.stderr.write(f"{complaint}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
