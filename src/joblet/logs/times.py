"""
How long a log was when: what finds the place in a log from a time.

A log's lines carry no times, so beside it grows a small file of records, 16 bytes each, oldest first:

    u64 time, nanoseconds since the epoch | u64 size of the log then       (little-endian)

Neither number ever falls. Whoever writes a log calls `TimeIndex.grew` after each write; a record is written
when a second has passed since the last one. Before it, the growth that came after that last record gets its own,
so that a pause between two outputs stands in the index to the second, too. What is looked up lies at most one second
too early, never too late: what was printed from that time on is always behind it.

A record that a crash tore or left as zeros is no record; the next one is written over it.

Runs in: the supervisor's disk thread (writing), the server, in a thread (looking up). May not: import outside
the standard library.
Source: docs/administrators.md, "How long logs are kept"; proto/joblet.proto, `GetJobLogsReq.since`.
"""

import os
import struct
from pathlib import Path
from typing import Final

from joblet.logs.calls import open_regular

RECORD: Final = struct.Struct("<QQ")
INTERVAL_NS: Final = 1_000_000_000

Record = tuple[int, int]
"""(time_ns, size_bytes)"""


def append(fd: int, *records: Record) -> None:
    """
    Write records behind the last whole one.

    Args:
        fd: Of the index, open for reading and writing.

    Raises:
        OSError: None of them, or a first part of them, is in the file.
    """
    os.pwrite(fd, b"".join(RECORD.pack(*record) for record in records), count(fd) * RECORD.size)


def count(fd: int) -> int:
    """How many whole records there are."""
    number = os.fstat(fd).st_size // RECORD.size
    # After a power failure a file may be longer than what of it was written: zeros at its end.
    while number and not record_at(fd, number - 1)[0]:
        number -= 1
    return number


def record_at(fd: int, number: int) -> Record:
    """One record, counted from 0."""
    time_ns, size_bytes = RECORD.unpack(os.pread(fd, RECORD.size, number * RECORD.size))
    return time_ns, size_bytes


def last(fd: int) -> Record:
    """The newest record; (0, 0) when there is none."""
    number = count(fd)
    return record_at(fd, number - 1) if number else (0, 0)


def size_at(fd: int, at_ns: int) -> int:
    """How long the log was at that time, as far as is known: the size in the last record that is not later; else 0."""
    low, high = 0, count(fd)  # the records before `low` are not later, those from `high` on are
    while low < high:
        middle = (low + high) // 2
        if record_at(fd, middle)[0] <= at_ns:
            low = middle + 1
        else:
            high = middle
    return record_at(fd, low - 1)[1] if low else 0


def look_up(path: Path, at_ns: int) -> int:
    """
    `size_at` in the index of this name; 0 when there is no such file.

    Raises:
        OSError: It cannot be read.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return size_at(fd, at_ns)
    finally:
        os.close(fd)


class TimeIndex:
    """
    The index of one log, as its writer has it. Holds no descriptor: a thousand jobs would hold a thousand.

    Args:
        path: Of the index; made with the first record.
    """

    __slots__ = ("_next_ns", "_path", "_pending", "_recorded")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._recorded: Record | None = None  # the newest in the file; None: not looked yet
        self._pending: Record | None = None
        self._next_ns = 0

    def grew(self, now_ns: int, size_bytes: int) -> None:
        """
        The log has so many bytes now. Costs nothing but a comparison within a second of the last record.

        Raises:
            OSError: The record is kept, and written with the next growth.
        """
        if now_ns < self._next_ns:
            self._pending = (now_ns, size_bytes)
        else:
            self._write((now_ns, size_bytes))

    def close(self) -> None:
        """
        Write what is not yet in the index. To be called at the end of the log.

        Raises:
            OSError: It is not written.
        """
        if self._pending is not None:
            self._write()

    def _write(self, *newest: Record) -> None:
        pending = (self._pending,) if self._pending is not None else ()
        fd = open_regular(self._path, os.O_RDWR | os.O_CREAT)
        try:
            if self._recorded is None:
                self._recorded = last(fd)  # a predecessor's
            fresh: list[Record] = []
            time_ns, size_bytes = self._recorded
            for record in (*pending, *newest):
                # A clock that was set back stands still here until it is where it was.
                time_ns = max(time_ns, record[0])
                if record[1] > size_bytes:
                    size_bytes = record[1]
                    fresh.append((time_ns, size_bytes))
            self._pending = (*pending, *newest)[-1]
            if fresh:
                append(fd, *fresh)
                self._recorded = fresh[-1]
            self._pending = None
            self._next_ns = (*pending, *newest)[-1][0] + INTERVAL_NS
        finally:
            os.close(fd)
