"""
The memory that all logs of one system share, and how much of it one of them may hold.

A log may take more while it holds at most SHARE times what is then free: alone eight ninths of the limit, as one of n
noisy logs its nth part of nearly all, and as a quiet log among noisy ones always something, since something is always
free. No list of logs has to be looked through for it.

Runs in: every thread of an `AsyncLogSystem`. May not: wait anywhere but in `wait_for_share`.
Source: dynamic queue length thresholds, A. K. Choudhury and E. L. Hahne, IEEE/ACM ToN 6(2), 1998.
"""

import threading
from collections.abc import Callable
from typing import Final

SHARE: Final = 8
DEFAULT_LIMIT_BYTES: Final = 1024 * 1024 * 1024
DEFAULT_QUEUE_MAX: Final = 100_000


class Memory:
    """
    Bytes and queue entries in use.

    Args:
        limit_bytes: Of all logs together.
        queue_max: Logs, and blocks of in-process producers, that may wait for the disk.

    Attributes:
        held_bytes, entries: In use now.
        peak_bytes: The most there ever was.
    """

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES, queue_max: int = DEFAULT_QUEUE_MAX) -> None:
        for name, number in (("limit_bytes", limit_bytes), ("queue_max", queue_max)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        self.limit_bytes = limit_bytes
        self.queue_max = queue_max
        self.held_bytes = 0
        self.peak_bytes = 0
        self.entries = 0
        self._changed = threading.Condition(threading.Lock())
        self._waiting = 0

    def take(self, size_bytes: int, entries: int = 0) -> None:
        """So much more is held."""
        with self._changed:
            self.held_bytes += size_bytes
            self.entries += entries
            self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def give(self, size_bytes: int, entries: int = 0) -> None:
        """So much less is held."""
        with self._changed:
            self.held_bytes -= size_bytes
            self.entries -= entries
            if self._waiting:
                self._changed.notify_all()

    def may_take(self, held_bytes: int, more_bytes: int) -> bool:
        """Whether a log that holds so much may take so much more."""
        free = self.limit_bytes - self.held_bytes - more_bytes
        return self.entries < self.queue_max and held_bytes <= SHARE * free

    def may_resume(self, held_bytes: int, more_bytes: int) -> bool:
        """Whether a log that had to wait may take so much more: later than it had to begin to, or it would flutter."""
        if self.entries > self.queue_max // 8 * 7:
            return False
        free = self.limit_bytes - self.held_bytes - more_bytes
        if held_bytes == 0:  # what is larger than all memory comes through when it is alone
            return free >= 0 or self.held_bytes == 0
        return free >= self.limit_bytes // 8 and held_bytes <= SHARE // 2 * free

    def wait_for_share(self, held_bytes: Callable[[], int], more_bytes: int, given_up: Callable[[], bool]) -> None:
        """Wait until a log may take more, or has `given_up`."""
        with self._changed:
            self._waiting += 1
            try:
                while not given_up() and not self.may_resume(held_bytes(), more_bytes):
                    self._changed.wait()
            finally:
                self._waiting -= 1

    def wake(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            self._changed.notify_all()
