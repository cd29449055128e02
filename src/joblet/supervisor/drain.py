"""
A job's output pipe in the loop: emptied into its spool, as long as there is memory for more.

Runs in: supervisor. May not: block, import outside the standard library.
Source: epoll(7), pipe(7).
"""

import time
from collections.abc import Callable
from typing import Final

from joblet.logs.pipe import Pumped
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem
from joblet.logs.writer import RETRY_S
from joblet.supervisor.loop import READABLE, Loop, Timer

_ONESHOT: Final = 1 << 30  # <sys/epoll.h> EPOLLONESHOT
# A job that prints less than this is left alone for a moment after each look: it would otherwise wake the loop for each
# line. In 1 ms so much is a quarter of the pipe.
_BUSY_BYTES_PER_S: Final = 256 * 1024 * 1000
_REST_S: Final = 0.001


class Drain:
    """
    Empties one pipe.

    Args:
        held: Called when there is no memory for more; it is for the owner to `resume`.
    """

    def __init__(self, loop: Loop, logs: AsyncLogSystem, spool: Spool, held: "Callable[[Drain], None]") -> None:
        self.spool = spool
        self._loop = loop
        self._logs = logs
        self._held = held
        self._rest: Timer | None = None
        self._stopped = False
        self._pumped_s = 0.0

    def start(self) -> None:
        """Watch the pipe, unless every writer is gone."""
        if not self.spool.ended:
            self._loop.watch(self.spool.pipe_fd, self._readable, READABLE | _ONESHOT)

    def resume(self) -> None:
        """There is memory again."""
        if not self._stopped and not self.spool.ended:
            self._loop.rearm(self.spool.pipe_fd, READABLE | _ONESHOT)

    def stop(self) -> None:
        """Leave the pipe alone."""
        self._stopped = True
        if self._rest is not None:
            self._rest.cancel()
        if self.spool.pipe_fd >= 0:
            self._loop.forget(self.spool.pipe_fd)

    def finish(self) -> bool:
        """Take what is left in the pipe of a job that can write no more; False when that must be tried again."""
        while (pumped := self._pump())[1]:
            pass
        if pumped[0] is Pumped.REFUSED:
            return False
        self.stop()
        return True

    def _readable(self, _events: int = 0) -> None:
        if not self._logs.may_receive(self.spool):
            self._held(self)
            return
        before_s, self._pumped_s = self._pumped_s, time.monotonic()
        pumped, moved_bytes = self._pump()
        if pumped is Pumped.ENDED:
            self.stop()
        elif pumped is Pumped.REFUSED:
            self._rest = self._loop.after(RETRY_S, self._readable)
        elif not moved_bytes or moved_bytes > _BUSY_BYTES_PER_S * (self._pumped_s - before_s):
            self.resume()
        else:
            self._rest = self._loop.after(_REST_S, self._readable)

    def _pump(self) -> tuple[Pumped, int]:
        before = self.spool.received_bytes
        try:
            pumped = self.spool.pump()
        except OSError as error:  # of the memory: the machine's, or that of a container, is used up
            self._logs.cannot_receive(self.spool, error)
            return Pumped.REFUSED, 0
        moved_bytes = self.spool.received_bytes - before
        self._logs.received(self.spool, moved_bytes)
        return pumped, moved_bytes
