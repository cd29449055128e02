"""
What 1,000 jobs that write at once get of the log system: how much in all, how fairly, and at which cost in memory.

A third of them writes 10 lines of 100 bytes a second, a third 100 KB/s, a third blocks of 64 KiB flat out; all of
them begin together. What is counted is the growth of the logs' files in a window of some
seconds: what has reached the file then, not what was accepted.

Fairness is Jain's index over the jobs' satisfaction: the bytes in a job's file by the bytes that were its due. A job at
a rate is due its rate. A job that writes flat out is due the mean of its kind: what the machine has left cannot be
shared more evenly, and how much that is, the rate tells and not the index. So the index falls when jobs of the same
demand are treated differently, and also when those that ask for little are starved by those that ask for everything; it
does not punish a job for asking less than others. 1,000 jobs share the few cores of the machine, so that the kernel's
scheduler has its part in the figure. At the end the length of every log is compared with its file.

Memory is that of the supervisor and its zygote, and what the spools hold: their memfds, as growth of the machine's
Shmem, which is where output waits for the disk.

Runs in: the contributor's terminal, as root; server, supervisor and jobs as processes of their own.
Source: docs/contributors.md, "Benchmarks": Jain's index at least 0.95; R. Jain, D. Chiu, W. Hawe, "A Quantitative
Measure of Fairness", DEC-TR-301, 1984.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from joblet.client import AsyncJobletClient
from measuring.logs.part import Bars, Judgement, Part, Table
from measuring.logs.writing import Writing, a_writer
from measuring.processes import Watched, children, pss_mb, shared_memory_mb
from measuring.server import RunningServer, a_server

Result = TypeVar("Result")

ROUNDS: Final = 3
TARGET: Final = 0.95
JOBS: Final = 999
IN_FLIGHT: Final = 32
SETTLE_S: Final = 3.0
WINDOW_S: Final = 8.0
SMOKE_JOBS: Final = 30
SMOKE_WINDOW_S: Final = 1.0
DEADLINE_S: Final = 120.0
STARTED_WITHIN_S: Final = 60.0

SLOW: Final = "1 KB/s each"
MEDIUM: Final = "100 KB/s each"
FLAT_OUT: Final = "flat out"
# By kind: bytes of one write, and bytes a second (0 for as many as can be).
KINDS: Final = {SLOW: (100, 1_000), MEDIUM: (1_000, 100_000), FLAT_OUT: (64 * 1024, 0)}


def jain(values: Sequence[float]) -> float:
    """1 when all have the same, 1/n when one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def satisfaction(logged: Mapping[str, Sequence[float]], window_s: float) -> list[float]:
    """Of every job, by its kind and the bytes it got into its file."""
    found: list[float] = []
    for kind, counts in logged.items():
        rate = KINDS[kind][1]
        due = rate * window_s if rate else statistics.mean(counts)
        found += [count / due for count in counts]
    return found


async def each(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Their results, IN_FLIGHT of them at a time."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(call: Coroutine[Any, Any, Result]) -> Result:
        async with free:
            return await call

    return await asyncio.gather(*map(one, calls))


def stopped(server: RunningServer) -> set[int]:
    """The processes of jobs that have stopped themselves, to begin together."""
    found = {pid for init in children(server.supervisor_pid) for pid in children(init)}
    return {pid for pid in found if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")}


async def let_go(server: RunningServer, count: int) -> None:
    """Once all of them wait for it."""
    deadline = time.monotonic() + STARTED_WITHIN_S
    while len(writers := stopped(server)) < count:
        assert time.monotonic() < deadline, f"only {len(writers)} of {count} jobs wait to begin"
        await asyncio.sleep(0.1)
    for pid in writers:
        os.kill(pid, signal.SIGCONT)


def sizes(server: RunningServer, jobs: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Of the logs' files; a job that has logged nothing yet has none."""

    def size(job_id: str) -> int:
        path = server.state.log(job_id)
        return path.stat().st_size if path.exists() else 0

    return {kind: [size(job_id) for job_id in job_ids] for kind, job_ids in jobs.items()}


async def one_round(
    server: RunningServer, client: AsyncJobletClient, program: Path, count: int, window_s: float
) -> dict[str, list[float]]:
    """Bytes a job got into its file during the window, by its kind."""
    seconds = round(SETTLE_S + window_s + 2)
    kinds = [*KINDS] * (count // len(KINDS))
    started = await each(
        [
            client.run_job(*Writing(program, block, bytes_per_s=rate, seconds=seconds, waits=True).in_a_job)
            for block, rate in map(KINDS.__getitem__, kinds)
        ]
    )
    jobs = {kind: [job.id for job, of in zip(started, kinds, strict=True) if of == kind] for kind in KINDS}
    await let_go(server, count)
    await asyncio.sleep(SETTLE_S)
    began, before = time.monotonic(), sizes(server, jobs)
    await asyncio.sleep(window_s)
    after, took = sizes(server, jobs), time.monotonic() - began
    async with asyncio.timeout(DEADLINE_S):
        ends = await each([client.wait(job.id) for job in started])
    for end in ends:
        path = server.state.log(end.id)
        assert (end.exit_code, end.log_bytes) == (0, path.stat().st_size), end
        path.unlink()
    # As if the window had had its exact length.
    scale = window_s / took
    return {kind: [(b - a) * scale for a, b in zip(before[kind], after[kind], strict=True)] for kind in KINDS}


async def measured(rounds: int, *, count: int, window_s: float) -> tuple[list[Table], list[float]]:
    """The tables, and Jain's index of each round."""
    rates: dict[str, list[float]] = {"all jobs": [], **{f"  {kind}": [] for kind in KINDS}}
    fairness: dict[str, list[float]] = {"all jobs": [], **{f"  {kind}": [] for kind in KINDS}}
    memory: dict[str, list[float]] = {"supervisor and zygote, growth": [], "spools, peak": []}
    with a_writer() as program, a_server() as server:
        (zygote,) = children(server.supervisor_pid)
        async with AsyncJobletClient(server.address, server.credentials, timeout_s=DEADLINE_S) as client:
            for _ in range(rounds):
                with (
                    Watched(lambda: pss_mb(server.supervisor_pid) + pss_mb(zygote), 0.5) as own,
                    Watched(shared_memory_mb, 0.2) as spools,
                ):
                    logged = await one_round(server, client, program, count, window_s)
                for kind, counts in logged.items():
                    rates[f"  {kind}"].append(sum(counts) / 1e6 / window_s)
                    fairness[f"  {kind}"].append(jain(counts))
                rates["all jobs"].append(sum(map(sum, logged.values())) / 1e6 / window_s)
                fairness["all jobs"].append(jain(satisfaction(logged, window_s)))
                memory["supervisor and zygote, growth"].append(own.peak - own.before)
                memory["spools, peak"].append(spools.peak - spools.before)
    tables = [
        Table(f"{count} jobs, into their files", "MB/s", rates),
        Table("fairness (Jain's index)", "", fairness),
        Table("memory", "MB", memory),
    ]
    return tables, fairness["all jobs"]


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    count, window_s = (SMOKE_JOBS, SMOKE_WINDOW_S) if smoke else (JOBS, WINDOW_S)
    tables, fairness = asyncio.run(measured(rounds, count=count, window_s=window_s))
    rates = tables[0].medians
    index = statistics.median(fairness)
    return Part(
        title=f"{count} jobs write at once",
        tables=tables,
        judgements=[Judgement("Jain's index of all jobs", index, at_least=TARGET)],
        charts=[
            Bars("logs-many-jobs", f"{count} jobs write at once, in all", "MB/s", rates),
            Bars("logs-many-jobs-fairness", f"Fairness among {count} jobs", "Jain's index", tables[1].medians),
        ],
    )
