"""
`AsyncLogSystem`: everything between those who write logs and the files, with one memory, one writer and one strategy.

    a job's pipe ── splice ──► Spool ───┐                      ┌─► disk thread ──► log files
    a producer ──── append ──► Records ─┴── memory, metrics ───┴─► overflow thread: compress, spill, sample

Runs in: supervisor, or any process that writes logs by `open`. May not: import outside the standard library.
Source: API specification, "Version 2.11.0"; docs/logs.md.
"""

import atexit
import contextlib
import math
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from joblet.logs.blocks import LARGEST_BLOCK_BYTES, Buffers, LogClosed, block_bytes
from joblet.logs.calls import REAL, Calls
from joblet.logs.memory import DEFAULT_LIMIT_BYTES, DEFAULT_QUEUE_MAX, Memory
from joblet.logs.metrics import COUNTERS, Metrics
from joblet.logs.notices import Notice, Warnings
from joblet.logs.overflow import Policy
from joblet.logs.pipe import PIPE_BYTES
from joblet.logs.records import LogHandle, RecordSpool
from joblet.logs.relief import Relief
from joblet.logs.spool import Spool
from joblet.logs.times import TimeIndex
from joblet.logs.writer import LARGEST_TURN_BYTES, Finish, Fsync, Log, Writer


@dataclass(frozen=True, slots=True)
class LogSettings:
    """
    How logs are kept.

    Args:
        memory_limit_bytes: Output of all logs that may wait for the disk in memory.
        queue_max: Logs, and blocks of in-process producers, that may wait.
        policy: What happens when memory runs short.
        fsync: When logs are made durable.
        flush_interval_s: So long may records of an in-process producer wait for a block to fill.
        turn_bytes: The most that is written of one log before it is another one's turn.
        block_bytes: What an in-process producer joins at a time, at most.

    Raises:
        ValueError: A number is out of range.
    """

    memory_limit_bytes: int = DEFAULT_LIMIT_BYTES
    queue_max: int = DEFAULT_QUEUE_MAX
    policy: Policy = field(default_factory=Policy)
    fsync: Fsync = Fsync.NEVER
    flush_interval_s: float = 0.05
    turn_bytes: int = LARGEST_TURN_BYTES
    block_bytes: int = LARGEST_BLOCK_BYTES

    def __post_init__(self) -> None:
        if not 0 < self.flush_interval_s < math.inf:
            raise ValueError(f"flush_interval_s must be positive, not {self.flush_interval_s}")
        if not isinstance(self.fsync, Fsync):
            raise ValueError(f"fsync must be one of {', '.join(map(str, Fsync))}, not {self.fsync!r}")
        if self.turn_bytes < 1:
            raise ValueError(f"turn_bytes must be at least 1, not {self.turn_bytes}")


class AsyncLogSystem:
    """
    Takes output at the speed of memory, and writes it at the speed of the disk.

    What is accepted is in the file, in order, once the disk takes it; only `sample` drops, and says so in the log.

    Args:
        clock: Monotonic seconds.

    Attributes:
        event_fd: Readable when `progress` or `notices` have something.
    """

    def __init__(
        self, settings: LogSettings | None = None, *, clock: Callable[[], float] = time.monotonic, calls: Calls = REAL
    ) -> None:
        self._settings = settings = settings or LogSettings()
        self._clock = clock
        self._calls = calls
        self._notices: deque[Notice] = deque()
        self._warnings = Warnings(self._notice, clock)
        self.metrics = Metrics()
        self.memory = Memory(settings.memory_limit_bytes, settings.queue_max)
        self.relief = Relief(self.memory, settings.policy, self.metrics, self._wake_loop, self._notice, clock=clock)
        self.writer = Writer(
            self.memory,
            self.metrics,
            self._reported,
            self._notice,
            fsync=settings.fsync,
            turn_bytes=settings.turn_bytes,
            clock=clock,
        )
        self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._progress: deque[Log | Finish] = deque()
        self._ending = threading.Lock()
        self._waking = threading.Lock()  # between a producer that is let go and `close`
        self._closing = self._closed = False
        self._handles: dict[LogHandle, None] = {}
        self._buffers = Buffers(self.memory)
        self._stored = threading.Condition()
        self._awaited: Counter[Log] = Counter()

    def start(self) -> None:
        """Start the threads: only once nothing in this process will fork any more."""
        self.writer.start()
        self.relief.start()

    def close(self) -> None:
        """Write what is accepted, or give up what the disk refuses; then end the threads. Blocks. Once is enough."""
        with self._ending:
            if not self._closed:
                self._close()
        atexit.unregister(self.close)  # last: what is interrupted before is done at the program's end

    def _close(self) -> None:
        self._closing = True
        handles = list(self._handles)
        for handle in handles:
            handle.shut()
        self.writer.close()
        self.relief.close()
        for handle in handles:
            handle.spool.close_file()
        with self._stored:
            self._closed = True
            self._stored.notify_all()
        with self._waking:
            os.close(self.event_fd)

    def stat(self) -> dict[str, float]:
        """The metrics, each with its unit in the name: counters since the start, and what is waiting now."""
        metrics, memory = self.metrics, self.memory
        numbers: dict[str, float] = {
            "memory_limit_bytes": memory.limit_bytes,
            "memory_held_bytes": memory.held_bytes,
            "memory_peak_bytes": memory.peak_bytes,
            "queue_max": memory.queue_max,
            "queue_depth": memory.entries,
            **{name: getattr(metrics, name) for name in COUNTERS},
            "write_p50_s": metrics.writes.at_most_s(0.5),
            "write_p99_s": metrics.writes.at_most_s(0.99),
            "write_max_s": metrics.writes.max_s,
        }
        return {_as_in_json(name): number for name, number in numbers.items()}

    # The pipes of jobs, from the supervisor's loop

    def spool(self, pipe_fd: int, memory_fd: int, path: Path, times: Path) -> Spool:
        """A job's output; `add` it once its job stands. See `Spool`; `times` gets an index of times."""
        return Spool(pipe_fd, memory_fd, path, TimeIndex(times), calls=self._calls)

    def add(self, spool: Spool) -> None:
        """A job's output, new or taken over from a predecessor."""
        self.memory.take(spool.memory_bytes)
        self.relief.add(spool)
        if spool.backlog_bytes:
            self.writer.dirty(spool)

    def discard(self, spool: Spool) -> None:
        """This job's output is stored, or lost with its memory."""
        self.relief.discard(spool)
        self.memory.give(spool.memory_bytes)

    def may_receive(self, spool: Spool) -> bool:
        """Whether a job's pipe may be emptied; if not, `may_resume` tells when."""
        if self.memory.may_take(spool.memory_bytes, PIPE_BYTES):
            return True
        self.waits(spool)
        return False

    def may_resume(self, spool: Spool) -> bool:
        """Whether a job that had to wait may go on."""
        return self.memory.may_resume(spool.memory_bytes, PIPE_BYTES)

    def received(self, spool: Spool, size_bytes: int) -> None:
        """So many bytes were pumped."""
        if size_bytes:
            self.memory.take(size_bytes)
            self.writer.dirty(spool)
        if self.relief.needed:
            self.relief.want()

    def cannot_receive(self, spool: Spool, error: OSError) -> None:
        """There is no memory at all for what a job's pipe holds: it is left there, and tried again."""
        self._warnings.warn(
            "no memory for a job's output: it waits", first=spool.path.stem, why=error.strerror or str(error)
        )

    def progress(self) -> list[Log | Finish]:
        """What was stored since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.event_fd)
        found = []
        while self._progress:
            found.append(self._progress.popleft())
        return found

    def notices(self) -> list[Notice]:
        """Lines for the server log since the last call."""
        found = []
        while self._notices:
            found.append(self._notices.popleft())
        return found

    # In-process producers

    def open(self, path: Path) -> LogHandle:
        """
        A log that this process writes; an existing file is continued.

        Raises:
            OSError: It cannot be opened.
            LogClosed: The system is closed.
            RuntimeError: This Python runs threads without its lock, which `LogHandle.write` relies on.
        """
        if not getattr(sys, "_is_gil_enabled", lambda: True)():
            raise RuntimeError("records need a Python with its global lock")
        if self._closing:
            raise LogClosed("the log system is closed")
        block = block_bytes(self.memory, len(self._handles) + 1, self._settings.block_bytes)
        handle = LogHandle(RecordSpool(path, self.memory, self._buffers, block, self._calls), self)
        if not self._handles:
            # A program that ends without `close` has its records in the files all the same.
            atexit.unregister(self.close)
            atexit.register(self.close)
            self.writer.every(self._settings.flush_interval_s, self._flush)
        self._handles[handle] = None
        self.relief.add(handle.spool)
        return handle

    def block_closed(self, spool: RecordSpool) -> None:
        """See `records.Owner`."""
        self.writer.dirty(spool)
        if self.relief.needed:
            self.relief.want()

    def waits(self, spool: Spool | RecordSpool) -> None:
        """See `records.Owner`."""
        self.metrics.waits += 1
        held, limit = str(self.memory.held_bytes), str(self.memory.limit_bytes)
        self._warnings.warn(
            "log memory is full: jobs wait for the disk", heldBytes=held, limitBytes=limit, first=spool.path.stem
        )

    def wait_until_stored(self, spool: RecordSpool, size_bytes: int, timeout_s: float | None) -> None:
        """See `records.Owner`."""
        self._wait(lambda: spool.taken_bytes >= size_bytes, spool, timeout_s)

    def close_log(self, handle: LogHandle, timeout_s: float | None) -> None:
        """See `records.Owner`."""
        finish = Finish(handle.spool, None, None, b"")
        self.writer.finish(finish)
        self._wait(lambda: finish.stored or (self._closed and not handle.spool.backlog_bytes), handle.spool, timeout_s)
        self.relief.discard(handle.spool)
        self._handles.pop(handle, None)

    def _wait(self, reached: Callable[[], bool], spool: RecordSpool, timeout_s: float | None) -> None:
        if not (reached() or self._closed or self.writer.started):
            raise RuntimeError("the log system is not started: nothing is written")
        with self._stored:
            self._awaited[spool] += 1
            try:
                if not self._stored.wait_for(lambda: reached() or self._closed, timeout_s):
                    raise TimeoutError(f"the disk has not taken all of {spool.path} within {timeout_s:g} s")
                if not reached():
                    raise LogClosed(f"the log system was closed before the disk had taken all of {spool.path}")
            finally:
                self._awaited[spool] -= 1
                if not self._awaited[spool]:
                    del self._awaited[spool]

    def _flush(self) -> None:
        for handle in list(self._handles):
            handle.flush_in_passing()
        self._buffers.trim()

    def _reported(self, what: Log | Finish) -> None:
        log = what.spool if isinstance(what, Finish) else what
        if isinstance(log, Spool):
            self._progress.append(what)
            self._wake_loop()
        else:
            # Each wake-up takes the interpreter from a producer: only when somebody waits for this very log.
            with self._stored:
                if log in self._awaited:
                    self._stored.notify_all()

    def _notice(self, notice: Notice) -> None:
        self._notices.append(notice)
        self._wake_loop()

    def _wake_loop(self) -> None:
        with self._waking:
            if not self._closed:
                os.eventfd_write(self.event_fd, 1)


def _as_in_json(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
