"""
How fast a real job can write: into its log, against into a file of the same file system, alone and through `cat`.

One program writes the same bytes each time, 100-byte lines or blocks of 64 KiB with one system call each. A job is
timed from RunJob until its end is told, which is after the last byte of its log is in the file; a peer from its fork
until it, and the `cat` behind it, have been waited for. Nobody calls fsync. Each file is compared byte for byte.

Runs in: the contributor's terminal, as root; server, supervisor, job and peers as processes of their own.
Source: docs/contributors.md, "Benchmarks": in blocks at least 0.36 times `> file` and 0.9 times `| cat > file`,
in lines at least 1.3 times `> file`.
"""

import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from joblet.client import JobletClient
from joblet.domain.limits import MIB
from measuring.logs.disk import at_rest
from measuring.logs.part import Bars, Judgement, Part, Table, ratio
from measuring.logs.writing import Writing, a_writer
from measuring.server import RunningServer, a_server

ROUNDS: Final = 7
JOBLET: Final = "joblet"
FILE: Final = "job > file"
CAT: Final = "job | cat > file"
LINES: Final = "100-byte lines"
BLOCKS: Final = "64 KiB blocks"
# As much as takes a second or more: a launch of some milliseconds is part of a job's time.
SIZES: Final = {LINES: (100, 200 * MIB), BLOCKS: (64 * 1024, 1024 * MIB)}
SMOKE_DIVISOR: Final = 16


def by_a_job(server: RunningServer, client: JobletClient, writing: Writing) -> tuple[float, Path]:
    """Seconds, and the log."""
    command, arguments = writing.in_a_job
    began = time.perf_counter()
    job = client.run_job(command, arguments)
    status = client.wait(job.id)
    took = time.perf_counter() - began
    assert (status.exit_code, status.log_bytes) == (0, writing.total_bytes), status
    return took, server.state.log(job.id)


def into_a_file(writing: Writing, path: Path) -> tuple[float, Path]:
    """Seconds, and the file."""
    with path.open("wb") as file:
        began = time.perf_counter()
        subprocess.run(writing.here, stdout=file, check=True)
        return time.perf_counter() - began, path


def through_cat(writing: Writing, path: Path) -> tuple[float, Path]:
    """Seconds, and the file."""
    with path.open("wb") as file:
        began = time.perf_counter()
        with subprocess.Popen(writing.here, stdout=subprocess.PIPE) as job:
            subprocess.run(["cat"], stdin=job.stdout, stdout=file, check=True)
        took = time.perf_counter() - began
    assert job.returncode == 0, job
    return took, path


def check(path: Path, writing: Writing) -> None:
    """Every byte of it; AssertionError where one is wrong or missing."""
    blocks = max(1, MIB // writing.block_bytes)
    expected = memoryview(writing.expected() * blocks)
    left = writing.total_bytes
    with path.open("rb") as file:
        while piece := file.read(len(expected)):
            assert piece == expected[: len(piece)], f"{path} is wrong before byte {file.tell()}"
            left -= len(piece)
    assert left == 0, f"{path} lacks {left} bytes"


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    rates: dict[str, dict[str, list[float]]] = {what: {JOBLET: [], FILE: [], CAT: []} for what in SIZES}
    with a_writer() as program, a_server() as server, JobletClient(server.address, server.credentials) as client:
        beside = server.state.logs / "peer"  # the same folder, so the same file system
        for number in range(rounds + 1):
            for what, (block_bytes, total_bytes) in SIZES.items():
                count = total_bytes // (SMOKE_DIVISOR if smoke else 1) // block_bytes
                writing = Writing(program, block_bytes, count * block_bytes)
                candidates: dict[str, Callable[[], tuple[float, Path]]] = {
                    JOBLET: partial(by_a_job, server, client, writing),
                    FILE: partial(into_a_file, writing, beside),
                    CAT: partial(through_cat, writing, beside),
                }
                for name, candidate in candidates.items():
                    at_rest(server.state.logs, writing.total_bytes)
                    seconds, path = candidate()
                    check(path, writing)
                    path.unlink()
                    if number or smoke:  # the first round only warms the caches
                        rates[what][name].append(writing.total_bytes / 1e6 / seconds)
    tables = [Table(f"a job writes {what}", "MB/s", rows) for what, rows in rates.items()]
    lines, blocks = rates[LINES], rates[BLOCKS]
    return Part(
        title="what a job can write",
        tables=tables,
        judgements=(
            Judgement(f"{BLOCKS}, {JOBLET} / {FILE}", ratio(blocks[JOBLET], blocks[FILE]), at_least=0.36),
            Judgement(f"{BLOCKS}, {JOBLET} / {CAT}", ratio(blocks[JOBLET], blocks[CAT]), at_least=0.9),
            Judgement(f"{LINES}, {JOBLET} / {FILE}", ratio(lines[JOBLET], lines[FILE]), at_least=1.3),
        ),
        charts=[
            Bars(f"logs-pipeline-{name}", f"A job writes {table.title.removeprefix('a job writes ')}", "MB/s", bars)
            for name, table in zip(("lines", "blocks"), tables, strict=True)
            for bars in (table.medians,)
        ],
    )
