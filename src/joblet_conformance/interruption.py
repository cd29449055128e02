"""
Ctrl-C: the first ends what is under way in order, the second ends the process at once.

Runs in: the terminal of whoever tests a server; does nothing but in the main thread, which alone gets signals.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final, Self

INTERRUPTED: Final = 130
WORDS: Final = "\njoblet-conformance: interrupted; stopping what was started (Ctrl-C again leaves it running)\n"


class Interruption:
    """
    Takes SIGINT while the block lasts, and once it has come, until the process ends.

    Attributes:
        came: The first has come.
    """

    def __init__(self) -> None:
        self.came = False
        self._ends: Callable[[], object] | None = None

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

    def ends(self, end: Callable[[], object]) -> None:
        """What the first one does; without it, a KeyboardInterrupt."""
        self._ends = end

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            os._exit(INTERRUPTED)  # whatever threads still do
        self.came = True
        if self._ends is None:
            raise KeyboardInterrupt
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, WORDS.encode())  # print is not reentrant
        self._ends()
