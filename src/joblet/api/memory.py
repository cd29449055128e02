"""
Gives memory back to the kernel that a burst of streams has left with the allocator.

glibc keeps freed memory in the arenas of the threads that used it: after 20 readers of 1 MiB pieces the
process stays 95 MB larger for ever, with not one of those bytes in use. malloc_trim(3) returns it. The usual
alternative, a low M_MMAP_THRESHOLD, costs page faults with every piece of every log (see `joblet.allocator`).

Runs in: server loop; the trim itself, a few milliseconds, in a thread.
Source: malloc_trim(3) (glibc 2.8).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from joblet.allocator import giving_back
from joblet.serverlog import ServerLog

DELAY_S: Final = 5.0


class Trimming:
    """
    Trims once, some time after the first of several streams that ended.

    Args:
        trim: Blocks for a moment; called in a thread.
    """

    def __init__(self, log: ServerLog, trim: Callable[[], object] | None = None, delay_s: float = DELAY_S) -> None:
        self._log = log
        self._trim = trim or giving_back()
        self._delay_s = delay_s
        self._soon: asyncio.TimerHandle | None = None

    def stream_ended(self) -> None:
        """There may be something to give back."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self._delay_s, self._now)

    def close(self) -> None:
        """Not any more."""
        if self._soon is not None:
            self._soon.cancel()

    def _now(self) -> None:
        self._soon = None
        asyncio.get_running_loop().run_in_executor(None, self._give_back)

    def _give_back(self) -> None:
        self._trim()
        self._log.debug("memory given back")
