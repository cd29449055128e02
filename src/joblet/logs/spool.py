"""
One job's output between the job and the disk: its pipe, then a memfd, never a buffer of ours.

`splice` takes from the pipe exactly what it has put into the memfd, so a supervisor killed at
any instruction has neither lost nor repeated a byte; the memfd lives on in the job's init.
The size of the file is what is on disk, and the memfd tells the rest (`memfd.py`).

Runs in: supervisor (`pump`), its disk thread (`store`), its overflow thread (`relieve`).
May not: block in `pump`, import outside the standard library.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from joblet.logs.calls import REAL, Calls, open_regular
from joblet.logs.memfd import MOVABLE_BYTES, LogMemory
from joblet.logs.overflow import BLOCK_BYTES, Overflow, Policy, SpillFile, compressed, decompressed, marker
from joblet.logs.pipe import PIPE_BYTES, Pumped
from joblet.logs.times import TimeIndex


class Spool:
    """
    The output of one job.

    Args:
        pipe_fd: Read end of the job's output pipe, non-blocking; -1 when it is gone (the init of a
            job that ended unwatched was killed: only the file is left).
        memory_fd: The job's memfd; -1 likewise.
        path: The log file; created by the first byte.
        times: Is told how long the file was when.
        block_bytes: What moves at a time when memory is short; whole pages.

    Attributes:
        received_bytes: What the job has written. `pump` counts it.
        stored_bytes: Size of the file. `store` counts it.
        given_back_bytes: Memory that `store` has given back.
    """

    def __init__(
        self,
        pipe_fd: int,
        memory_fd: int,
        path: Path,
        times: TimeIndex,
        *,
        block_bytes: int = BLOCK_BYTES,
        calls: Calls = REAL,
    ) -> None:
        self.pipe_fd = pipe_fd
        self.path = path
        self._times = times
        self.stored_bytes = path.stat().st_size if path.exists() else 0
        self.received_bytes = self.stored_bytes
        self.ended = pipe_fd < 0
        self.queued = False
        self.not_before_s = 0.0
        self._block_bytes = block_bytes
        self._calls = calls
        self._memory = LogMemory(memory_fd, block_bytes, calls)
        self._file_fd = -1
        # The disk thread claims what it is about to read; only what lies behind its claim may be moved.
        self._lock = threading.Lock()
        self._taken = self._claimed = self.stored_bytes  # of what the job has written: stored or dropped
        self._moved: dict[int, int] = {}  # block → bytes it is compressed to, 0 for spilled
        self._unpacked: tuple[int, bytes] = (-1, b"")
        self._drops: list[tuple[int, int]] = []  # those whose marker is not yet stored
        self._drop_records = 0
        self._marker = b""  # what is left of the marker for the first of them
        self._spill: SpillFile | None = None
        self._next_block = 0
        self._over = False
        self.given_back_bytes = self._relieved_bytes = 0
        if memory_fd >= 0:
            # A successor goes on where the memfd ends; a new job's is empty.
            self.received_bytes = self._memory.size_bytes()
            if self.received_bytes:
                self._recover()

    @property
    def memory_fd(self) -> int:
        """The memfd; -1 when there is none."""
        return self._memory.fd

    @property
    def backlog_bytes(self) -> int:
        """What is still to be stored, or dropped."""
        return self.received_bytes - self._taken

    @property
    def memory_bytes(self) -> int:
        """What is held in memory, compressed or not."""
        return self.received_bytes - self.given_back_bytes - self._relieved_bytes

    # In

    def pump(self, most_bytes: int = PIPE_BYTES) -> Pumped:
        """Move what the pipe holds into the memfd, at most `most_bytes`."""
        if self.ended:
            return Pumped.ENDED
        try:
            # Once: it takes all there is. To ask again is to run after a job that prints, line by line.
            count = self._memory.receive(self.pipe_fd, self.received_bytes, most_bytes)
        except BlockingIOError:
            return Pumped.DRAINED
        if count == 0:
            self.ended = True
            return Pumped.ENDED
        self.received_bytes += count
        return Pumped.MORE if count == most_bytes else Pumped.DRAINED

    # Out

    def store(self, most_bytes: int) -> int:
        """
        Write up to `most_bytes` of the backlog to the file. Called by the disk thread only; may block.

        Returns:
            Bytes written.

        Raises:
            OSError: Nothing is lost: what was written is counted, the rest stays where it is.
        """
        if self._file_fd < 0:
            # Not O_APPEND: sendfile refuses such a target with EINVAL.
            self._file_fd = open_regular(self.path, os.O_WRONLY | os.O_CREAT)
            os.lseek(self._file_fd, self.stored_bytes, os.SEEK_SET)
        before = self.stored_bytes
        try:
            while (left := most_bytes - (self.stored_bytes - before)) > 0:
                if (piece := self._claim(left)) is None:
                    break
                write, end = piece
                write(end)
        finally:
            with self._lock:
                self._claimed = self._taken
        with contextlib.suppress(OSError):  # it says so again with the next growth
            self._times.grew(time.time_ns(), self.stored_bytes)
        return self.stored_bytes - before

    def sync(self) -> None:
        """Make what is stored survive the machine. Called by the disk thread only; blocks. Raises OSError."""
        if self._file_fd >= 0:
            self._calls.fdatasync(self._file_fd)

    def _claim(self, most_bytes: int) -> tuple[Callable[[int], None], int] | None:
        """What writes the next piece, and where that ends; None when there is none."""
        with self._lock:
            end = min(self.received_bytes, self._taken + most_bytes)
            if self._drops:
                begin, dropped_to = self._drops[0]
                if begin == self._taken:
                    self._marker = self._marker or marker(dropped_to - begin)
                    self._claimed = dropped_to
                    return self._write_marker, dropped_to
                end = min(end, begin)
            if end <= self._taken:
                return None
            block = self._taken // self._block_bytes
            if block in self._moved:
                write = self._write_packed if self._moved[block] else self._write_spilled
                end = min(end, (block + 1) * self._block_bytes)
            else:
                write = self._write_memory
                following = range(block + 1, -(-end // self._block_bytes))
                end = next((each * self._block_bytes for each in following if each in self._moved), end)
            self._claimed = end
            return write, end

    def _write_memory(self, end: int) -> None:
        first = self._taken
        try:
            while self._taken < end:
                count = self._memory.send(self._file_fd, self._taken, end - self._taken)
                self.given_back_bytes += count
                self._stored(count)
        finally:
            self._memory.give_back(first, self._taken)

    def _write_packed(self, end: int) -> None:
        block = self._taken // self._block_bytes
        start = block * self._block_bytes
        if self._unpacked[0] != block:
            self._unpacked = block, decompressed(self._memory.packed(block))
        data = memoryview(self._unpacked[1])
        while self._taken < end:
            self._stored(self._calls.write(self._file_fd, data[self._taken - start : end - start]))
        if end == start + self._block_bytes:
            self._unpacked = (-1, b"")
            self.given_back_bytes += self._moved.pop(block)
            self._memory.drop_packed(block)

    def _write_spilled(self, end: int) -> None:
        assert self._spill is not None
        block = self._taken // self._block_bytes
        while self._taken < end:
            self._stored(self._spill.send(self._file_fd, self._taken, end - self._taken))
        if end == (block + 1) * self._block_bytes:
            del self._moved[block]
            self._spill.drop(block * self._block_bytes, self._block_bytes)

    def _write_marker(self, end: int) -> None:
        while self._marker:
            count = self._calls.write(self._file_fd, self._marker)
            with self._lock:
                self.stored_bytes += count
                self._marker = self._marker[count:]
                if not self._marker:
                    self._taken = end
                    del self._drops[0]

    def _stored(self, count: int) -> None:
        with self._lock:
            self.stored_bytes += count
            self._taken += count

    # Overflow

    def relieve(self, policy: Policy) -> int | None:
        """
        Move the oldest block that was not looked at yet out of memory. Called by the overflow thread only.

        Returns:
            Bytes given back; 0 when this block stays where it is; None when there is no further block.

        Raises:
            OSError: The second path takes no more; the block stays.
        """
        with self._lock:
            if self.memory_fd < 0:
                return None
            block = max(self._next_block, -(-self._claimed // self._block_bytes))
            while block in self._moved:  # by a predecessor
                block += 1
            movable = min(self.received_bytes, MOVABLE_BYTES)
            # Once a job has ended, the length of its log may have been told.
            if (block + 1) * self._block_bytes > movable or (policy.overflow is Overflow.SAMPLE and self.ended):
                return None
            # Meanwhile the log may be over and done, and the number of its descriptor another job's.
            memory = self._memory.duplicate()
        freed = 0
        try:
            match policy.overflow:
                case Overflow.COMPRESS:
                    freed = self._compress(block, memory)
                case Overflow.SPILL:
                    freed = self._spill_out(block, memory, policy)
                case Overflow.SAMPLE if not policy.keeps(block):
                    freed = self._drop(block)
        finally:
            os.close(memory.fd)
        self._next_block = block + 1
        return freed

    def _compress(self, block: int, memory: LogMemory) -> int:
        packed = compressed(memory.read_block(block))
        if packed is None:
            return 0
        memory.put_packed(block, packed)
        freed = self._give_up(block, len(packed))
        if not freed:
            memory.drop_packed(block)
        return freed

    def _spill_out(self, block: int, memory: LogMemory, policy: Policy) -> int:
        if self._spill is None:
            path = policy.spill_path(self.path.stem)
            memory.put_spill_path(path)
            self._spill = SpillFile(path, self._calls)
        spill = self._spill
        try:
            spill.put(block * self._block_bytes, memory.read_block(block))
            return self._give_up(block, 0)
        finally:
            with self._lock:
                if self._over:
                    spill.remove()

    def _give_up(self, block: int, moved_bytes: int) -> int:
        """The block is elsewhere too: let its memory go, unless the disk thread reads it by now."""
        begin = block * self._block_bytes
        with self._lock:
            if self._claimed > begin:
                return 0
            self._memory.give_back(begin, begin + self._block_bytes)
            self._moved[block] = moved_bytes
            self._relieved_bytes += self._block_bytes - moved_bytes
        return self._block_bytes - moved_bytes

    def _drop(self, block: int) -> int:
        begin, end = block * self._block_bytes, (block + 1) * self._block_bytes
        with self._lock:
            if self._claimed > begin or self.ended:
                return 0
            last = self._drops[-1] if self._drops else None
            # A marker that is begun counts what it counts.
            begun = self._claimed > last[0] or (self._marker and len(self._drops) == 1) if last else True
            # First the record: a drop that nobody can read of later must not happen.
            if last is not None and last[1] == begin and not begun:
                self._memory.put_drop(self._drop_records - 1, last[0], end)
                self._drops[-1] = (last[0], end)
            else:
                self._memory.put_drop(self._drop_records, begin, end)
                self._drops.append((begin, end))
                self._drop_records += 1
            self._relieved_bytes += self._block_bytes
            self._memory.give_back(begin, end)
        return self._block_bytes

    def _recover(self) -> None:
        """Find out where the log stands: from the size of its file, and from what the memfd holds."""
        drops = self._memory.drops()
        self._drop_records = len(drops)
        for begin, end in drops:
            self._memory.give_back(begin, end)
        job = log = 0  # byte `job` of the output is byte `log` of the file
        for number, (begin, end) in enumerate(drops):
            text, at = marker(end - begin), log + begin - job
            if self.stored_bytes < at + len(text):
                self._drops = drops[number:]
                if self.stored_bytes > at:
                    self._marker = text[self.stored_bytes - at :]
                    job, log = begin, self.stored_bytes
                break
            job, log = end, at + len(text)
        self._taken = self._claimed = job + self.stored_bytes - log
        path = self._memory.spill_path()
        if path is not None:  # one that is not there is waited for: its disk may not be mounted yet
            self._spill = SpillFile(path, self._calls)
        if self._drops:
            self._next_block = self._drops[-1][1] // self._block_bytes
        held = self.received_bytes - self._taken - sum(end - begin for begin, end in self._drops)
        for block in range(self._taken // self._block_bytes, self.received_bytes // self._block_bytes):
            first = max(self._taken, block * self._block_bytes)
            if any(begin <= first < end for begin, end in self._drops):
                continue
            if self._memory.holds(first):
                self._memory.drop_packed(block)  # perhaps half of it, by one that was killed
                continue
            packed_bytes = self._memory.packed_bytes(block)
            if packed_bytes or self._spill is not None:
                self._moved[block] = packed_bytes
                held -= (block + 1) * self._block_bytes - first - packed_bytes
        if self._spill is not None:
            self._spill.must_exist = 0 in self._moved.values()
        self.given_back_bytes = self.received_bytes - held

    # The end

    def conclude(self) -> int:
        """
        The job can write no more, and what it wrote was pumped.

        Returns:
            Size of the file once all of the backlog is stored.
        """
        with self._lock:
            self.ended = True
            left = self.received_bytes - self._taken
            for begin, end in self._drops:
                left -= end - begin - len(marker(end - begin))
            if self._marker:
                begin, end = self._drops[0]
                left -= len(marker(end - begin)) - len(self._marker)
            return self.stored_bytes + left

    def close_file(self) -> None:
        """All is stored: close the log file. Called by the disk thread only."""
        with contextlib.suppress(OSError):
            self._times.close()
        if self._file_fd >= 0:
            fd, self._file_fd = self._file_fd, -1
            os.close(fd)
        with self._lock:
            self._over = True
            if self._spill is not None:
                self._spill.remove()

    def close(self) -> None:
        """Close the pipe and the memory; the file is the disk thread's."""
        with self._lock:
            for fd in (self.pipe_fd, self._memory.fd):
                if fd >= 0:
                    os.close(fd)
            self.pipe_fd = self._memory.fd = -1
            self.ended = True
