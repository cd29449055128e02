"""
RunJob's round trip over mutual TLS on loopback, its set-up awaited, against bwrap's spawn of the same program.

    sudo python bench/rpc.py [--smoke] [--rounds N]

The client's clock runs from the call to its answer: the job is then durable and its command started. bwrap's runs from
its fork to its end. The two take turns; a job has ended before bwrap's turn, which is not timed.

Runs in: the contributor's terminal, as root; the server and its jobs as processes of their own.
Source: docs/contributors.md, "Benchmarks": p50 at most 1.2 times bwrap's spawn.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from measuring.peers import bwrap, spawn
from measuring.report import judged, rounds_asked_for, show
from measuring.server import a_server

from joblet.client import JobletClient

TARGET: Final = 1.2
WARM_UP: Final = 10


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    rounds, judge = rounds_asked_for("RunJob's round trip against bwrap's spawn", 200)
    took: dict[str, list[float]] = {"RunJob": [], "bwrap, comparable tree": [], "GetJobStatus": []}
    with (
        tempfile.TemporaryDirectory() as work,
        a_server() as server,
        JobletClient(server.address, server.credentials) as client,
    ):
        sandbox, _ = bwrap(Path(work))
        for number in range(rounds + WARM_UP):
            began = time.perf_counter()
            job = client.run_job("true")
            answered = time.perf_counter()
            client.wait(job.id)
            asked = time.perf_counter()
            client.get_job_status(job.id)
            told = time.perf_counter()
            peer_s = spawn(sandbox)
            if number >= WARM_UP:
                for what, seconds in zip(took, (answered - began, peer_s, told - asked), strict=True):
                    took[what].append(seconds * 1000)
    medians = show(f"{rounds} rounds, interleaved", "ms", took)
    kept = judged("RunJob / bwrap", medians["RunJob"] / medians["bwrap, comparable tree"], at_most=TARGET)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
