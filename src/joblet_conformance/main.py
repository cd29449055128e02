"""
`joblet-conformance`: the entry, which is quiet when it is interrupted while everything else is being imported.

Runs in: the terminal of whoever tests a server. May not: import what takes long, but late.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
MISSING: Final = 2
LAST_OF_OURS: Final = 2  # standard error


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Entry point.

    Returns:
        The exit status.
    """
    _open_what_is_closed()
    try:
        return _command()(arguments)
    except ModuleNotFoundError as error:
        print(f"joblet-conformance: {error.name} is missing: pip install 'joblet[conformance]'", file=sys.stderr)
        return MISSING


def _command() -> Callable[[Sequence[str] | None], int]:
    """Import it, which takes a moment: Ctrl-C ends that without a traceback."""
    takes = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if takes and before is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    try:
        from joblet_conformance.command import command
    finally:
        if takes and before is signal.default_int_handler:
            signal.signal(signal.SIGINT, before)
    return command


def _open_what_is_closed() -> None:
    """A descriptor of ours that is closed (`>&-`) would be given to a connection, and be written to."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= LAST_OF_OURS:
        pass
    os.close(opened)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)  # an exception would be told by whatever is being imported


if __name__ == "__main__":
    raise SystemExit(main())
