"""
`joblet serve` as an administrator runs it: real certificates, a port on loopback, its supervisor, real jobs.

    with real_server(tmp_path, {"joblet": {"maxConcurrentJobs": 2000}}) as server:
        async with server.client() as client:
            job = await client.run_job("echo", ["hello"])

It may be killed and started again; whatever a test does to it, nothing of it is left at the end.

Runs in: tests, as root.
"""

import asyncio
import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from joblet.admin import certs, serve
from joblet.admin.down import down
from joblet.client import AsyncJobletClient, Credentials
from joblet.servicemanager import READY
from joblet.statefolder import StateFolder

DEADLINE_S: Final = 60.0

Settings = Mapping[str, Mapping[str, object]]


class RealServer:
    """
    One state folder's server. `start`, `kill` and the like block; in a coroutine they go through `asyncio.to_thread`.

    Args:
        folder: Empty; for everything.
        settings: The configuration file, by section and key.
        environ: Added to the server's environment.
        wrapper: A command that becomes the server, such as `setpriv --bounding-set -sys_admin`.
    """

    def __init__(
        self, folder: Path, settings: Settings, environ: Mapping[str, str], wrapper: Sequence[str] = ()
    ) -> None:
        self.state = StateFolder(folder / "state")
        self.certificates = folder / "certs"
        self.log = folder / "server.log"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.address = f"127.0.0.1:{_a_lasting_port()}"
        self._config = folder / "joblet-config.yml"
        self._config.write_text(_yaml(settings))
        self._environ = environ
        self._wrapper = wrapper
        self._process: subprocess.Popen[bytes] | None = None
        certs.init(self.certificates, [], "tests", 1, force=False)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [*self._wrapper, *serve.command(self.state.root, self.certificates, self.address, self._config)]
        with self.log.open("ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            name = f"joblet-{os.getpid()}-{self.address}"
            manager.bind(f"\0{name}")
            environ = {**os.environ, "TMPDIR": str(self.temporary), **self._environ, "NOTIFY_SOCKET": f"@{name}"}
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            pidfd = os.pidfd_open(self._process.pid)
            try:
                ready, _, _ = select.select([manager.fileno(), pidfd], [], [], DEADLINE_S)
            finally:
                os.close(pidfd)
            assert manager.fileno() in ready, f"it did not start:\n{self.log.read_text()}"
            assert manager.recv(100).decode() == READY

    @property
    def pid(self) -> int:
        """Of the server process."""
        assert self._process is not None
        return self._process.pid

    @property
    def supervisor_pid(self) -> int:
        """Of the supervisor that holds the lock."""
        return int(self.state.supervisor_lock.read_text())

    def kill(self) -> None:
        """SIGKILL to the server, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM to the server; its exit status."""
        return self._end(signal.SIGTERM)

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor, and wait until it is gone."""
        pidfd = os.pidfd_open(self.supervisor_pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            assert select.select([pidfd], [], [], DEADLINE_S)[0]
        finally:
            os.close(pidfd)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        pidfd = os.pidfd_open(self._process.pid)
        try:
            signal.pidfd_send_signal(pidfd, number)
            assert select.select([pidfd], [], [], DEADLINE_S)[0], f"it does not end:\n{self.log.read_text()}"
        finally:
            os.close(pidfd)
        return self._process.wait()

    def down(self) -> list[str]:
        """As `joblet down` does."""
        ended = down(self.state)
        if self._process is not None:
            self._process.wait()
        return ended

    # Its users

    def client(self) -> AsyncJobletClient:
        """An administrator's connection."""
        return AsyncJobletClient(self.address, Credentials.from_environment(self.client_environ))

    @property
    def client_environ(self) -> Mapping[str, str]:
        """With which `rnx` reaches it."""
        return {
            "JOBLET_SERVER": self.address,
            "JOBLET_CERT_PATH": str(self.certificates / "client-cert.pem"),
            "JOBLET_KEY_PATH": str(self.certificates / "client-key.pem"),
            "JOBLET_CA_PATH": str(self.certificates / "ca-cert.pem"),
        }

    @contextlib.asynccontextmanager
    async def rnx(self, *arguments: str) -> AsyncIterator["Rnx"]:
        """A started `rnx`; killed at the end if it has not ended."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "joblet.rnx.main",
            *arguments,
            env={**os.environ, **self.client_environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        rnx = Rnx(process)
        try:
            yield rnx
        finally:
            if process.returncode is None:
                process.kill()
            await rnx.ended()


class Follower:
    """
    Reads a job's output as it comes, and remembers it.

    Args:
        chunks: Where it comes from.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.data = bytearray()
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read(chunks))

    async def received(self, size_bytes: int) -> None:
        """Wait until it has so much."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.data) >= size_bytes or self._reading.done())
        assert len(self.data) >= size_bytes, f"the log ended at byte {len(self.data)}"

    async def everything(self) -> bytes:
        """All of it, once it has ended."""
        await self._reading
        return bytes(self.data)

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in chunks:
                async with self._news:
                    self.data += chunk
                    self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()


class Rnx:
    """A running `rnx`; what it prints can be followed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdout is not None
        assert process.stderr is not None
        self.out = Follower(_chunks(process.stdout))
        self.err = Follower(_chunks(process.stderr))

    async def ended(self) -> int:
        """Its exit status, once it has ended and all it printed has arrived."""
        await asyncio.gather(self.out.everything(), self.err.everything())
        return await self._process.wait()


async def _chunks(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while chunk := await stream.read(65536):
        yield chunk


@contextlib.contextmanager
def real_server(
    folder: Path,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    wrapper: Sequence[str] = (),
) -> Iterator[RealServer]:
    """A server that listens; ended with everything that belongs to it."""
    server = RealServer(folder, settings or {}, environ or {}, wrapper)
    try:
        server.start()
        yield server
    finally:
        server.down()


async def log_of(client: AsyncJobletClient, job_id: str) -> bytes:
    """A job's whole log, once it has ended."""
    return b"".join([chunk async for chunk in client.get_job_logs(job_id)])


def _yaml(settings: Settings) -> str:
    lines: list[str] = []
    for section, keys in settings.items():
        lines += [f"{section}:", *(f"  {key}: {value}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _a_lasting_port() -> int:
    """
    A free port that the kernel gives to nobody by itself.

    A server that is started again wants the port it had; from the ephemeral range a client that tries to connect in
    between may be given that very port as its own.
    """
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates: Sequence[int] = random.SystemRandom().sample(range(1024, first_ephemeral), 100)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no free port")
