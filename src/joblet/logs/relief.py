"""
The overflow thread: when memory runs short, it moves waiting blocks elsewhere, one at a time.

The log that holds the most comes first. What cannot be moved stays, and its job waits in the end: that is `alert`.

Runs in: a thread of whoever owns an `AsyncLogSystem`; in tests `step` by step. May not: touch a job or the epoll;
import outside the standard library.
Source: API specification, "Version 2.11.0".
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from joblet.logs.memory import Memory
from joblet.logs.metrics import Metrics
from joblet.logs.notices import Notice, Warnings
from joblet.logs.overflow import RELIEF_AT, Overflow, Policy
from joblet.logs.writer import RETRY_S

# Below the mark by so much of the limit, before it rests again.
_REST_BELOW: Final = 1 / 16


class Relievable(Protocol):
    """What the overflow thread needs of a log: `Spool` and `RecordSpool` are such."""

    @property
    def memory_bytes(self) -> int:
        """What it holds."""
        ...

    def relieve(self, policy: Policy) -> int | None:
        """Move one block; what that gave back, None when there is no block to move."""
        ...


class Relief:
    """
    Keeps memory below the mark of a strategy, as far as there are blocks to move.

    Args:
        given_back: Called in the overflow thread when there is more memory: jobs may wait for it.
        notice: Called in the overflow thread with a line for the server log, at most once in 30 s.
    """

    def __init__(
        self,
        memory: Memory,
        policy: Policy,
        metrics: Metrics,
        given_back: Callable[[], None],
        notice: Callable[[Notice], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._memory = memory
        self._policy = policy
        self._metrics = metrics
        self._given_back = given_back
        self._clock = clock
        share = RELIEF_AT.get(policy.overflow, 2.0)
        self._mark_bytes = int(memory.limit_bytes * share)
        self._rest_bytes = int(memory.limit_bytes * (share - _REST_BELOW))
        self._logs: dict[Relievable, None] = {}
        self._nothing_to_move: set[Relievable] = set()
        self._warnings = Warnings(notice, clock)
        self._failed_s = -RETRY_S
        self._wanted = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="overflow", daemon=True)

    @property
    def needed(self) -> bool:
        """Whether memory is so short that blocks are to be moved."""
        return self._memory.held_bytes > self._mark_bytes

    def start(self) -> None:
        """Start the thread, where the strategy has something to do."""
        if self._policy.overflow is not Overflow.ALERT:
            self._thread.start()

    def add(self, log: Relievable) -> None:
        """One more log whose blocks may be moved."""
        self._logs[log] = None

    def discard(self, log: Relievable) -> None:
        """Not this one any more."""
        self._logs.pop(log, None)

    def want(self) -> None:
        """Memory is short: look."""
        if not self._wanted.is_set():
            self._wanted.set()

    def close(self) -> None:
        """End the thread. Blocks until the block under way is moved."""
        self._closing = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()

    def step(self) -> bool:
        """Move one block; whether it is worth to go on at once."""
        if self._memory.held_bytes <= self._rest_bytes or self._clock() - self._failed_s < RETRY_S:
            return False
        logs = [log for log in list(self._logs) if log not in self._nothing_to_move]
        if not logs:
            return False
        log = max(logs, key=lambda each: each.memory_bytes)
        try:
            freed = log.relieve(self._policy)
        except Exception as error:  # whatever it is: this thread must go on, and the block is where it was
            self._failed_s = self._clock()
            self._warnings.warn("the overflow path takes no more: jobs wait for the disk", why=str(error))
            return False
        if freed is None:
            self._nothing_to_move.add(log)
        elif freed:
            self._memory.give(freed)
            self._given_back()
            self._count(freed)
        return True

    def _run(self) -> None:
        while not self._closing:
            # Short of memory with a disk that stands still, nobody else would ask again.
            short = self._memory.held_bytes > self._rest_bytes
            self._wanted.wait(RETRY_S if short else None)
            self._wanted.clear()
            self._nothing_to_move.clear()
            while not self._closing and self.step():
                pass

    def _count(self, freed_bytes: int) -> None:
        metrics = self._metrics
        metrics.moved_bytes += freed_bytes
        match self._policy.overflow:
            case Overflow.COMPRESS:
                metrics.compressed_blocks += 1
            case Overflow.SPILL:
                metrics.spilled_blocks += 1
            case Overflow.SAMPLE:
                metrics.dropped_blocks += 1
                metrics.dropped_bytes += freed_bytes
        held = str(self._memory.held_bytes)
        self._warnings.warn("log memory is short", strategy=self._policy.overflow.value, heldBytes=held)
