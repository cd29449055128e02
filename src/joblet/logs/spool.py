"""
One job's output between the job and the disk: its pipe, then a memfd, never a buffer of ours.

`splice` takes from the pipe exactly what it has put into the memfd, so a supervisor killed at
any instruction has neither lost nor repeated a byte; the memfd lives on in the job's init.
An offset in the memfd is an offset in the log, and the size of the file is what is on disk:
nothing else needs to be remembered.

Runs in: supervisor (`pump`), its disk thread (`store`). May not: block in `pump`, import outside
the standard library.
Source: splice(2), memfd_create(2), sendfile(2), fallocate(2).
"""

import ctypes
import errno
import os
from enum import Enum
from pathlib import Path
from typing import Final

PIPE_BYTES: Final = 1024 * 1024
_SPLICE_NONBLOCK: Final = 0x02  # <fcntl.h> SPLICE_F_NONBLOCK
_F_SETPIPE_SZ: Final = 1031  # <fcntl.h>
_FALLOC_FL_KEEP_SIZE: Final = 0x01  # <linux/falloc.h>
_FALLOC_FL_PUNCH_HOLE: Final = 0x02  # <linux/falloc.h>

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Pumped(Enum):
    """What a pump found."""

    MORE = "the pipe held as much as was asked for"
    DRAINED = "the pipe is empty for now"
    ENDED = "every writer is gone and the pipe is empty"


def memory_file(job_id: str) -> int:
    """A memfd for one job's spool, close-on-exec."""
    return os.memfd_create(f"joblet-log-{job_id}", os.MFD_CLOEXEC)


def output_pipe() -> tuple[int, int]:
    """
    (read end, write end) of a job's output pipe, 1 MiB where the kernel allows it.

    The read end never blocks; the write end blocks the job when the pipe is full, as any pipe does.
    """
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_fd, False)
    try:
        import fcntl

        fcntl.fcntl(write_fd, _F_SETPIPE_SZ, PIPE_BYTES)
    except PermissionError:
        pass  # beyond /proc/sys/fs/pipe-user-pages-soft the default of 64 KiB only costs speed
    return read_fd, write_fd


class Spool:
    """
    The output of one job.

    Args:
        pipe_fd: Read end of the job's output pipe, non-blocking; -1 when it is gone (the init of a
            job that ended unwatched was killed: only the file is left).
        memory_fd: The job's memfd; -1 likewise.
        path: The log file; created by the first byte.
    """

    __slots__ = ("_file_fd", "ended", "memory_fd", "path", "pipe_fd", "queued", "received_bytes", "stored_bytes")

    def __init__(self, pipe_fd: int, memory_fd: int, path: Path) -> None:
        self.pipe_fd = pipe_fd
        self.memory_fd = memory_fd
        self.path = path
        self._file_fd = -1
        self.stored_bytes = path.stat().st_size if path.exists() else 0
        # A successor goes on where the memfd ends; a new job's is empty.
        self.received_bytes = os.fstat(memory_fd).st_size if memory_fd >= 0 else self.stored_bytes
        self.ended = pipe_fd < 0
        self.queued = False

    @property
    def backlog_bytes(self) -> int:
        """Held in memory only."""
        return self.received_bytes - self.stored_bytes

    def pump(self, most_bytes: int = PIPE_BYTES) -> Pumped:
        """Move what the pipe holds into the memfd, at most `most_bytes`."""
        if self.ended:
            return Pumped.ENDED
        moved = 0
        while moved < most_bytes:
            try:
                count = os.splice(
                    self.pipe_fd,
                    self.memory_fd,
                    most_bytes - moved,
                    offset_dst=self.received_bytes,
                    flags=_SPLICE_NONBLOCK,
                )
            except BlockingIOError:
                return Pumped.DRAINED
            if count == 0:
                self.ended = True
                return Pumped.ENDED
            self.received_bytes += count
            moved += count
        return Pumped.MORE

    def store(self, most_bytes: int) -> int:
        """
        Write up to `most_bytes` of the backlog to the file. Called by the disk thread only; may block.

        Returns:
            Bytes written.

        Raises:
            OSError: Nothing is lost: what was written is counted, the rest stays in memory.
        """
        if self._file_fd < 0:
            # Not O_APPEND: sendfile refuses such a target with EINVAL.
            self._file_fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.lseek(self._file_fd, self.stored_bytes, os.SEEK_SET)
        wanted = min(most_bytes, self.backlog_bytes)
        before = self.stored_bytes
        while wanted > 0:
            count = os.sendfile(self._file_fd, self.memory_fd, self.stored_bytes, wanted)
            if count == 0:
                raise OSError(errno.EIO, "the log's memory ended early", str(self.path))
            self.stored_bytes += count
            wanted -= count
        self._punch(before)
        return self.stored_bytes - before

    def _punch(self, from_bytes: int) -> None:
        """Give the memory of what is on disk back to the machine, whole pages behind the write position."""
        page = 4096
        first = from_bytes // page * page
        last = self.stored_bytes // page * page
        if last > first and _libc.fallocate(
            self.memory_fd, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, first, last - first
        ):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"fallocate(PUNCH_HOLE) on the spool of {self.path}")

    def close_file(self) -> None:
        """Close the log file. Called by the disk thread only."""
        if self._file_fd >= 0:
            os.close(self._file_fd)
            self._file_fd = -1

    def close(self) -> None:
        """Close the pipe and the memory; the file is the disk thread's."""
        for fd in (self.pipe_fd, self.memory_fd):
            if fd >= 0:
                os.close(fd)
        self.pipe_fd = self.memory_fd = -1
        self.ended = True
