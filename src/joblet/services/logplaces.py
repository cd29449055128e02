"""
Places in a log that are asked for by lines: the last so many, and the one that was being printed at some time.

Runs in: server loop. May not: block; hold the loop for longer than one block takes.
Source: proto/joblet.proto, `GetJobLogsReq.tail` and `since`.
"""

import asyncio
from typing import Final

from joblet.domain.job import JobId
from joblet.ports import LogStore, NotKept

LINE_BYTES: Final = 64 * 1024
"""The beginning of a line is looked for so far before a place in it; nobody reads a longer one."""


async def tail_offset(store: LogStore, job_id: JobId, lines: int, *, not_before: int, block_bytes: int) -> int:
    """
    Where the last so many lines begin. A newline at the very end closes the last line and begins none.

    The loop is let go after each block: a log that lies in the page cache is read without waiting once.

    Raises:
        NotKept: The beginning of the log was removed meanwhile.
    """
    end = store.size_bytes(job_id)
    not_before = max(not_before, store.first_bytes(job_id))
    if lines >= end - not_before:
        return not_before  # no line is shorter than its newline: that is everything, unread
    # One newline more than lines: the one before the first wanted line.
    missing = lines + 1
    position = end
    while position > not_before:
        start = max(not_before, position - block_bytes)
        block = await _read_exactly(store, job_id, start, position - start)
        if position == end and not block.endswith(b"\n"):
            missing -= 1
        found = block.count(b"\n")
        if found >= missing:
            return start + _newline_from_end(block, missing) + 1
        missing -= found
        position = start
        await asyncio.sleep(0)
    return not_before


async def line_at(store: LogStore, job_id: JobId, offset_bytes: int) -> int:
    """Where the line begins that this byte is in; the byte itself when that line is no line."""
    offset_bytes = min(offset_bytes, store.size_bytes(job_id))
    start = max(0, offset_bytes - LINE_BYTES)
    while start < offset_bytes:
        try:
            block = await _read_exactly(store, job_id, start, offset_bytes - start)
        except NotKept as error:
            start = error.first_bytes
            continue
        newline = block.rfind(b"\n")
        return offset_bytes if newline < 0 and len(block) >= LINE_BYTES else start + newline + 1
    return start


async def _read_exactly(store: LogStore, job_id: JobId, offset_bytes: int, wanted_bytes: int) -> bytes:
    parts: list[bytes] = []
    while wanted_bytes > 0 and (part := await store.read(job_id, offset_bytes, wanted_bytes)):
        parts.append(part)
        offset_bytes += len(part)
        wanted_bytes -= len(part)
    return b"".join(parts)


def _newline_from_end(block: bytes, nth: int) -> int:
    """
    Where the nth newline from the end is, of at least so many.

    By halves: a search per newline holds the loop for 0.1 s in a block that is nothing but newlines.
    """
    low, high = 0, len(block)
    while high - low > 1:
        middle = (low + high) // 2
        right = block.count(b"\n", middle, high)
        if right >= nth:
            low = middle
        else:
            high, nth = middle, nth - right
    return low
