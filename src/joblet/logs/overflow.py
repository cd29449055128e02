"""
What becomes of output when the disk is slower than the jobs.

    compress   whole blocks are kept compressed (zlib level 1, about 170 MB/s of one core)
    spill      whole blocks go to a file below a second path, and come back from there when their turn comes
    alert      the job waits (backpressure), and the server log says so; the last resort of the other three too
    sample     of the waiting blocks every n-th is kept; a marker line in the log counts what is missing

The first three neither lose nor reorder a byte. A block is a whole MiB of one job's output.

Runs in: the overflow thread and the disk thread of an `AsyncLogSystem`. May not: import outside the standard library.
Source: API specification, "Version 2.11.0".
"""

import contextlib
import errno
import os
import threading
import zlib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from joblet.logs.calls import REAL, Calls, open_regular

BLOCK_BYTES: Final = 1024 * 1024
DEFAULT_SAMPLE_EVERY: Final = 10
_LEVEL: Final = 1
# A block that shrinks by less than an eighth is not worth its way back.
_WORTH: Final = 7 / 8


class Overflow(Enum):
    """The strategies, by their names in the configuration."""

    COMPRESS = "compress"
    SPILL = "spill"
    ALERT = "alert"
    SAMPLE = "sample"


# Of the memory limit: from here on waiting blocks are moved. Output is dropped only when little else is left.
RELIEF_AT: Final = {Overflow.COMPRESS: 1 / 2, Overflow.SPILL: 1 / 2, Overflow.SAMPLE: 3 / 4}


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What is done with blocks that wait.

    Args:
        spill_dir: Where `spill` puts them; one file a job.
        sample_every: `sample` keeps one block of so many, at least 2.
    """

    overflow: Overflow = Overflow.ALERT
    spill_dir: Path | None = None
    sample_every: int = DEFAULT_SAMPLE_EVERY

    def __post_init__(self) -> None:
        if self.overflow is Overflow.SPILL and self.spill_dir is None:
            raise ValueError("overflow spill needs a folder to spill to")
        if self.sample_every < 2:
            raise ValueError(f"sample_every must be at least 2, not {self.sample_every}")

    def keeps(self, block: int) -> bool:
        """Whether `sample` keeps the block with this number."""
        return block % self.sample_every == 0

    def spill_path(self, name: str) -> Path:
        """Where `spill` puts the blocks of one log."""
        assert self.spill_dir is not None
        return self.spill_dir / f"{name}.spill"


def compressed(data: bytes | memoryview) -> bytes | None:
    """A block's data compressed; None when that is not worth it."""
    packed = zlib.compress(data, _LEVEL)
    return packed if len(packed) < len(data) * _WORTH else None


def decompressed(packed: bytes) -> bytes:
    """
    The data again.

    Raises:
        OSError: EIO, the memory it lay in is damaged.
    """
    try:
        return zlib.decompress(packed)
    except zlib.error as error:
        raise OSError(errno.EIO, f"a compressed block is damaged: {error}") from None


def marker(dropped_bytes: int) -> bytes:
    """The line that stands where `sample` dropped output. It depends on nothing else: a successor writes the same."""
    return b"\n[joblet: %d bytes dropped here, the disk was slower than the job]\n" % dropped_bytes


class SpillFile:
    """
    Blocks of one log on the second path, each at its own offset.

    Args:
        path: Made by the first block; its folder too.

    Attributes:
        must_exist: It holds blocks already: when it is away it is waited for. In a new one they would be zeros.
    """

    def __init__(self, path: Path, calls: Calls = REAL) -> None:
        self.path = path
        self.must_exist = False
        self._calls = calls
        self._fd = -1
        self._opening = threading.Lock()  # after a take-over both threads may be the first that needs it

    def put(self, offset_bytes: int, data: bytes | memoryview) -> None:
        """
        Keep a block.

        Raises:
            OSError: It is not all there; nothing may be given up for it.
        """
        fd = self._opened(os.O_RDWR if self.must_exist else os.O_RDWR | os.O_CREAT)
        view = memoryview(data)
        while view:
            written = self._calls.pwrite(fd, view, offset_bytes)
            offset_bytes += written
            view = view[written:]

    def send(self, file_fd: int, offset_bytes: int, most_bytes: int) -> int:
        """
        Write a part of a block to a file, at its position.

        Returns:
            How much was written, at least one byte.

        Raises:
            OSError: Of either file.
        """
        count = self._calls.sendfile(file_fd, self._opened(os.O_RDWR), offset_bytes, most_bytes)
        if count == 0:
            raise OSError(errno.EIO, "the spilled output ended early", str(self.path))
        return count

    def get(self, offset_bytes: int, size_bytes: int) -> bytes:
        """
        A block again.

        Raises:
            OSError: EIO when it is not all there.
        """
        data = os.pread(self._fd, size_bytes, offset_bytes)
        if len(data) < size_bytes:
            raise OSError(errno.EIO, "the spilled output ended early", str(self.path))
        return data

    def drop(self, offset_bytes: int, size_bytes: int) -> None:
        """This block is in the log: its place on the second path is free again, where its file system can do that."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._calls.punch_hole(self._fd, offset_bytes, size_bytes)

    def remove(self) -> None:
        """Everything is in the log. A file that cannot be removed is left."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            self._calls.unlink(self.path)

    def _opened(self, flags: int) -> int:
        with self._opening:
            if self._fd < 0:
                if flags & os.O_CREAT:
                    self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fd = open_regular(self.path, flags)
            return self._fd
