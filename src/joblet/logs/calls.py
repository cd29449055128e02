"""
The system calls that a log's bytes pass through: the place where a test lets the machine fail.

Runs in: every thread of an `AsyncLogSystem`. May not: import outside the standard library.
Source: splice(2), sendfile(2), fallocate(2).
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_FALLOC_FL_KEEP_SIZE: Final = 0x01  # <linux/falloc.h>
_FALLOC_FL_PUNCH_HOLE: Final = 0x02  # <linux/falloc.h>

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch_hole(fd: int, offset_bytes: int, size_bytes: int) -> None:
    """
    Give the memory, or the disk, behind a range back; the size of the file stays.

    Raises:
        OSError: The file system cannot.
    """
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    if size_bytes > 0 and _libc.fallocate(fd, mode, offset_bytes, size_bytes):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "fallocate(PUNCH_HOLE)")


def open_regular(path: Path | str, flags: int, mode: int = 0o600) -> int:
    """
    Open a file of ours. What somebody has put in its place, a link or a pipe that nobody writes, is neither followed
    nor waited for.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return fd


@dataclass(frozen=True, slots=True)
class Calls:
    """Each takes, returns and raises what its namesake in `os` does."""

    splice: Callable[..., int] = os.splice
    sendfile: Callable[..., int] = os.sendfile
    write: Callable[..., int] = os.write
    writev: Callable[..., int] = os.writev
    pwrite: Callable[..., int] = os.pwrite
    fdatasync: Callable[[int], Any] = os.fdatasync
    unlink: Callable[..., None] = os.unlink
    punch_hole: Callable[[int, int, int], None] = punch_hole


REAL: Final = Calls()
