"""
The memfd of one job's output: what lies where in it.

    0                                        BASE_BYTES                                        size
    [ compressed blocks │ spill path │ drops ][ stored: holes │ moved: holes │ in memory ]

Byte n of the output lies at BASE_BYTES + n, unless its block was moved (`overflow.py`): compressed, to offset n;
spilled, to offset n of a second file; dropped, then a record among the drops says so. What replaces a block is complete
before its memory goes, and the size is what the job has written: a successor of a killed supervisor needs nothing else.

Runs in: supervisor. May not: import outside the standard library.
Source: memfd_create(2), splice(2), sendfile(2), lseek(2) SEEK_DATA, fallocate(2).
"""

import errno
import os
import struct
from pathlib import Path
from typing import Final

from joblet.logs.calls import REAL, Calls
from joblet.logs.overflow import BLOCK_BYTES

# 1 TiB. Holes cost nothing, and a compressed block is smaller than what it stands for.
BASE_BYTES: Final = 1 << 40
PAGE_BYTES: Final = 4096
_SPLICE_NONBLOCK: Final = 0x02  # <fcntl.h> SPLICE_F_NONBLOCK
_DROPS_AT: Final = BASE_BYTES - (1 << 30)
_SPILL_PATH_AT: Final = _DROPS_AT - PAGE_BYTES
# Blocks beyond it have no place to be moved to; they stay in memory.
MOVABLE_BYTES: Final = _SPILL_PATH_AT
# Neither crosses a page, so it is written whole, whenever its writer is killed.
_DROP: Final = struct.Struct("<QQ")
_PACKED: Final = struct.Struct("<Q")


def memory_file(job_id: str) -> int:
    """A memfd for one job's output, close-on-exec."""
    fd = os.memfd_create(f"joblet-log-{job_id}", os.MFD_CLOEXEC)
    os.ftruncate(fd, BASE_BYTES)
    return fd


class LogMemory:
    """One job's memfd. Offsets are those of the output, in bytes."""

    __slots__ = ("_block_bytes", "_calls", "fd")

    def __init__(self, fd: int, block_bytes: int = BLOCK_BYTES, calls: Calls = REAL) -> None:
        self.fd = fd
        self._block_bytes = block_bytes
        self._calls = calls

    def duplicate(self) -> "LogMemory":
        """The same memory by a descriptor of its own, to be closed by who asked for it."""
        return LogMemory(os.dup(self.fd), self._block_bytes, self._calls)

    def size_bytes(self) -> int:
        """What was ever received."""
        return os.fstat(self.fd).st_size - BASE_BYTES

    def receive(self, pipe_fd: int, offset_bytes: int, most_bytes: int) -> int:
        """
        Take from a pipe what goes to an offset.

        Returns:
            How much; 0 when every writer is gone.

        Raises:
            BlockingIOError: The pipe is empty.
        """
        return self._calls.splice(
            pipe_fd, self.fd, most_bytes, offset_dst=BASE_BYTES + offset_bytes, flags=_SPLICE_NONBLOCK
        )

    def send(self, file_fd: int, offset_bytes: int, most_bytes: int) -> int:
        """
        Write to a file, at its position, what lies at an offset.

        Returns:
            How much, at least one byte.

        Raises:
            OSError: Of the file; EIO when there is nothing.
        """
        try:
            count = self._calls.sendfile(file_fd, self.fd, BASE_BYTES + offset_bytes, most_bytes)
        except OSError as error:
            # The kernel does not let the offset in the source exceed the largest file that the target may become.
            if error.errno != errno.EOVERFLOW:
                raise
            count = self._calls.write(
                file_fd, os.pread(self.fd, min(most_bytes, self._block_bytes), BASE_BYTES + offset_bytes)
            )
        if count == 0:
            raise OSError(errno.EIO, "the log's memory ended early")
        return count

    def read_block(self, block: int) -> bytes:
        """One block as the job wrote it."""
        return os.pread(self.fd, self._block_bytes, BASE_BYTES + block * self._block_bytes)

    def give_back(self, from_bytes: int, to_bytes: int) -> None:
        """Whole pages below `to_bytes` are not needed any more."""
        begin, end = (BASE_BYTES + each // PAGE_BYTES * PAGE_BYTES for each in (from_bytes, to_bytes))
        self._calls.punch_hole(self.fd, begin, end - begin)

    def holds(self, offset_bytes: int) -> bool:
        """Whether the page of an offset is in memory."""
        looked_at = BASE_BYTES + offset_bytes // PAGE_BYTES * PAGE_BYTES
        try:
            return os.lseek(self.fd, looked_at, os.SEEK_DATA) == looked_at
        except OSError as error:
            if error.errno != errno.ENXIO:  # only holes from there on
                raise
            return False

    def _put(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        while view:  # where memory ends midway, less is written and no error told
            written = self._calls.pwrite(self.fd, view, at)
            at += written
            view = view[written:]

    def put_packed(self, block: int, packed: bytes) -> None:
        """Keep a block compressed; a block at most. Raises OSError: it is not all there."""
        self._put(_PACKED.pack(len(packed)) + packed, block * self._block_bytes)

    def packed_bytes(self, block: int) -> int:
        """To how much a block is compressed; 0 when it is not."""
        (size,) = _PACKED.unpack(os.pread(self.fd, _PACKED.size, block * self._block_bytes))
        return int(size)

    def packed(self, block: int) -> bytes:
        """A compressed block."""
        return os.pread(self.fd, self.packed_bytes(block), block * self._block_bytes + _PACKED.size)

    def drop_packed(self, block: int) -> None:
        """A compressed block is not needed any more."""
        self._calls.punch_hole(self.fd, block * self._block_bytes, self._block_bytes)

    def put_drop(self, number: int, begin: int, end: int) -> None:
        """Record that this range does not become part of the log."""
        self._put(_DROP.pack(begin, end), _DROPS_AT + number * _DROP.size)

    def drops(self) -> list[tuple[int, int]]:
        """Every range so recorded, in order."""
        found: list[tuple[int, int]] = []
        while True:
            begin, end = _DROP.unpack(os.pread(self.fd, _DROP.size, _DROPS_AT + len(found) * _DROP.size))
            if not end:
                return found
            found.append((begin, end))

    def put_spill_path(self, path: Path) -> None:
        """Where blocks are spilled to: a successor looks there, whatever its own configuration says."""
        self._put(os.fsencode(path.absolute()) + b"\0", _SPILL_PATH_AT)

    def spill_path(self) -> Path | None:
        """Where blocks were spilled to."""
        name = os.pread(self.fd, PAGE_BYTES, _SPILL_PATH_AT).partition(b"\0")[0]
        return Path(os.fsdecode(name)) if name else None
