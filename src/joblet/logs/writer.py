"""
The disk thread: the one place that waits for the disk of the logs.

Logs with a backlog take turns, of some milliseconds each, so that one noisy job cannot starve the
others. A write that fails is tried again later, with everything still where it was.

Runs in: a thread of whoever owns an `AsyncLogSystem`; in tests `step` by step. May not: touch a job, a descriptor of
the loop or the epoll; import outside the standard library.
"""

import heapq
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from joblet.logs.calls import open_regular
from joblet.logs.memory import Memory
from joblet.logs.metrics import Metrics
from joblet.logs.notices import Notice, Warnings

TURN_BYTES: Final = 4 * 1024 * 1024
# A fast disk takes more at a time: after each turn this thread waits up to 5 ms for the interpreter, where a producer
# of records is busy, and that must not be most of its time.
LARGEST_TURN_BYTES: Final = 64 * 1024 * 1024
_SHORT_TURN_S: Final = 0.02
_LONG_TURN_S: Final = 0.08
# A round over all logs that wait writes about so much: with a thousand of them a turn is smaller, else each waits long.
ROUND_BYTES: Final = 256 * 1024 * 1024
_LEAST_TURN_BYTES: Final = 64 * 1024
RETRY_S: Final = 0.5
# A log is not written more often than so, unless so much has come together: each write wakes two threads, and on a
# small machine that is time the jobs do not get.
PACE_S: Final = 0.005
PACE_BYTES: Final = 1024 * 1024


class Log(Protocol):
    """What the disk thread needs of a log: `Spool` and `RecordSpool` are such."""

    path: Path
    queued: bool
    not_before_s: float
    stored_bytes: int
    given_back_bytes: int

    @property
    def backlog_bytes(self) -> int:
        """What is still to be stored."""
        ...

    def store(self, most_bytes: int) -> int:
        """Write some of it."""
        ...

    def sync(self) -> None:
        """Make what is stored durable."""
        ...

    def close_file(self) -> None:
        """All is stored."""
        ...


class Fsync(Enum):
    """When a log is made durable."""

    NEVER = "never"
    END = "end"
    ALWAYS = "always"


class Finish:
    """
    The last task for a log: all of it to disk, the file closed, its job's work folder removed if empty.

    Args:
        work: The job's work folder; None for none.
        note_path: A file that gets a last line once the log is on disk; None for none.
        note: That line.
    """

    __slots__ = ("note", "note_path", "spool", "stored", "work", "work_left")

    def __init__(self, spool: Log, work: Path | None, note_path: Path | None, note: bytes) -> None:
        self.spool = spool
        self.work = work
        self.note_path = note_path
        self.note = note
        self.work_left = False
        self.stored = False


class Removal:
    """Unlink a small file of ours; a missing one is fine."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path


Task = Log | Finish | Removal


class Writer:
    """
    Writes logs to their files in a thread.

    Args:
        report: Called in the disk thread with each log that was looked at, and each `Finish`, again when it is stored.
        notice: Called in the disk thread with a line for the server log, of a disk in trouble at most once in 30 s.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        memory: Memory,
        metrics: Metrics,
        report: "Callable[[Log | Finish], None]",
        notice: Callable[[Notice], None],
        *,
        fsync: Fsync = Fsync.NEVER,
        turn_bytes: int = LARGEST_TURN_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._metrics = metrics
        self._report = report
        self._notice = notice
        self._fsync = fsync
        self._largest_turn_bytes = turn_bytes
        self._turn_bytes = min(TURN_BYTES, turn_bytes)
        self._clock = clock
        self._at_intervals: Callable[[], None] = lambda: None
        self._interval_s = self._next_interval_s = float("inf")
        self._warnings = Warnings(notice, clock)
        self._refused: set[Log] = set()
        self._tasks: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        self._sequence = itertools.count()
        self._wake = threading.Condition()
        self._idle = False
        self._closing = False
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        """Start the thread: only once nothing in this process will fork any more."""
        self._thread.start()

    @property
    def started(self) -> bool:
        """Whether the thread was started, ever."""
        return self._thread.ident is not None

    def dirty(self, spool: Log) -> None:
        """This log has a backlog. Queued once, however often it is said."""
        if not spool.queued:
            spool.queued = True
            self._memory.take(0, entries=1)
            self._put(spool)

    def finish(self, task: Finish) -> None:
        """Nothing more will come for this log; `report` tells it once looked at, and again when it is on disk."""
        self._put(task)

    def remove(self, path: Path) -> None:
        """Unlink a file, without report."""
        self._put(Removal(path))

    def every(self, interval_s: float, callback: Callable[[], None]) -> None:
        """Call back in the disk thread at this interval, between two turns."""
        self._at_intervals, self._interval_s = callback, interval_s
        self._next_interval_s = self._clock()
        with self._wake:
            self._wake.notify()

    def close(self) -> None:
        """Finish what is queued, or give up what the disk refuses; then end the thread. Blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if not self.started:
            while self._turn():
                pass
        else:
            self._thread.join()

    def step(self) -> float | None:
        """
        Do one task.

        Returns:
            Seconds until the next one is due: 0 for now, None when there is none.
        """
        now_s = self._clock()
        if now_s >= self._next_interval_s:
            self._next_interval_s = now_s + self._interval_s
            self._guarded(self._at_intervals)
        while self._later and (self._abandoned or self._later[0][0] <= now_s):
            self._tasks.append(heapq.heappop(self._later)[2])
        try:
            task = self._tasks.popleft()
        except IndexError:
            return self._due_in_s()
        if not self._guarded(lambda: self._do(task)):
            self._again(task)
        return 0.0

    def _guarded(self, act: Callable[[], object]) -> bool:
        """Whether it went well. Whatever goes wrong: without this thread no job would ever end."""
        try:
            act()
        except Exception as error:
            self._warnings.warn("a log is not taken care of: it is tried again", why=f"{type(error).__name__}: {error}")
            return False
        return True

    def _due_in_s(self) -> float | None:
        due_s = min(self._next_interval_s, self._later[0][0] if self._later else float("inf"))
        return None if due_s == float("inf") else max(0.0, due_s - self._clock())

    def _put(self, task: Task) -> None:
        self._tasks.append(task)
        # Taking the lock costs more than a deque's append: only when the thread may be asleep.
        if self._idle:
            with self._wake:
                self._wake.notify()

    def _run(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """A step, or the wait for one; whether there can be another."""
        if self.step() == 0.0:
            return True
        with self._wake:
            self._idle = True
            if not self._tasks:
                if self._closing:
                    if not self._later:
                        return False
                    self._abandoned = True  # one last try, now
                else:
                    self._wake.wait(self._due_in_s())
            self._idle = False
        return True

    def _again(self, task: Task) -> None:
        """What the disk refuses waits by itself: the other jobs' logs go on."""
        if not self._abandoned:
            heapq.heappush(self._later, (self._clock() + RETRY_S, next(self._sequence), task))

    def _do(self, task: Task) -> None:
        match task:
            case Finish():
                task.work_left = task.work is not None and not _remove_empty(task.work)
                if not self._store(task.spool, last=True):
                    self._again(task)
                elif task.spool.backlog_bytes:
                    self._put(task)
                else:
                    task.spool.close_file()
                    self._note(task)
                    task.stored = True
                self._report(task)
            case Removal():
                try:
                    os.unlink(task.path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    self._warnings.warn("cannot remove a file", path=str(task.path), why=error.strerror or str(error))
            case _ if self._can_wait(task):
                heapq.heappush(self._later, (task.not_before_s, next(self._sequence), task))
            case _:
                task.not_before_s = self._clock() + PACE_S
                # Cleared first: bytes that arrive during the write queue it again.
                task.queued = False
                if self._store(task, last=False):
                    self._memory.give(0, entries=1)
                    if task.backlog_bytes:
                        self.dirty(task)
                else:
                    task.not_before_s = self._clock() + RETRY_S
                    if task.queued:  # again, by what came meanwhile
                        self._memory.give(0, entries=1)
                    else:
                        task.queued = True
                        self._again(task)
                self._report(task)

    def _can_wait(self, log: Log) -> bool:
        soon = log.backlog_bytes < PACE_BYTES or log in self._refused
        return soon and not self._closing and log.not_before_s > self._clock()

    def _store(self, log: Log, *, last: bool) -> bool:
        """Whether the disk took what was asked of it."""
        began_s = self._clock()
        before, held = log.stored_bytes, log.given_back_bytes
        refused = "log stays in memory: the disk refuses it"
        try:
            if log.backlog_bytes:
                fair_bytes = ROUND_BYTES // (len(self._tasks) + 1)
                log.store(min(self._turn_bytes, max(fair_bytes, _LEAST_TURN_BYTES)))
                self._metrics.batches += 1
            if self._fsync is Fsync.ALWAYS or (last and self._fsync is Fsync.END and not log.backlog_bytes):
                refused = "log may not survive the machine: the disk does not sync it"
                log.sync()
                self._metrics.syncs += 1
        except OSError as error:
            self._metrics.write_errors += 1
            self._refused.add(log)
            self._warnings.warn(refused, path=str(log.path), why=_why(error, log.path))
            return False
        finally:
            self._memory.give(log.given_back_bytes - held)
            self._metrics.stored_bytes += log.stored_bytes - before
            took_s = self._clock() - began_s
            self._metrics.writes.add(took_s)
            self._adapt_turn(log.stored_bytes - before, took_s)
        if self._refused:
            self._refused.discard(log)
            if self._refused:
                return True
            self._warnings.over()
            self._notice(Notice("INFO", "the disk takes logs again"))
        return True

    def _adapt_turn(self, stored_bytes: int, took_s: float) -> None:
        if stored_bytes >= self._turn_bytes and took_s < _SHORT_TURN_S:
            self._turn_bytes = min(2 * self._turn_bytes, self._largest_turn_bytes)
        elif took_s > _LONG_TURN_S:
            self._turn_bytes = max(self._turn_bytes // 2, min(TURN_BYTES, self._largest_turn_bytes))

    def _note(self, task: Finish) -> None:
        if task.note_path is None:
            return
        try:
            # Not O_CREAT: where init could not write its record, there is nothing to be told to a successor.
            fd = open_regular(task.note_path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, task.note)
            finally:
                os.close(fd)
        except OSError as error:
            self._warnings.warn(
                "cannot write a status file", path=str(task.note_path), why=error.strerror or str(error)
            )


def _why(error: OSError, path: Path) -> str:
    """In the kernel's words, and which file they are of when it is another one."""
    words = error.strerror or str(error)
    return words if error.filename in (None, str(path), path) else f"{words}: {error.filename}"


def _remove_empty(folder: Path) -> bool:
    """Whether the folder is gone."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
