"""
A job's output pipe in the loop: emptied into its spool, as long as there is memory for more.

Runs in: supervisor. May not: block, import outside the standard library.
Source: epoll(7), pipe(7).
"""

from collections.abc import Callable
from typing import Final

from joblet.logs.pipe import Pumped
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem
from joblet.supervisor.loop import READABLE, Loop, Timer

_ONESHOT: Final = 1 << 30  # <sys/epoll.h> EPOLLONESHOT
# A pipe that held less than this is left alone for a moment: a job that prints a line at a time would
# otherwise wake the loop for each line. 1 ms of 100-byte lines is 180 KB of a 1 MiB pipe.
_BUSY_BYTES: Final = 64 * 1024
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

    def finish(self) -> None:
        """Take what is left in the pipe of a job that can write no more."""
        while self._pump()[0] is Pumped.MORE:
            pass
        self.stop()

    def _readable(self, _events: int) -> None:
        if not self._logs.may_receive(self.spool):
            self._held(self)
            return
        pumped, moved_bytes = self._pump()
        if pumped is Pumped.ENDED:
            self.stop()
        elif moved_bytes >= _BUSY_BYTES:
            self.resume()
        else:
            self._rest = self._loop.after(_REST_S, self.resume)

    def _pump(self) -> tuple[Pumped, int]:
        before = self.spool.received_bytes
        pumped = self.spool.pump()
        moved_bytes = self.spool.received_bytes - before
        self._logs.received(self.spool, moved_bytes)
        return pumped, moved_bytes
