"""
An hour in no time: an event loop whose clock jumps to the next timer once nothing else is ready.

Where that stops being true: threads and sockets. The clock does not know that somebody outside
the loop is still at work, and jumps; so under virtual time nothing runs in a thread, and tests
of the wire use real time.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

SECOND_NS: Final = 1_000_000_000
# 2024-01-15T10:30:00Z, the specification's favourite moment: when every virtual loop begins.
EPOCH_NS: Final = 1_705_314_600 * SECOND_NS

T = TypeVar("T")


class Jumping(selectors.DefaultSelector):
    """
    Never waits: when no I/O is ready, virtual time moves to the next timer.

    Args:
        jump: Called with the seconds to the next timer.
    """

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now. Raises AssertionError when nothing ever could be: a test that would hang."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("every task waits and no timer is set: this test would hang")
        if not ready and timeout is not None and timeout > 0:
            self._jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, counted in whole nanoseconds so that `==` on times is honest."""

    def __init__(self) -> None:
        self.elapsed_ns = 0
        super().__init__(Jumping(self._jump))
        # How far a timer may fire early; the default is the real clock's.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.elapsed_ns / SECOND_NS

    def _jump(self, seconds: float) -> None:
        self.elapsed_ns += max(1, round(seconds * SECOND_NS))


class VirtualClock:
    """`ports.Clock` of the running VirtualLoop."""

    def now_ns(self) -> int:
        """See `ports.Clock`."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "virtual time needs joblet.testing.clock.run"
        return EPOCH_NS + loop.elapsed_ns


class SystemClock:
    """`ports.Clock` of this machine, for fakes in tests that use real time."""

    def now_ns(self) -> int:
        """See `ports.Clock`."""
        return time.time_ns()


async def pass_time(seconds: float) -> None:
    """Let so much virtual time pass, and everything happen that is due in it."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop), "real time passes by itself: await an event"
    await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine to its end on virtual time.

    Raises:
        AssertionError: Every task waits for something that can never happen.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
