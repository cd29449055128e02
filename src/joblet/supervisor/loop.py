"""
The supervisor's one loop: descriptors that became ready and timers that came due, one callback at a time.

Runs in: supervisor. May not: block anywhere but in `epoll_wait`, import outside the standard library.
Source: epoll(7).
"""

import heapq
import itertools
import select
import time
from collections.abc import Callable
from typing import Final

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
_BATCH: Final = 256
_FEW: Final = 256
_LONGEST_WAIT_S: Final = 3600.0  # epoll_wait counts milliseconds in an int: 24.8 days, less than a job may run


class Timer:
    """A callback at a moment; `cancel` makes it never happen."""

    __slots__ = ("_callback", "_loop", "at_s")

    def __init__(self, loop: "Loop", at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self._loop = loop
        self._callback: Callable[[], None] | None = callback

    @property
    def waits(self) -> bool:
        """Whether it has neither happened nor been cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Forget the callback; harmless when it has happened."""
        if self._callback is not None:
            self._callback = None
            self._loop.timer_cancelled()

    def fire(self) -> None:
        """Call back, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Loop:
    """
    epoll with callbacks and timers.

    A descriptor is watched until `forget`; forget it *before* closing it, since epoll keeps
    reporting a file description that another process still holds.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._sequence = itertools.count()
        self._cancelled = 0
        self._running = True

    def watch(self, fd: int, callback: Callable[[int], None], events: int = READABLE) -> None:
        """Call `callback(events)` whenever `fd` is ready. With EPOLLONESHOT, once per `rearm`."""
        self._callbacks[fd] = callback
        self._epoll.register(fd, events)

    def rearm(self, fd: int, events: int) -> None:
        """Change what is waited for on a watched descriptor."""
        self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; harmless when it is not watched."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call back once, after a delay in seconds of monotonic time (whole milliseconds, rounded up)."""
        timer = Timer(self, time.monotonic() + delay_s, callback)
        heapq.heappush(self._timers, (timer.at_s, next(self._sequence), timer))
        return timer

    @property
    def timers(self) -> int:
        """Timers held, cancelled ones not yet dropped among them."""
        return len(self._timers)

    def timer_cancelled(self) -> None:
        """Drop cancelled timers once they are the most: at 100 jobs/s with an hour's timeout they held 67 MB."""
        self._cancelled += 1
        if self._cancelled > _FEW and self._cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].waits]
            heapq.heapify(self._timers)
            self._cancelled = 0

    def stop(self) -> None:
        """Leave `run` after the callback under way."""
        self._running = False

    def run(self) -> None:
        """Serve until `stop`."""
        while self._running:
            # A descriptor forgotten by an earlier callback of the same batch must stay silent.
            for fd, events in self._epoll.poll(self._next_timeout_s(), _BATCH):
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback(events)
            self._fire_due()

    def _next_timeout_s(self) -> float:
        if not self._timers:
            return -1
        return min(max(0.0, self._timers[0][0] - time.monotonic()), _LONGEST_WAIT_S)

    def _fire_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.waits:
                timer.fire()
            else:
                self._cancelled -= 1
