"""
How the C library's allocator treats the memory of pieces of logs, which are taken and freed by the thousand.

As glibc is set at first, memory of this size goes back to the kernel whenever it is freed and comes again as pages that
are zeroed one fault at a time: a reader of 256 MiB had 40,000 faults, and that was a quarter of all the CPU time that
server and reader needed for it (`nox -s bench -- logs --part=readers`).

Runs in: server loop; the user's terminal. May not: be called by a library, for the whole process is affected.
Source: mallopt(3), malloc_trim(3) (glibc 2.8).
"""

import ctypes
from collections.abc import Callable
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # <malloc.h>
_M_MMAP_THRESHOLD: Final = -3

# Several pieces on their way at once, and each of them: a piece is at most 1 MiB, a message of gRPC at most 4 MiB.
KEPT_BYTES: Final = 16 * 1024 * 1024
PIECES_UP_TO_BYTES: Final = 4 * 1024 * 1024


def keep_freed_memory() -> bool:
    """
    From now on hold freed pieces back for the next ones; whether this C library can.

    At most KEPT_BYTES at the top of each arena. What lies below memory in use stays too, as it always does, until
    `give_back`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # not glibc (musl has no such thing), which only costs speed
    # Setting either also ends glibc's own adjusting of both.
    return bool(mallopt(_M_MMAP_THRESHOLD, PIECES_UP_TO_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))


def giving_back() -> Callable[[], object]:
    """What gives all freed memory back to the kernel, in some milliseconds; it does nothing without glibc."""
    try:
        malloc_trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return lambda: None
    return lambda: malloc_trim(0)
