"""
Logs on disks that are full, stopped or failing, and under kill -9: no byte of a job is lost or repeated.

Runs in: pytest, as root.
"""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from disks import freezable_disk, small_disk
from gate import Gate
from real_server import DEADLINE_S, Follower, RealServer, Settings, log_of, real_server

from joblet.client import AsyncJobletClient
from joblet.engine.log_metrics import log_metrics
from joblet.testing.output import numbered, told

pytestmark = pytest.mark.native

MIB: Final = 1024 * 1024
MOST: Final = 64 * MIB
OUTPUT: Final = numbered(0, MOST)

# Writes as much of the numbered output as it is told, says so, and ends when it is told 0.
PRINTER: Final = r"""
import os, sys
gate = os.fdopen(3, "r+b", buffering=0)
at = 0
while (size := int(gate.readline())):
    first, end = at // 16, at + size
    text = b"".join(b"%015d\n" % n for n in range(first, -(-end // 16)))[at - first * 16 : end - first * 16]
    view = memoryview(text)
    while view:
        view = view[os.write(1, view) :]
    at = end
    gate.write(b"written\n")
"""


class Printer:
    """A job that prints what it is told."""

    def __init__(self, client: AsyncJobletClient, gate: Gate, name: str) -> None:
        self._client = client
        self._gate = gate
        self._name = name
        self.job_id = ""
        self.printed = 0

    async def start(self) -> None:
        """Returns once it can be told."""
        job = await self._client.run_job(*self._gate.knocking(self._name, "/usr/bin/python3", "-c", PRINTER))
        self.job_id = job.id
        self._visitor = await self._gate.visitor(self._name)

    def print(self, size_bytes: int) -> None:
        """Print so much more."""
        self._visitor.tell(str(size_bytes))
        self.printed += size_bytes

    async def has_printed(self) -> None:
        """It has written all it was told, wherever that is now."""
        assert await self._visitor.says() == "written"

    async def end(self) -> bytes:
        """Let it end; its log, which is what GetJobStatus says it is."""
        self._visitor.tell("0")
        status = await self._client.wait(self.job_id)
        log = await log_of(self._client, self.job_id)
        assert (status.status, status.log_bytes) == ("COMPLETED", len(log))
        return log


async def test_a_full_disk_holds_no_job_up_and_loses_nothing(tmp_path: Path, cgroups_mode: str) -> None:
    """The job has written eight times what the disk takes before there is room again; then its log is whole."""
    with (
        small_disk(tmp_path / "state" / "logs", "8m") as resize,
        real_server(tmp_path, {"isolation": {"cgroups": cgroups_mode}}) as server,
    ):
        async with Gate() as gate, server.client() as client:
            printer = Printer(client, gate, "a")
            await printer.start()
            printer.print(MOST)
            await printer.has_printed()

            resize("256m")
            log = await printer.end()

        assert log == OUTPUT
        said = server.log.read_text()
        assert said.count("the disk refuses it") == 1, "warned of once, and not at each try"
        assert "No space left on device" in said
        assert "the disk takes logs again" in said
        metrics = log_metrics(server.state)
        assert metrics is not None
        assert metrics["writeErrors"] >= 1
        assert metrics["memoryHeldBytes"] == 0


@pytest.mark.parametrize(("stopped", "fsync"), [("file system", "never"), ("device", "always")])
async def test_a_stopped_disk_holds_no_job_and_no_call_up(
    stopped: str, fsync: str, tmp_path: Path, cgroups_mode: str
) -> None:
    """Stopped below the logs' file system, or below the device that this is on."""
    with contextlib.ExitStack() as disks:
        below = disks.enter_context(freezable_disk(tmp_path / "below", tmp_path / "below.img", 512 * MIB))
        image = tmp_path / "below" / "logs.img"
        above = disks.enter_context(freezable_disk(tmp_path / "state" / "logs", image, 256 * MIB))
        disk = above if stopped == "file system" else below
        settings = {"isolation": {"cgroups": cgroups_mode}, "logs": {"fsync": fsync}}
        server = disks.enter_context(real_server(tmp_path, settings))
        disks.callback(disk.thaw)
        async with Gate() as gate, server.client() as client:
            printers = [Printer(client, gate, name) for name in ("a", "b")]
            await printers[0].start()
            disk.freeze()
            printers[0].print(MOST)
            await printers[0].has_printed()
            await printers[1].start()
            printers[1].print(MIB)
            await printers[1].has_printed()
            assert {job.id for job in await client.list_jobs()} == {printer.job_id for printer in printers}
            metrics = log_metrics(server.state)
            assert metrics is not None
            assert metrics["memoryHeldBytes"] >= MOST // 2

            disk.thaw()
            assert await printers[0].end() == OUTPUT
            assert await printers[1].end() == OUTPUT[:MIB]


@contextlib.contextmanager
def failing_supervisor(state: Path) -> Iterator[None]:
    """One whose writes fail, before there is any other."""
    import joblet

    state.mkdir()
    program = Path(__file__).parent / "serving" / "failing_supervisor.py"
    source = Path(joblet.__path__[0]).parent
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    command = [sys.executable, "-I", "-S", str(program), str(source), "--state", str(state), "--stay"]
    process = subprocess.Popen([*command, "--ready-fd", str(ready_write)], pass_fds=(ready_write,))
    os.close(ready_write)
    with os.fdopen(ready_read, "rb") as ready:
        assert ready.read() == b"ready"
    try:
        yield
    finally:
        process.wait(DEADLINE_S)


async def test_io_errors_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Two writes of three fail with EIO, and the third is short."""
    with failing_supervisor(tmp_path / "state"), real_server(tmp_path) as server:
        async with Gate() as gate, server.client() as client:
            printer = Printer(client, gate, "a")
            await printer.start()
            printer.print(8 * MIB)
            await printer.has_printed()

            assert await printer.end() == OUTPUT[: 8 * MIB]

        said = server.log.read_text()
        assert "Input/output error" in said
        metrics = log_metrics(server.state)
        assert metrics is not None
        assert metrics["writeErrors"] >= 10


@pytest.mark.slow
@pytest.mark.parametrize("overflow", ["compress", "spill", "alert", "sample"])
async def test_fifty_kills_in_the_middle_of_overflow_lose_and_repeat_nothing(
    overflow: str, tmp_path: Path, cgroups_mode: str
) -> None:
    """Of the supervisor or the server, at random moments of bursts that are larger than the memory for logs."""
    kills, burst, memory = 50, 12 * MIB, 4 * MIB
    chance = random.Random(overflow)
    output = numbered(0, kills * burst)
    settings: Settings = {
        "isolation": {"cgroups": cgroups_mode},
        "logs": {"memoryLimit": memory, "overflow": overflow, "sampleEvery": 3, "fsync": "always"},
    }
    with real_server(tmp_path, settings) as server:
        async with Gate() as gate, server.client() as client:
            printer = Printer(client, gate, "a")
            await printer.start()
            follower = Follower(client.get_job_logs(printer.job_id))
            moved = 0.0
            for _ in range(kills):
                printer.print(burst)
                await follower.received(len(follower.data) + chance.randrange(MIB))
                moved += _moved_blocks(server)
                if chance.random() < 0.5:
                    server.kill_supervisor()
                else:
                    server.kill()
                    await asyncio.to_thread(server.start)
                await printer.has_printed()
            log = await printer.end()

            assert told(log, output) == printer.printed
            assert await follower.everything() == log
            if overflow != "sample":
                assert log == output
            assert overflow == "alert" or moved > 0, "it was not in the middle of an overflow"
            assert not (server.state.spill / f"{printer.job_id}.spill").exists()


def _moved_blocks(server: RealServer) -> float:
    with contextlib.suppress(OSError):
        metrics = log_metrics(server.state) or {}
        return sum(value for name, value in metrics.items() if name.endswith("Blocks"))
    return 0.0
