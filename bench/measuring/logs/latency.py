"""
How long a producer in this process waits for one `handle.write`, while the disk takes what comes and while it does not.

Every write is timed by itself, so each figure has the clock's own two calls in it. The stalled disk is one whose
`writev` does not return until the round is over; what is written meanwhile stays below the memory limit, and is checked
in the file afterwards. The garbage collector is on, as it is for users.

Runs in: the contributor's terminal.
Source: docs/contributors.md, "Benchmarks": p99 at most 2 us, p99.9 at most 20 us.
"""

import hashlib
import os
import tempfile
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from joblet.logs.calls import Calls
from joblet.logs.system import AsyncLogSystem
from measuring.logs.part import Bars, Judgement, Part, Table

ROUNDS: Final = 5
P99_TARGET_US: Final = 2.0
P999_TARGET_US: Final = 20.0
WRITES: Final = 2_000_000
SMOKE_WRITES: Final = 200_000
RECORD: Final = b"%099d\n" % 7
SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


class Stall:
    """A disk that does not answer for a while."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def writev(self, fd: int, views: Sequence[memoryview]) -> int:
        """As `os.writev`, later."""
        self.over.wait()
        return os.writev(fd, views)


def latencies(path: Path, writes: int, *, stalled: bool) -> "array[int]":
    """Nanoseconds of each write, sorted."""
    stall = Stall()
    system = AsyncLogSystem(calls=Calls(writev=stall.writev) if stalled else Calls())
    system.start()
    handle = system.open(path)
    found = array("q", bytes(8 * writes))
    write, now = handle.write, time.perf_counter_ns
    for number in range(writes):
        began = now()
        write(RECORD)
        found[number] = now() - began
    stall.over.set()
    handle.close()
    waits = system.metrics.waits
    system.close()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    assert digest == hashlib.sha256(RECORD * writes).digest(), "the log is not what was written"
    assert not waits, "the memory was used up: then a producer waits, and that is not what is measured"
    path.unlink()
    return array("q", sorted(found))


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    writes = SMOKE_WRITES if smoke else WRITES
    disks = {"": False, ", disk stalled": True}
    rows: dict[str, list[float]] = {f"{share}{disk}": [] for disk in disks for share in SHARES}
    with tempfile.TemporaryDirectory(prefix="joblet-bench-", dir="/var/tmp") as name:
        for _ in range(rounds):
            for disk, stalled in disks.items():
                found = latencies(Path(name) / "log", writes, stalled=stalled)
                for share, part in SHARES.items():
                    rows[f"{share}{disk}"].append(found[min(int(part * writes), writes - 1)] / 1000)
    table = Table(f"{writes} single writes", "us", rows)
    medians = table.medians
    return Part(
        title="how long one write takes",
        tables=[table],
        judgements=[
            *(Judgement(f"p99{disk}, us", medians[f"p99{disk}"], at_most=P99_TARGET_US) for disk in disks),
            *(Judgement(f"p99.9{disk}, us", medians[f"p99.9{disk}"], at_most=P999_TARGET_US) for disk in disks),
        ],
        charts=[
            Bars("logs-latency", "Latency of one write", "us", {k: v for k, v in medians.items() if "max" not in k})
        ],
        remarks=[f"worst of all rounds{disk}: {max(rows[f'max{disk}']):.0f} us" for disk in disks],
    )
