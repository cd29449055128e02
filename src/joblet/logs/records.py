"""
Logs that this process writes itself: a producer's records, then blocks of them, then the file.

A record is copied into a block in memory and nothing else happens, until the block has its size: then it is one more
piece of the log that waits for the disk thread, which so never holds the interpreter for long.

Runs in: the producers' threads (`LogHandle`), the disk thread (`store`), the overflow thread (`relieve`).
May not: import outside the standard library.
Source: API specification, "Version 2.11.0": microsecond write latency.
"""

import os
import threading
from collections import deque
from collections.abc import Iterable
from enum import Enum
from io import BytesIO
from itertools import count, islice
from pathlib import Path
from typing import Final, Protocol

from joblet.logs.blocks import Buffers, LogClosed, block_of_records
from joblet.logs.calls import REAL, Calls
from joblet.logs.memory import Memory
from joblet.logs.overflow import Overflow, Policy, SpillFile, compressed, decompressed, marker

# A join holds the interpreter, and a batch its memory twice: a huge one would stall every other thread.
_FEW: Final = 64
_MANY: Final = 4096
_IOV_MAX: Final = 1024  # <limits.h>
_numbers = count()


def _spill_name(path: Path) -> str:
    """One that no other log has, of this process or of another."""
    return f"{path.stem}.{os.getpid()}.{next(_numbers)}"


class _Kind(Enum):
    PLAIN = "the bytes"
    PACKED = "the bytes, compressed"
    SPILLED = "on the second path"
    DROPPED = "not kept"


class _Block:
    """
    A piece of the log that waits. `offset` is its place among what was written, `size` its bytes there.

    A BytesIO is used again. No view of it is kept: the collector closes one that is thrown away, and cannot while there
    is a view.
    """

    __slots__ = ("data", "kind", "offset", "size")

    def __init__(self, kind: _Kind, data: bytes | BytesIO, offset: int, size: int) -> None:
        self.kind = kind
        self.data = data
        self.offset = offset
        self.size = size


class RecordSpool:
    """
    Blocks of one log on their way to its file. What the writer and the overflow thread need of a log.

    Args:
        path: The log file; an existing one is continued.
        buffers: Where the memory of its blocks comes from.
        block: The size of a block.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, memory: Memory, buffers: Buffers, block: int, calls: Calls = REAL) -> None:
        self.path = path
        self.block_bytes = block
        self.buffers = buffers
        self._calls = calls
        self.queued = False
        self.not_before_s = 0.0
        self.received_bytes = 0
        self.stored_bytes = 0
        self.given_back_bytes = 0
        self._relieved_bytes = 0
        self._taken_bytes = 0
        self._memory = memory
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # Blocks that were looked at for relief precede those that were not.
        self._seen: deque[_Block] = deque()
        self._new: deque[_Block] = deque()
        self._lock = threading.Lock()
        self._half: tuple[_Block, int] | None = None  # partly written, and how much of it
        self._spill: SpillFile | None = None
        self._looked_at = 0

    @property
    def backlog_bytes(self) -> int:
        """Not yet on disk, nor dropped."""
        return self.received_bytes - self._taken_bytes

    @property
    def taken_bytes(self) -> int:
        """Of what was written: stored, or dropped."""
        return self._taken_bytes

    @property
    def memory_bytes(self) -> int:
        """Held in memory, compressed or not."""
        return self.received_bytes - self.given_back_bytes - self._relieved_bytes

    def put(self, data: bytes | BytesIO | None) -> None:
        """One more block, if there is anything in it. Called under its handle's lock."""
        if not data:
            return
        size = len(data) if isinstance(data, bytes) else data.tell()
        self._memory.take(size, entries=1)
        self._new.append(_Block(_Kind.PLAIN, data, self.received_bytes, size))
        self.received_bytes += size

    def store(self, most_bytes: int) -> int:
        """See `Spool.store`."""
        written = 0
        while written < most_bytes:
            blocks = self._claim(most_bytes - written)
            if not blocks:
                break
            views: list[memoryview] = []
            try:
                for block in blocks:
                    views.append(self._view(block))
                count = self._calls.writev(self._fd, views)
            except Exception:
                self._put_back(blocks)
                raise
            finally:
                lengths = [len(view) for view in views]
                for view in views:
                    view.release()
            written += count
            self.stored_bytes += count
            self._written(blocks, lengths, count)
        return written

    def sync(self) -> None:
        """See `Spool.sync`."""
        if self._fd >= 0:
            self._calls.fdatasync(self._fd)

    def close_file(self) -> None:
        """See `Spool.close_file`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
        if self._spill is not None:
            self._spill.remove()
            self._spill = None

    def _claim(self, most_bytes: int) -> list[_Block]:
        """Take the next blocks out: at least one if there is any, and one alone if its bytes must first be fetched."""
        found: list[_Block] = []
        size = 0
        with self._lock:
            while len(found) < _IOV_MAX and size < most_bytes:
                blocks = self._seen or self._new
                if not blocks or (found and blocks[0].kind is not _Kind.PLAIN):
                    break
                block = blocks.popleft()
                found.append(block)
                size += block.size
                if block.kind is not _Kind.PLAIN:
                    break
        return found

    def _put_back(self, blocks: list[_Block]) -> None:
        with self._lock:
            self._seen.extendleft(reversed(blocks))

    def _view(self, block: _Block) -> memoryview:
        """What is still to be written of it."""
        match block.kind:
            case _Kind.PLAIN:
                view = _plain(block)
            case _Kind.PACKED:
                assert isinstance(block.data, bytes)
                view = memoryview(decompressed(block.data))
            case _Kind.SPILLED:
                assert self._spill is not None
                view = memoryview(self._spill.get(block.offset, block.size))
            case _Kind.DROPPED:
                view = memoryview(marker(block.size))
        if self._half is not None and self._half[0] is block:
            return view[self._half[1] :]
        return view

    def _written(self, blocks: list[_Block], lengths: list[int], count: int) -> None:
        """Account for what a write took; what it left is put back."""
        half, self._half = self._half, None
        freed = 0
        for number, (block, length) in enumerate(zip(blocks, lengths, strict=True)):
            if count < length:
                before = half[1] if half is not None and half[0] is block else 0
                self._half = block, before + count
                self._put_back(blocks[number:])
                blocks = blocks[:number]
                break
            count -= length
            self._taken_bytes += block.size
            freed += _held(block)
            if block.kind is _Kind.SPILLED and self._spill is not None:
                self._spill.drop(block.offset, block.size)
            self._free(block)
        self.given_back_bytes += freed
        self._memory.give(0, entries=len(blocks))

    def _free(self, block: _Block) -> None:
        """Nobody looks at its data any more."""
        if isinstance(block.data, BytesIO):
            self.buffers.give(block.data, self.block_bytes)
        block.data = b""

    def relieve(self, policy: Policy) -> int | None:
        """See `Spool.relieve`. The disk thread waits meanwhile, should it come for this very log."""
        with self._lock:
            if not self._new:
                return None
            block = self._new[0]
            freed = self._relieved(block, policy)
            self._new.popleft()
            last = self._seen[-1] if self._seen else None
            half = self._half[0] if self._half is not None else None
            if block.kind is _Kind.DROPPED and last is not None and last.kind is _Kind.DROPPED and last is not half:
                last.size += block.size
                self._memory.give(0, entries=1)
            else:
                self._seen.append(block)
            self._relieved_bytes += freed
            self._looked_at += 1
        return freed

    def _relieved(self, block: _Block, policy: Policy) -> int:
        if policy.overflow is Overflow.SAMPLE and not policy.keeps(self._looked_at):
            self._free(block)
            block.kind = _Kind.DROPPED
            return block.size
        with _plain(block) as view:
            packed = compressed(view) if policy.overflow is Overflow.COMPRESS else None
            if policy.overflow is Overflow.SPILL:
                if self._spill is None:
                    self._spill = SpillFile(policy.spill_path(_spill_name(self.path)), self._calls)
                self._spill.put(block.offset, view)
        if policy.overflow is Overflow.SPILL:
            self._free(block)
            block.kind = _Kind.SPILLED
        elif packed is not None:
            self._free(block)
            block.kind, block.data = _Kind.PACKED, packed
        return block.size - _held(block)


def _plain(block: _Block) -> memoryview:
    return memoryview(block.data) if isinstance(block.data, bytes) else block.data.getbuffer()[: block.size]


def _held(block: _Block) -> int:
    """Bytes of memory."""
    return len(block.data) if isinstance(block.data, bytes) else block.size


class Owner(Protocol):
    """What a handle needs of the system that made it."""

    memory: Memory

    def block_closed(self, spool: RecordSpool) -> None:
        """There is a block for the disk thread."""

    def waits(self, spool: RecordSpool) -> None:
        """A producer is about to wait for memory."""

    def wait_until_stored(self, spool: RecordSpool, size_bytes: int, timeout_s: float | None) -> None:
        """Wait until so much of what was written is in the file."""

    def close_log(self, handle: "LogHandle", timeout_s: float | None) -> None:
        """Wait until all is in the file and that closed."""


class LogHandle:
    """
    Where one producer writes one log.

    Made by `AsyncLogSystem.open`. Several threads may share a handle; their records are then in the log in some order,
    each in one piece.

    Attributes:
        write: `write(record)` accepts one record of bytes. It waits when its log may not take more memory. Raises
            TypeError for what is not bytes, LogClosed once the log is closed; then nothing was accepted.
    """

    __slots__ = ("_batch", "_closed", "_lock", "_owner", "_swap", "_waiting", "spool", "write")

    def __init__(self, spool: RecordSpool, owner: Owner) -> None:
        self.spool = spool
        self._owner = owner
        self._batch = _FEW
        self._lock = threading.Lock()
        self._waiting = False
        self._closed = False
        self.write, self._swap = block_of_records(spool.buffers, spool.block_bytes, self._full)

    def write_many(self, records: Iterable[bytes]) -> None:
        """
        Accept records in order, as one `write` each.

        Raises:
            TypeError: One of them is not bytes: it and those after it, and up to 4,095 before it, are not accepted.
            LogClosed: Nothing more was accepted.
        """
        many = iter(records)
        while batch := list(islice(many, self._batch)):
            data = b"".join(batch)
            self._batch = min(_MANY, 1 + self.spool.block_bytes * len(batch) // (len(data) + 1))
            self._wait_for_share(len(data))
            with self._lock:
                if self._closed:
                    raise LogClosed(f"the log {self.spool.path} is closed")
                self.spool.put(self._swap())
                self.spool.put(data)
            self._owner.block_closed(self.spool)

    def flush(self, *, wait: bool = False, timeout_s: float | None = None) -> None:
        """
        Hand everything accepted so far to the disk thread. It does so by itself at each flush interval.

        Args:
            wait: Return when it is in the file.

        Raises:
            TimeoutError: The disk has not taken it yet; it will, nothing is lost.
        """
        with self._lock:
            self.spool.put(self._swap())
        self._owner.block_closed(self.spool)
        if wait:
            self._owner.wait_until_stored(self.spool, self.spool.received_bytes, timeout_s)

    def flush_in_passing(self) -> None:
        """What the disk thread does at each flush interval: never waits, and leaves alone what a producer waits for."""
        if not self._waiting and self._owner.memory.may_take(self.spool.memory_bytes, self.spool.block_bytes):
            with self._lock:
                self.spool.put(self._swap())
            self._owner.block_closed(self.spool)

    def close(self, timeout_s: float | None = None) -> None:
        """
        Nothing more will be written: wait until all is in the file, durable where the system is told so, and close it.

        Raises:
            TimeoutError: The disk has not taken it yet; it will, nothing is lost.
        """
        self.shut()
        self._owner.close_log(self, timeout_s)

    def shut(self) -> None:
        """From now on nothing is accepted; what was is on its way."""
        with self._lock:
            self._closed = True
            self.spool.put(self._swap(last=True))
        self._owner.memory.wake()
        self._owner.block_closed(self.spool)

    def _full(self, size_bytes: int) -> None:
        """The block has its size, or more by one large record. Called by `write`, after the record was accepted."""
        self._wait_for_share(size_bytes)
        with self._lock:
            if not self._closed:
                self.spool.put(self._swap())
        self._owner.block_closed(self.spool)

    def _wait_for_share(self, more_bytes: int) -> None:
        memory = self._owner.memory
        if not self._closed and not memory.may_take(self.spool.memory_bytes, more_bytes):
            self._owner.waits(self.spool)
            self._waiting = True
            memory.wait_for_share(lambda: self.spool.memory_bytes, more_bytes, lambda: self._closed)
            self._waiting = False
