"""
A real engine on a state folder of its own (real supervisor, real zygote, real jobs), or a whole server.

Runs in: pytest, as root. May not: leave a process or a mount behind, whatever a test does to them.

`--cgroups required` is for a service of systemd's with Delegate=yes: there jobs without limits are failures.
"""

import asyncio
import contextlib
import os
import select
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from real_server import RealServer, real_server

from joblet.domain.job import Ended, Job, JobId, JobSpec, Running
from joblet.domain.limits import MIB, Limits
from joblet.engine.protocol import Down, Hello, encode
from joblet.engine.supervised import SupervisedEngine, SupervisorOptions
from joblet.ports import Attached, Detached, JobEnded, LogGrew, Notice
from joblet.statefolder import StateFolder

DEADLINE_S: Final = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """See `cgroups_mode`."""
    parser.addoption(
        "--cgroups",
        choices=("required", "auto", "off"),
        default="auto",
        help="isolation.cgroups of the engines and servers under test (default: auto)",
    )
    parser.addoption(
        "--one-supervisor",
        action="store_true",
        help="one for all checks of the engine's contract, else one for each: emulated, its start takes 3 s",
    )


@pytest.fixture(scope="session")
def cgroups_mode(pytestconfig: pytest.Config) -> str:
    """How engines and servers under test treat limits: a developer's machine need not have cgroups to give."""
    # Without a path below tests/native this conftest comes too late for its option.
    mode: str = pytestconfig.getoption("cgroups", default="auto")
    return mode


@pytest.fixture
def server(tmp_path: Path, cgroups_mode: str) -> Iterator[RealServer]:
    """A server that listens, with every other setting at its default."""
    with real_server(tmp_path, {"isolation": {"cgroups": cgroups_mode}}) as server:
        yield server


def end_of(pid: int, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], deadline_s)[0], f"process {pid} did not end in {deadline_s} s"
    finally:
        os.close(pidfd)


class RealEngine:
    """
    A server's engine and what it has told so far.

    A dropped engine (`drop`) leaves its jobs running, as a killed server does; `attach` makes the next server.
    """

    def __init__(self, folder: StateFolder, options: SupervisorOptions) -> None:
        self.folder = folder
        self.options = options
        self.ends: dict[JobId, Ended] = {}
        self.notices: list[Notice] = []
        self.attached: list[Attached] = []
        self._changed = asyncio.Condition()
        self._engine: SupervisedEngine | None = None
        self._task: asyncio.Task[None] | None = None
        self._supervisors: set[int] = set()

    @property
    def engine(self) -> SupervisedEngine:
        """The engine in use."""
        assert self._engine is not None
        return self._engine

    async def attach(self) -> Attached:
        """Start a server's engine; returns what it found running."""
        seen = len(self.attached)
        self._engine = SupervisedEngine(self.folder, self.options)
        self._task = asyncio.create_task(self._follow(self._engine))
        await self.until(lambda: len(self.attached) > seen)
        return self.attached[-1]

    async def _follow(self, engine: SupervisedEngine) -> None:
        async for event in engine.events():
            match event:
                case Attached():
                    self.attached.append(event)
                    self._supervisors.add(self.supervisor_pid)
                case JobEnded(job_id=job_id, ended=ended):
                    self.ends[job_id] = ended
                case Notice():
                    self.notices.append(event)
                case LogGrew() | Detached():
                    pass
            async with self._changed:
                self._changed.notify_all()

    async def until(self, holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Wait for an event after which this holds."""
        async with asyncio.timeout(deadline_s), self._changed:
            await self._changed.wait_for(holds)

    async def drop(self) -> None:
        """Let go of the engine without a word, as a killed server does."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.engine.close()

    async def start(
        self, *argv: str, timeout_s: float = 60.0, job_id: str = "", **spec: object
    ) -> tuple[JobId, Running]:
        """Start a job with ample limits."""
        limits = Limits(100, "", 512 * MIB, 0)
        job = Job(
            JobId(job_id or str(uuid.uuid4())),
            JobSpec(argv[0], argv[1:], limits, timeout_s, **spec),  # type: ignore[arg-type]
            time.time_ns(),
        )
        return job.id, await self.engine.start(job)

    async def end(self, job_id: JobId) -> Ended:
        """Wait for a job's end."""
        await self.until(lambda: job_id in self.ends)
        return self.ends[job_id]

    async def run(self, *argv: str, **spec: object) -> tuple[Ended, bytes]:
        """Start a job and wait for its end and its log."""
        job_id, _ = await self.start(*argv, **spec)  # type: ignore[arg-type]
        return await self.end(job_id), self.log(job_id)

    def log(self, job_id: JobId) -> bytes:
        """What is in a job's log file."""
        path = self.folder.log(job_id)
        return path.read_bytes() if path.exists() else b""

    @property
    def supervisor_pid(self) -> int:
        """Of the supervisor that holds the lock."""
        return int(self.folder.supervisor_lock.read_text())

    def kill_supervisor(self) -> None:
        """SIGKILL, and wait until it is gone."""
        pid = self.supervisor_pid
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], DEADLINE_S)
        os.close(pidfd)

    async def down(self) -> None:
        """Stop everything, as `joblet down` does."""
        if self._engine is None:
            return
        await self.drop()
        await self.attach()
        pid = self.supervisor_pid
        _, writer = await asyncio.open_unix_connection(str(self.folder.socket))
        writer.write(encode(Hello()) + encode(Down()))
        await writer.drain()
        await asyncio.to_thread(end_of, pid)
        writer.close()
        # The engine would start the next one: let go of it first, then look once more.
        await self.drop()


Scenario = Callable[[RealEngine], Awaitable[None]]


@pytest.fixture
def on_real_engine(tmp_path: Path, cgroups_mode: str) -> Callable[[Scenario], None]:
    """Runs a scenario on a fresh engine, and leaves nothing behind."""

    async def run(scenario: Scenario) -> None:
        folder = StateFolder(tmp_path / "state")
        folder.create()
        async with _engine(folder) as real:
            await real.attach()
            await scenario(real)

    @contextlib.asynccontextmanager
    async def _engine(folder: StateFolder) -> AsyncIterator[RealEngine]:
        real = RealEngine(folder, SupervisorOptions(cgroups=cgroups_mode))
        try:
            yield real
        finally:
            await real.down()

    return lambda scenario: asyncio.run(run(scenario))
