"""
Blocks of records: the memory that a producer writes to, and the only code that runs for each record.

Runs in: the producers' threads; `Buffers` also in the disk and the overflow thread. May not: import outside the
standard library.
Source: API specification, "Version 2.11.0": microsecond write latency.
"""

import threading
from collections.abc import Callable
from io import BytesIO
from typing import Final, Protocol

from joblet.logs.memory import Memory

LARGEST_BLOCK_BYTES: Final = 256 * 1024
_SMALLEST_BLOCK_BYTES: Final = 4 * 1024
_KEPT_SHARE: Final = 16


def block_bytes(memory: Memory, handles: int, largest: int = LARGEST_BLOCK_BYTES) -> int:
    """
    How large the next log's blocks may get: so many of that size, which no limit counts, are a quarter of it.

    Those that are open keep theirs. A power of two, or `largest`: blocks of one size can take each other's place.
    """
    share = min(largest, memory.limit_bytes // 4 // max(1, handles))
    share = share if share == largest else 1 << share.bit_length() >> 1
    return max(min(_SMALLEST_BLOCK_BYTES, largest), share)


class LogClosed(ValueError):
    """The log, or its whole system, is closed: nothing is written any more."""


class Buffers:
    """
    The memory of blocks that are stored, for the next ones.

    Freed, it would go back to the kernel and come again as pages that are zeroed one fault at a time, which takes a
    producer of small records half of its speed. At most a sixteenth of the memory limit is kept, and by `trim` no more
    than was needed lately.
    """

    def __init__(self, memory: Memory) -> None:
        self._most_bytes = memory.limit_bytes // _KEPT_SHARE
        self._kept_bytes = 0
        self._kept: dict[int, list[BytesIO]] = {}
        self._spare: dict[int, int] = {}  # the fewest that were kept since the last `trim`
        self._lock = threading.Lock()

    @property
    def kept_bytes(self) -> int:
        """What is kept now."""
        return self._kept_bytes

    def take(self, size_bytes: int) -> BytesIO:
        """An empty one for a block of this size."""
        with self._lock:
            kept = self._kept.get(size_bytes)
            if not kept:
                self._spare[size_bytes] = 0
                return BytesIO()
            self._kept_bytes -= size_bytes
            buffer = kept.pop()
            self._spare[size_bytes] = min(self._spare[size_bytes], len(kept))
            return buffer

    def give(self, buffer: BytesIO, size_bytes: int) -> None:
        """Nobody needs what is in it any more; its position is behind it."""
        if buffer.tell() > 2 * size_bytes:  # one large record has made it so, and it would never shrink
            return
        try:
            buffer.write(b"")
        except BufferError:  # somebody still looks at it: it is freed when they have done so
            return
        buffer.seek(0)
        with self._lock:
            if self._kept_bytes + size_bytes <= self._most_bytes:
                self._kept_bytes += size_bytes
                self._kept.setdefault(size_bytes, []).append(buffer)
                self._spare.setdefault(size_bytes, 0)

    def trim(self) -> None:
        """Free what was not needed since the last time."""
        with self._lock:
            for size_bytes, kept in self._kept.items():
                spare = self._spare[size_bytes]
                del kept[:spare]
                self._kept_bytes -= spare * size_bytes
                self._spare[size_bytes] = len(kept)


class Swap(Protocol):
    """Take the records out that were written since the last time; None if there are none."""

    def __call__(self, *, last: bool = False) -> BytesIO | None: ...


def block_of_records(
    buffers: Buffers, size_bytes: int, full: Callable[[int], None]
) -> tuple[Callable[[bytes], None], Swap]:
    """
    `write(record)`, and what takes the records out; what it returns has its position behind the last of them.
    `full` is called with the bytes that have come together.

    A closure, because looking two attributes up costs as much as the write itself; BytesIO, because its `write` refuses
    what is no bytes, and counts them, in the same call. No lock is needed between the two functions: the interpreter
    does not leave a thread between its look at `append` and the end of that call.
    """
    buffer = buffers.take(size_bytes)
    append: Callable[[bytes], int] = buffer.write
    left_bytes = size_bytes

    def write(record: bytes) -> None:
        nonlocal left_bytes
        left_bytes -= append(record)
        if left_bytes <= 0:
            full(size_bytes - left_bytes)

    def swap(*, last: bool = False) -> BytesIO | None:
        nonlocal buffer, append, left_bytes
        before = buffer
        if not last and not before.tell():
            return None
        buffer = BytesIO() if last else buffers.take(size_bytes)
        append = _refuse if last else buffer.write
        left_bytes = size_bytes
        return before if before.tell() else None

    return write, swap


def _refuse(_record: bytes) -> int:
    raise LogClosed("the log is closed")
