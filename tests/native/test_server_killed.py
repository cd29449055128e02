"""
`kill -9` of the server, of the supervisor, or of both: what users are told is exact, and who watched saw it all.

Runs in: pytest, as root.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from disks import small_disk
from gate import Gate, Visitor
from leftovers import below, zombies
from real_server import Follower, RealServer, log_of, real_server

from joblet.client import AsyncJobletClient

pytestmark = pytest.mark.native

PADDING: Final = "." * 200
PIECE_BYTES: Final = 1000
WATCHED_BYTES: Final = 4000  # what a follower has seen before and sees after the kill, at least

# Both print a piece every 2 ms until they get a word through the gate; then they say how many they printed. One byte of
# the word is enough: bash throws away what it has read of a line when the time is over.
LINES: Final = f"""
i=0
until read -r -N 1 -t 0.002 word <&3 || [ $? -le 128 ]; do echo "$0 line $i {PADDING}"; i=$((i+1)); done
echo $i >&3
exit $1
"""
BINARY: Final = f"""
import os, random, select, sys
source, count = random.Random(sys.argv[1]), 0
while not select.select([3], [], [], 0.002)[0]:
    os.write(1, source.randbytes({PIECE_BYTES}))
    count += 1
os.write(3, b"%d\\n" % count)
sys.exit(int(sys.argv[2]))
"""


@dataclass(slots=True, eq=False)
class Printer:
    """
    A job that prints until it is told to end.

    Args:
        binary: Random bytes instead of lines.
        pieces: How many it printed; known when it has ended.
    """

    name: str
    binary: bool
    exit_code: int
    pieces: int = -1

    def command(self, gate: Gate) -> tuple[str, list[str]]:
        """Command and arguments."""
        if self.binary:
            return gate.knocking(self.name, "/usr/bin/python3", "-c", BINARY, self.name, str(self.exit_code))
        return gate.knocking(self.name, "bash", "-c", LINES, self.name, str(self.exit_code))

    async def ends(self, gate: Gate) -> None:
        """Tell it to end, and wait until its process is gone."""
        visitor: Visitor = await gate.visitor(self.name)
        visitor.tell()
        self.pieces = int(await visitor.says())
        await visitor.left()

    @property
    def printed(self) -> bytes:
        """Its whole output."""
        assert self.pieces >= 0
        if self.binary:
            source = random.Random(self.name)
            return b"".join(source.randbytes(PIECE_BYTES) for _ in range(self.pieces))
        return b"".join(f"{self.name} line {number} {PADDING}\n".encode() for number in range(self.pieces))


async def run(client: AsyncJobletClient, gate: Gate, printer: Printer) -> None:
    """Start it through the client; returns once it prints."""
    command, arguments = printer.command(gate)
    await client.run_job(command, arguments, name=printer.name)
    await gate.visitor(printer.name)


async def end_all(gate: Gate, printers: Sequence[Printer]) -> None:
    """Tell them all to end, and wait until they have."""
    await asyncio.gather(*(printer.ends(gate) for printer in printers))


@pytest.mark.parametrize("killed", ["server", "supervisor", "both"])
async def test_twenty_printing_jobs_survive_a_kill(server: RealServer, killed: str) -> None:
    """Some have ended before it, some end while it is being mended, and some after that."""
    printers = [Printer(f"job{n}", binary=n % 2 == 1, exit_code=n % 7) for n in range(20)]
    before, meanwhile, after = printers[:4], printers[4:10], printers[10:]
    async with Gate() as gate, server.client() as client, contextlib.AsyncExitStack() as processes:
        *typed, followed = printers
        command, arguments = followed.command(gate)
        run_follow = await processes.enter_async_context(
            server.rnx("run", "--follow", "--name", followed.name, command, *arguments)
        )
        await asyncio.gather(*(run(client, gate, printer) for printer in typed))
        await run_follow.out.received(1)
        by_name = {job.name: job for job in await client.list_jobs()}
        jobs = {printer: by_name[printer.name] for printer in printers}
        rnx_log = {
            printer: await processes.enter_async_context(server.rnx("log", jobs[printer].id))
            for printer in (meanwhile[0], after[0], after[1])
        }
        watching = {
            printer: Follower(client.get_job_logs(jobs[printer].id))
            for printer in (meanwhile[1], meanwhile[2], after[2], after[3])
        }
        followers = [run_follow.out, *(rnx.out for rnx in rnx_log.values()), *watching.values()]
        await end_all(gate, before)
        for follower in followers:
            await follower.received(WATCHED_BYTES)

        if killed in ("server", "both"):
            server.kill()
        if killed in ("supervisor", "both"):
            server.kill_supervisor()
        await end_all(gate, meanwhile)
        if killed in ("server", "both"):
            await asyncio.to_thread(server.start)

        for printer in after:
            if printer in watching:
                await watching[printer].received(len(watching[printer].data) + WATCHED_BYTES)
        await rnx_log[after[0]].out.received(len(rnx_log[after[0]].out.data) + WATCHED_BYTES)
        await run_follow.out.received(len(run_follow.out.data) + WATCHED_BYTES)
        await end_all(gate, after)
        for printer in printers:
            status = await client.wait(jobs[printer].id)
            assert (status.status, status.exit_code) == (
                "FAILED" if printer.exit_code else "COMPLETED",
                printer.exit_code,
            ), printer.name
            assert status.log_bytes == len(printer.printed)
            assert await log_of(client, status.id) == printer.printed, printer.name
        for printer, follower in watching.items():
            assert await follower.everything() == printer.printed, printer.name
        for printer, rnx in rnx_log.items():
            assert await rnx.ended() == 0, await rnx.err.everything()
            assert await rnx.out.everything() == printer.printed, printer.name
        assert await run_follow.ended() == followed.exit_code
        assert await run_follow.out.everything() == followed.printed
        assert zombies(below(server.pid)) == []


async def test_a_server_can_be_started_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """It has something to tell, and jobs to look after."""
    with small_disk(tmp_path / "state", "24m"), real_server(tmp_path) as server:
        async with server.client() as client:
            job = await client.run_job("sh", ["-c", "echo here; exec sleep 600"])
            await asyncio.to_thread(server.kill)
            filled = tmp_path / "state" / "filled"
            with contextlib.suppress(OSError), filled.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

            await asyncio.to_thread(server.start)

            assert (await client.get_job_status(job.id)).status == "RUNNING"
            filled.unlink()
            assert (await client.stop_job(job.id)).status == "STOPPED"
