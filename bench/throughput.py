"""
Jobs per second, from submit to COMPLETED seen by the client, at 1 and at 16 in flight, against bwrap's own rate.

    sudo python bench/throughput.py [--smoke] [--rounds N]

Each job is one RunJob, one log stream that ends with the job, and one GetJobStatus that says COMPLETED. In each round
both run the same number of `true`; client, server, supervisor, jobs and bwrap share the machine.

Runs in: the contributor's terminal, as root; the server and its jobs as processes of their own.
Source: docs/contributors.md, "Benchmarks": at 16 in flight at least 0.6 times bwrap's rate, and 250 jobs a
second where the machine allows.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from measuring.peers import bwrap, spawn_many
from measuring.report import judged, rounds_asked_for, show
from measuring.server import a_server

from joblet.client import AsyncJobletClient
from joblet.domain.job import JobState

RATIO: Final = 0.6
RATE: Final = 250.0
# So many jobs are one sample at so many in flight.
SAMPLES: Final = {1: 25, 16: 160}


async def run_jobs(client: AsyncJobletClient, count: int, in_flight: int) -> float:
    """Seconds until so many jobs have been seen to be COMPLETED."""
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            job = await client.run_job("true")
            status = await client.wait(job.id)
            assert status.status == JobState.COMPLETED, status

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    return time.perf_counter() - began


async def measure(rounds: int) -> dict[int, dict[str, list[float]]]:
    """Rates by jobs in flight, then by who ran them."""
    rates: dict[int, dict[str, list[float]]] = {number: {"joblet": [], "bwrap": []} for number in SAMPLES}
    with tempfile.TemporaryDirectory() as work, a_server() as server:
        sandbox, _ = bwrap(Path(work))
        async with AsyncJobletClient(server.address, server.credentials) as client:
            await run_jobs(client, 50, 16)
            for _ in range(rounds):
                for in_flight, count in SAMPLES.items():
                    rates[in_flight]["joblet"].append(count / await run_jobs(client, count, in_flight))
                    rates[in_flight]["bwrap"].append(count / spawn_many(sandbox, count, in_flight))
    return rates


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    rounds, judge = rounds_asked_for("jobs per second against bwrap's own rate", 15)
    rates = asyncio.run(measure(rounds))
    medians: dict[str, float] = {}
    for in_flight, measured in rates.items():
        medians = show(f"{in_flight} in flight, {rounds} rounds", "jobs/s", measured)
    kept = judged("at 16 in flight, joblet / bwrap", medians["joblet"] / medians["bwrap"], at_least=RATIO)
    if medians["bwrap"] * RATIO >= RATE:
        kept &= judged("at 16 in flight, jobs/s", medians["joblet"], at_least=RATE)
    else:
        print(f"{RATE:g} jobs/s are not asked of this machine now: bwrap itself does {medians['bwrap']:.0f}")
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
