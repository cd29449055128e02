"""
Ctrl-C: the first ends what is under way in order, the second ends the process at once.

Runs in: the terminal of whoever tests a server; does nothing but in the main thread, which alone gets signals.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

from joblet_conformance.main import INTERRUPTED

STOPPING: Final = "\njoblet-conformance: interrupted; stopping what was started (Ctrl-C again leaves it running)\n"
ENDING: Final = "\njoblet-conformance: interrupted; writing the reports (Ctrl-C again leaves them unwritten)\n"


class Interruption:
    """
    Takes SIGINT while the block lasts, and once it has come, until the process ends.

    Attributes:
        came: The first has come.
    """

    def __init__(self) -> None:
        self.came = False
        self._end: Callable[[], object] | None = None
        self._words = STOPPING

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._come)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Else the process is about to end: the second still ends it at once, without a traceback.
        if not self.came and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)

    @contextlib.contextmanager
    def cancels(self, task: asyncio.Task[Any]) -> Iterator[None]:
        """While the block lasts, the first cancels this task, instead of a KeyboardInterrupt; then it is only noted."""
        loop, lasts = task.get_loop(), True

        def cancel() -> None:
            if lasts:
                task.cancel()

        self._end, self._words = lambda: loop.call_soon_threadsafe(cancel), STOPPING
        try:
            yield
        finally:
            lasts = False
            self._end, self._words = lambda: None, ENDING

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            os._exit(INTERRUPTED)  # whatever threads still do
        self.came = True
        if self._end is None:
            raise KeyboardInterrupt
        # print is not reentrant, and there may be nobody who reads.
        with contextlib.suppress(OSError, ValueError):
            if sys.__stderr__ is not None:
                os.write(sys.__stderr__.fileno(), self._words.encode())
        self._end()
