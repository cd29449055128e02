"""
Records a second from producers in this process into files, by `AsyncLogSystem`, every byte of them checked by its hash.

A record has 100 bytes. Single checked writes are `handle.write(record)`, batches are `handle.write_many` of 1,000; with
several logs, each in turn. The clock stops when everything is in the files, for the fsynced ones when they are durable.
Each run begins with a disk at rest, and with the memory and the blocks of the run before (`disk.py` says why).
Beside them, in each round: a loop of nothing but `list.append`, which is what Python itself can do, and the floor of
the disk: the same bytes by `os.write` of 1 MiB and fsync after each, without any queue.

Runs in: the contributor's terminal.
Source: docs/contributors.md, "Benchmarks": 5 million single writes a second, 8 million in batches; fsynced at least
0.6 of the floor.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from joblet.logs.system import AsyncLogSystem, LogSettings
from joblet.logs.writer import Fsync
from measuring.logs.disk import take_over
from measuring.logs.part import Bars, Judgement, Part, Table, ratio

ROUNDS: Final = 5
SINGLE_TARGET: Final = 5.0
BATCH_TARGET: Final = 8.0
FLOOR_TARGET: Final = 0.6
LOGS: Final = (1, 8, 1000)
BATCH: Final = 1000
RECORDS: Final = 10_000_000
SMOKE_RECORDS: Final = 1_000_000
RECORD_BYTES: Final = 100

# 1,000 different records; each log is their repetition.
BLOCK: Final = [b"%099d\n" % number for number in range(BATCH)]


def expected(repetitions: int) -> bytes:
    """Hash of a log."""
    block = b"".join(BLOCK)
    whole = hashlib.sha256()
    for _ in range(repetitions):
        whole.update(block)
    return whole.digest()


def check(folder: Path, logs: int, repetitions: int) -> None:
    """Every log is what was written. The files stay for the next run to take over."""
    wanted = expected(repetitions)
    paths = sorted(folder.iterdir())
    assert len(paths) == logs, paths
    for path in paths:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        assert found == wanted, f"{path} is not what was written"


def singly(write: Callable[[bytes], None]) -> None:
    """One repetition, record by record."""
    for record in BLOCK:
        write(record)


def written(folder: Path, logs: int, records: int, *, batches: bool, fsync: bool) -> float:
    """Million records a second, into this many files."""
    repetitions = records // logs // BATCH
    system = AsyncLogSystem(LogSettings(fsync=Fsync.END if fsync else Fsync.NEVER))
    system.start()
    take_over(folder)
    handles = [system.open(folder / f"{number}.log") for number in range(logs)]
    began = time.perf_counter()
    if batches:
        for _ in range(repetitions):
            for handle in handles:
                handle.write_many(BLOCK)
    else:
        for _ in range(repetitions):
            for handle in handles:
                singly(handle.write)
    for handle in handles:
        handle.close()
    took = time.perf_counter() - began
    system.close()
    check(folder, logs, repetitions)
    return logs * repetitions * BATCH / 1e6 / took


def appended(records: int) -> float:
    """Million records a second into a list."""
    kept: list[bytes] = []
    began = time.perf_counter()
    for _ in range(records // BATCH):
        singly(kept.append)
    return records / 1e6 / (time.perf_counter() - began)


def floor(folder: Path, records: int) -> float:
    """Million records a second that the disk takes by itself."""
    block = b"".join(BLOCK) * 11
    piece = memoryview(block)[: 1024 * 1024]
    take_over(folder)
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        began = time.perf_counter()
        left = records * RECORD_BYTES
        while left > 0:
            left -= os.write(fd, piece)
            os.fsync(fd)
        took = time.perf_counter() - began
    finally:
        os.close(fd)
    return records / 1e6 / took


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    records = SMOKE_RECORDS if smoke else RECORDS
    into: dict[str, list[float]] = {f"{kind}, {logs} logs": [] for kind in ("single", "batches") for logs in LOGS}
    into["list.append alone"] = []
    durable: dict[str, list[float]] = {"batches, fsynced": [], "1 MiB write + fsync, no queue": []}
    # Not /tmp: it is often in memory.
    with tempfile.TemporaryDirectory(prefix="joblet-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        for _ in range(rounds):
            # Nobody's: after a thousand logs, and at first, the memory that the next run gets is not at hand.
            written(folder, 1, records, batches=True, fsync=False)
            durable["1 MiB write + fsync, no queue"].append(floor(folder, records))
            durable["batches, fsynced"].append(written(folder, 1, records, batches=True, fsync=True))
            for logs in LOGS:
                into[f"single, {logs} logs"].append(written(folder, logs, records, batches=False, fsync=False))
                into[f"batches, {logs} logs"].append(written(folder, logs, records, batches=True, fsync=False))
            into["list.append alone"].append(appended(records))
    tables = [
        Table("into the file", "M/s", into),
        Table("until durable", "M/s", durable),
    ]
    medians = tables[0].medians
    of_append = {logs: ratio(into[f"single, {logs} logs"], into["list.append alone"]) for logs in LOGS}
    return Part(
        title=f"{records // 1_000_000} million records of {RECORD_BYTES} bytes from this process",
        tables=tables,
        judgements=[
            *(Judgement(f"single, {n} logs, M/s", medians[f"single, {n} logs"], at_least=SINGLE_TARGET) for n in LOGS),
            *(Judgement(f"batches, {n} logs, M/s", medians[f"batches, {n} logs"], at_least=BATCH_TARGET) for n in LOGS),
            Judgement("fsynced / floor of the disk", ratio(*durable.values()), at_least=FLOOR_TARGET),
        ],
        charts=[Bars("logs-records", "Records into files, every byte checked", "million a second", medians)],
        remarks=[f"single writes, {n} logs: {share:.2f} of list.append alone" for n, share in of_append.items()],
    )
