"""
The pipe of one job's output.

Runs in: supervisor. May not: import outside the standard library.
Source: pipe(7), fcntl(2) F_SETPIPE_SZ.
"""

import contextlib
import fcntl
import os
from enum import Enum
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031  # <fcntl.h>


class Pumped(Enum):
    """What a pump found."""

    MORE = "the pipe held as much as was asked for"
    DRAINED = "the pipe is empty for now"
    REFUSED = "there is no memory for what the pipe holds"
    ENDED = "every writer is gone and the pipe is empty"


def output_pipe() -> tuple[int, int]:
    """
    (read end, write end) of a job's output pipe, 1 MiB where the kernel allows it.

    The read end never blocks; the write end blocks the job when the pipe is full, as any pipe does.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_fd, False)
    # Beyond /proc/sys/fs/pipe-user-pages-soft the default of 64 KiB only costs speed.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(write_fd, _F_SETPIPE_SZ, PIPE_BYTES)
    return read_fd, write_fd
