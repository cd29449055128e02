"""
`AsyncLogSystem` under random schedules: producers and a job, a disk that is slow, full, short of breath or fine.

No thread runs: the schedule says whose step is next, and what time it is.

Runs in: pytest, on real files, a real pipe and a real memfd.
"""

import errno
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from joblet.logs.blocks import LogClosed
from joblet.logs.calls import Calls
from joblet.logs.memfd import memory_file
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.pipe import output_pipe
from joblet.logs.records import LogHandle
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem, LogSettings
from joblet.logs.times import TimeIndex
from joblet.logs.writer import Finish, Fsync
from joblet.testing.output import numbered, told

BLOCK: Final = 4096
OUTPUT: Final = numbered(0, 512 * BLOCK)
LIMIT: Final = 48 * BLOCK


class Disk:
    """What becomes of each write to a log."""

    def __init__(self) -> None:
        self.full = False
        self.most_bytes = 1 << 30

    def calls(self) -> Calls:
        return Calls(writev=self._writev, sendfile=self._sendfile)

    def _writev(self, fd: int, views: list[memoryview]) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left, taken = self.most_bytes, []
        for view in views:
            taken.append(view[:left])
            left -= len(taken[-1])
        return os.writev(fd, taken)

    def _sendfile(self, to: int, source: int, offset: int, count: int) -> int:
        if self.full:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return os.sendfile(to, source, offset, min(count, self.most_bytes))


class Schedule(RuleBasedStateMachine):
    """Two producers and a job."""

    overflow: Overflow
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.folder))
        self.disk = Disk()
        self.now_s = 0.0
        policy = Policy(self.overflow, self.root / "spilled", sample_every=3)
        self.system = AsyncLogSystem(
            LogSettings(LIMIT, queue_max=40, policy=policy, turn_bytes=3 * BLOCK, block_bytes=BLOCK),
            clock=lambda: self.now_s,
            calls=self.disk.calls(),
        )
        self.handles = [self.system.open(self.root / f"{number}.log") for number in range(2)]
        self.written = [0, 0]
        read_fd, self.write_fd = output_pipe()
        os.set_blocking(self.write_fd, False)
        times = TimeIndex(self.root / "job.times")
        self.job = Spool(
            read_fd, memory_file("job"), self.root / "job.log", times, block_bytes=BLOCK, calls=self.disk.calls()
        )
        self.system.add(self.job)
        self.printed = 0

    def _may_write(self, handle: LogHandle) -> bool:
        return self.system.memory.may_take(handle.spool.memory_bytes, 6 * 3 * BLOCK)

    @rule(which=st.integers(0, 1), sizes=st.lists(st.integers(0, 300), max_size=40))
    def writes(self, which: int, sizes: list[int]) -> None:
        for size in sizes:
            if self._may_write(self.handles[which]) and self.written[which] + size <= len(OUTPUT):
                self.handles[which].write(OUTPUT[self.written[which] :][:size])
                self.written[which] += size

    @rule(which=st.integers(0, 1), sizes=st.lists(st.integers(0, 3 * BLOCK), max_size=6))
    def writes_many(self, which: int, sizes: list[int]) -> None:
        batch = []
        position = self.written[which]
        for size in sizes:
            batch.append(OUTPUT[position : position + size])
            position += len(batch[-1])
        if self._may_write(self.handles[which]):
            self.handles[which].write_many(batch)
            self.written[which] = position

    @rule(size=st.integers(1, 8 * BLOCK))
    def prints(self, size: int) -> None:
        try:
            self.printed += os.write(self.write_fd, OUTPUT[self.printed :][:size])
        except BlockingIOError:
            return

    @rule(size=st.integers(1, 8 * BLOCK))
    def pumps(self, size: int) -> None:
        before = self.job.received_bytes
        if self.system.memory.may_take(self.job.memory_bytes, size):
            self.job.pump(size)
        self.system.received(self.job, self.job.received_bytes - before)

    @rule(full=st.booleans(), most=st.integers(1, 4 * BLOCK))
    def disk_changes(self, full: bool, most: int) -> None:
        self.disk.full, self.disk.most_bytes = full, most

    @rule(steps=st.integers(1, 6))
    def disk_thread_runs(self, steps: int) -> None:
        for _ in range(steps):
            self.system.writer.step()

    @rule(steps=st.integers(1, 6))
    def overflow_thread_runs(self, steps: int) -> None:
        for _ in range(steps):
            self.system.relief.step()

    @rule(seconds=st.floats(0.01, 40))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def memory_is_bounded_and_accounted_for(self) -> None:
        held = self.job.memory_bytes + sum(handle.spool.memory_bytes for handle in self.handles)
        assert self.system.memory.held_bytes == held
        assert held <= LIMIT

    @invariant()
    def readers_see_only_what_was_written(self) -> None:
        logs = [*((f"{number}", self.written[number]) for number in range(2)), ("job", self.printed)]
        for name, written in logs:
            path = self.root / f"{name}.log"
            if path.exists():
                assert told(path.read_bytes(), OUTPUT) <= written

    def teardown(self) -> None:
        self.disk.full, self.disk.most_bytes = False, 1 << 30
        os.close(self.write_fd)
        before = self.job.received_bytes
        while not self.job.ended:
            self.job.pump()
        self.system.received(self.job, self.job.received_bytes - before)
        size = self.job.conclude()
        finish = Finish(self.job, None, None, b"")
        self.system.writer.finish(finish)
        for handle in self.handles:
            handle.flush()
        while not finish.stored or any(handle.spool.backlog_bytes for handle in self.handles):
            self.now_s += 1
            self.system.writer.step()
        while self.system.writer.step() == 0.0:
            pass
        self._judge("job", self.printed)
        assert not size or (self.root / "job.log").stat().st_size == size
        for number in range(2):
            self._judge(str(number), self.written[number])
        self.system.discard(self.job)
        assert (self.system.memory.held_bytes, self.system.memory.entries) == (0, 0)
        for handle in self.handles:
            handle.spool.close_file()
        self.job.close()
        self.system.close()

    def _judge(self, name: str, written: int) -> None:
        path = self.root / f"{name}.log"
        log = path.read_bytes() if path.exists() else b""
        assert told(log, OUTPUT) == written
        if self.overflow is not Overflow.SAMPLE:
            assert log == OUTPUT[:written]


@pytest.mark.parametrize("strategy", list(Overflow))
def test_whatever_the_disk_does_every_log_is_what_was_written(strategy: Overflow, tmp_path: Path) -> None:
    machine: Any = type("Schedule", (Schedule,), {"overflow": strategy, "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )


@pytest.fixture
def system() -> Any:
    system = AsyncLogSystem(LogSettings(fsync=Fsync.END))
    system.start()
    yield system
    system.close()


def test_what_producers_in_threads_write_is_all_there_and_in_order(system: AsyncLogSystem, tmp_path: Path) -> None:
    def produce(path: Path) -> None:
        handle = system.open(path)
        for number in range(20_000):
            handle.write(b"%015d\n" % number)
        handle.close(60)

    paths = [tmp_path / f"{number}.log" for number in range(4)]
    threads = [threading.Thread(target=produce, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wanted = hashlib.sha256(numbered(0, 20_000 * 16)).digest()
    assert [hashlib.sha256(path.read_bytes()).digest() for path in paths] == [wanted] * 4
    assert system.metrics.syncs >= 4


def test_only_bytes_are_records(system: AsyncLogSystem, tmp_path: Path) -> None:
    handle = system.open(tmp_path / "log")

    with pytest.raises(TypeError, match="bytes-like object is required"):
        handle.write("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        handle.write_many([b"a", "text"])  # type: ignore[list-item]
    handle.write(bytearray(b"converted\n"))  # type: ignore[arg-type]
    handle.close(60)

    assert (tmp_path / "log").read_bytes() == b"converted\n"


def test_a_closed_log_takes_no_more(system: AsyncLogSystem, tmp_path: Path) -> None:
    handle = system.open(tmp_path / "log")
    handle.write(b"last\n")
    handle.close(60)

    with pytest.raises(LogClosed, match="is closed"):
        handle.write(b"too late\n")
    with pytest.raises(LogClosed, match="is closed"):
        handle.write_many([b"too late\n"])

    assert (tmp_path / "log").read_bytes() == b"last\n"


def test_a_producer_beyond_the_memory_waits_for_the_disk(tmp_path: Path) -> None:
    """And goes on by itself: 16 MiB through 1 MiB of memory."""
    system = AsyncLogSystem(LogSettings(memory_limit_bytes=1 << 20))
    handle = system.open(tmp_path / "log")
    record = b"x" * 1023 + b"\n"
    producer = threading.Thread(target=lambda: handle.write_many([record] * (16 * 1024)))

    producer.start()
    while not system.metrics.waits:
        producer.join(0.001)
    system.start()
    producer.join()
    handle.close(60)

    assert (tmp_path / "log").read_bytes() == record * (16 * 1024)
    assert system.memory.peak_bytes <= 1 << 20
    assert any(notice.message == "log memory is full: jobs wait for the disk" for notice in system.notices())
    system.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: LogSettings(flush_interval_s=0), "flush_interval_s must be positive"),
        (lambda: LogSettings(flush_interval_s=float("nan")), "flush_interval_s must be positive"),
        (lambda: LogSettings(fsync=cast(Fsync, "always")), "fsync must be one of Fsync.NEVER, .*, not 'always'"),
        (lambda: LogSettings(turn_bytes=0), "turn_bytes must be at least 1"),
        (lambda: Policy(Overflow.SPILL), "needs a folder"),
        (lambda: Policy(Overflow.SAMPLE, sample_every=1), "at least 2"),
        (lambda: AsyncLogSystem(LogSettings(memory_limit_bytes=0)), "limit_bytes must be at least 1"),
        (lambda: AsyncLogSystem(LogSettings(queue_max=0)), "queue_max must be at least 1"),
    ],
)
def test_settings_are_checked(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wrong()
