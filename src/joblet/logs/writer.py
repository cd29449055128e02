"""
The disk thread: the one place of the supervisor that waits for a disk.

Spools with a backlog take turns, a few MiB each, so that one noisy job cannot starve the
others. A write that fails is tried again later, with everything still in memory.

Runs in: supervisor, in a thread of its own. May not: touch a job, a descriptor of the loop or
the epoll; import outside the standard library.
"""

import heapq
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from joblet.logs.spool import Spool

TURN_BYTES: Final = 4 * 1024 * 1024
RETRY_S: Final = 0.5
WARN_INTERVAL_S: Final = 30.0


class Finish:
    """
    The last task for a job's spool: all of it to disk, the file closed, its work folder removed if empty.

    Args:
        work: The job's work folder.
        note_path: A file that gets a last line once the log is on disk; None for none.
        note: That line.
    """

    __slots__ = ("note", "note_path", "spool", "stored", "work", "work_left")

    def __init__(self, spool: Spool, work: Path, note_path: Path | None, note: bytes) -> None:
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


Task = Spool | Finish | Removal


class Writer:
    """
    Writes spools to their files in a thread, and tells the loop through a descriptor.

    Args:
        warn: Called in the disk thread with words for the server log, at most once in 30 s.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned_s = -WARN_INTERVAL_S
        self._tasks: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
        self._sequence = itertools.count()
        self._done: deque[Spool | Finish] = deque()
        self._wake = threading.Condition()
        self._idle = False
        self._closing = False
        self._abandoned = False
        self.event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        """Start the thread: only once nothing in this process will fork any more."""
        self._thread.start()

    def dirty(self, spool: Spool) -> None:
        """This spool has a backlog. Queued once, however often it is said."""
        if not spool.queued:
            spool.queued = True
            self._put(spool)

    def finish(self, task: Finish) -> None:
        """Nothing more will come for this spool; `done` reports it once looked at, and again when it is all on disk."""
        self._put(task)

    def remove(self, path: Path) -> None:
        """Unlink a file, without report."""
        self._put(Removal(path))

    def done(self) -> list[Spool | Finish]:
        """What made progress since the last call; `event_fd` becomes readable when there is something."""
        try:
            os.eventfd_read(self.event_fd)
        except BlockingIOError:
            return []
        found = []
        while self._done:
            found.append(self._done.popleft())
        return found

    def close(self) -> None:
        """Finish what is queued, or give up what the disk refuses; then end the thread. Blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        os.close(self.event_fd)

    def _put(self, task: Task) -> None:
        self._tasks.append(task)
        # Taking the lock costs more than a deque's append: only when the thread may be asleep.
        if self._idle:
            with self._wake:
                self._wake.notify()

    def _run(self) -> None:
        while True:
            if self._later:
                self._take_due()
            try:
                task = self._tasks.popleft()
            except IndexError:
                if not self._sleep():
                    return
                continue
            self._do(task)

    def _sleep(self) -> bool:
        """Until there may be something to do; whether there can be."""
        with self._wake:
            self._idle = True
            while not self._tasks:
                if self._closing:
                    if not self._later:
                        return False
                    self._abandoned = True  # one last try, now
                    break
                wait_s = max(0.0, self._later[0][0] - time.monotonic()) if self._later else None
                if not self._wake.wait(wait_s):
                    break
            self._idle = False
        return True

    def _take_due(self) -> None:
        now_s = time.monotonic()
        while self._later and (self._abandoned or self._later[0][0] <= now_s):
            self._tasks.append(heapq.heappop(self._later)[2])

    def _again(self, task: Task) -> None:
        """What the disk refuses waits by itself: the other jobs' logs go on."""
        if not self._abandoned:
            heapq.heappush(self._later, (time.monotonic() + RETRY_S, next(self._sequence), task))

    def _do(self, task: Task) -> None:
        match task:
            case Spool():
                # Cleared first: bytes that arrive during the write queue it again.
                task.queued = False
                if not self._store(task):
                    task.queued = True
                    self._again(task)
                elif task.backlog_bytes:
                    self.dirty(task)
                self._report(task)
            case Finish():
                task.work_left = not _remove_empty(task.work)
                if not self._store(task.spool):
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
                    self._warn_once(f"cannot remove {task.path}: {error.strerror}")

    def _report(self, what: Spool | Finish) -> None:
        self._done.append(what)
        os.eventfd_write(self.event_fd, 1)

    def _store(self, spool: Spool) -> bool:
        """Whether the disk took what was asked of it."""
        if not spool.backlog_bytes:
            return True
        try:
            spool.store(TURN_BYTES)
        except OSError as error:
            self._warn_once(f"cannot write the log {spool.path}: {error.strerror}; it stays in memory for now")
            return False
        return True

    def _note(self, task: Finish) -> None:
        if task.note_path is None:
            return
        try:
            # Not O_CREAT: where init could not write its record, there is nothing to be told to a successor.
            fd = os.open(task.note_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                os.write(fd, task.note)
            finally:
                os.close(fd)
        except OSError as error:
            self._warn_once(f"cannot write {task.note_path}: {error.strerror}")

    def _warn_once(self, words: str) -> None:
        now = time.monotonic()
        if now - self._warned_s >= WARN_INTERVAL_S:
            self._warned_s = now
            self._warn(words)


def _remove_empty(folder: Path) -> bool:
    """Whether the folder is gone."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
