"""
Logs that are cut, compressed and removed below a server that runs: readers get the bytes that are there, by their
offsets, and are told of the others.

Runs in: pytest, as root.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from real_server import RealServer, real_server

from joblet.client import AsyncJobletClient, LogPruned
from joblet.domain.job import JobId
from joblet.logs.files import LogFiles

pytestmark = pytest.mark.native

LINES: Final = 100_000
PRINTED: Final = b"".join(b"line %08d\n" % number for number in range(LINES))  # 1.4 MB
PRINT: Final = f"for number in range({LINES}): print(f'line {{number:08}}')"


async def pruned(server: RealServer) -> str:
    """Wait until the server log says what was pruned."""
    tail = await asyncio.create_subprocess_exec(
        "tail", "--lines=+1", "--follow", str(server.log), stdout=asyncio.subprocess.PIPE
    )
    assert tail.stdout is not None
    try:
        while line := await tail.stdout.readline():
            if b"logs pruned" in line:
                return line.decode()
    finally:
        tail.kill()
        await tail.wait()
    raise AssertionError("the log of the server ended")


async def log_from(client: AsyncJobletClient, job_id: str) -> tuple[int, bytes]:
    """Where a job's log begins, and all of it."""
    log = client.get_job_logs(job_id)
    read = b"".join([chunk async for chunk in log])
    return log.offset_bytes - len(read), read


async def test_a_log_is_cut_compressed_and_removed_below_its_readers(tmp_path: Path) -> None:
    with real_server(tmp_path, {"logs": {"maxBytesPerJob": 100_000}}) as server:
        async with server.client() as client:
            job = await client.run_job("/usr/bin/python3", ["-c", PRINT])
            assert (await client.wait(job.id)).log_bytes == len(PRINTED)

            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)  # it looks at the start, and then once a minute

            assert "logs=1 removed=0 cut=1 compressed=0" in await pruned(server)
            first = (len(PRINTED) - 100_000) // 4096 * 4096
            assert await log_from(client, job.id) == (first, PRINTED[first:])

            await asyncio.to_thread(LogFiles(server.state).compress, JobId(job.id))

            assert await log_from(client, job.id) == (first, PRINTED[first:])
            tail = client.get_job_logs(job.id, tail_lines=2)
            assert b"".join([chunk async for chunk in tail]) == PRINTED[-28:]

            done = await asyncio.to_thread(joblet_logs, server, "prune", "--job", job.id)

            assert done.splitlines()[0].startswith(f"{job.id}  removed")
            with pytest.raises(LogPruned, match=f"its {len(PRINTED)} bytes were removed"):
                await log_from(client, job.id)
            assert (await client.wait(job.id)).log_bytes == len(PRINTED)


def joblet_logs(server: RealServer, *arguments: str) -> str:
    """What `joblet logs` prints."""
    command = [sys.executable, "-m", "joblet.admin.main", "logs", *arguments, "--state", str(server.state.root)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
