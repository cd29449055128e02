"""
The logs of jobs, read from their files: `ports.LogStore`.

What is in the page cache is copied at once, in the loop: a hop to a thread costs more than the
copy of a whole MiB. Only a read that would wait for the disk, or has to decompress, goes to a thread.

Retention may cut, compress or remove a log at any time, also from another process. So after each read of a plain file
it is asked whether the file is still the log's, and where the log begins now: what was read before that is what the
job has written, and no hole.

Runs in: server loop, and threads of its default pool. May not: write, open anything outside its folder.
Source: preadv2(2), RWF_NOWAIT (Linux 4.14).
"""

import asyncio
import errno
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from joblet.domain.errors import LogDamaged
from joblet.domain.job import JobId
from joblet.logs import times
from joblet.logs.archive import Archive, DamagedArchive
from joblet.logs.calls import open_regular
from joblet.logs.kept import first_kept
from joblet.ports import NotKept
from joblet.statefolder import StateFolder

OPEN_MAX: Final = 128
BLOCKS_MAX: Final = 16
_LAST_OFFSET: Final = 1 << 62  # beyond it, offset and length together leave what pread takes
_MAX_READ_BYTES: Final = 1024 * 1024
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# EAGAIN: not in the page cache. EOPNOTSUPP: this file system cannot say (tmpfs before 6.6, FUSE).
_WOULD_WAIT: Final = frozenset((errno.EAGAIN, errno.EOPNOTSUPP))

ReadCached = Callable[[int, list[memoryview], int, int], int]
ReadDisk = Callable[[int, int, int], bytes]


class _Log:
    """
    An open log, as a plain file or an archive. Closed once nobody reads it any more and it has left the cache.

    Attributes:
        kept: Name of the file that says where a plain log begins.
        block: Of an archive: number and bytes of the block that was decompressed last, perhaps not yet.
    """

    __slots__ = ("archive", "block", "evicted", "fd", "kept", "readers")

    def __init__(self, fd: int, kept: str, archive: Archive | None = None) -> None:
        self.fd = fd
        self.kept = kept
        self.archive = archive
        self.block: tuple[int, asyncio.Future[bytes]] | None = None
        self.readers = 0
        self.evicted = False

    @property
    def stale(self) -> bool:
        """Whether the file was replaced or removed."""
        return not os.fstat(self.fd).st_nlink


class FileLogStore:
    """
    `ports.LogStore` over the log files of a state folder.

    An id that is not a UUID in lower case has no log, so nothing outside the folder is ever opened.

    Args:
        folder: The server's; its folder of logs need not exist yet.
        open_max: Files kept open; those least recently read are closed first.
        read_cached, read_disk: `os.preadv` and `os.pread`; others in tests, which cannot empty the page cache.
    """

    def __init__(
        self,
        folder: StateFolder,
        *,
        open_max: int = OPEN_MAX,
        read_cached: ReadCached = os.preadv,
        read_disk: ReadDisk = os.pread,
    ) -> None:
        if open_max < 1:
            raise ValueError(f"open_max must be at least 1, not {open_max}")
        self._folder = folder
        self._open_max = open_max
        self._read_cached = read_cached
        self._read_disk = read_disk
        self._open: OrderedDict[JobId, _Log] = OrderedDict()
        # Logs with a decompressed block: of archives, more blocks than these would be held than files are open.
        self._unpacked: OrderedDict[_Log, None] = OrderedDict()
        # One warm buffer for all: filled and copied out without an await in between.
        self._buffer = bytearray(_MAX_READ_BYTES)

    async def read(self, job_id: JobId, offset_bytes: int, max_bytes: int) -> bytes:
        """See `ports.LogStore.read`. Raises OSError when the disk cannot be read."""
        while (log := self._get(job_id)) is not None and offset_bytes <= _LAST_OFFSET:
            if log.archive is not None:
                return await self._read_archive(job_id, log, log.archive, offset_bytes, max_bytes)
            log.readers += 1
            try:
                read = await self._read_plain(log, offset_bytes, max_bytes)
                # In this order: the file that says where a log begins is removed after the log itself.
                first_bytes = first_kept(log.kept)
                if log.stale:
                    self._evict(job_id, log)
                    continue
            finally:
                self._release(log)
            if offset_bytes < first_bytes:
                raise NotKept(first_bytes)
            return read
        return b""

    def size_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.size_bytes`."""
        log = self._fresh(job_id)
        if log is None:
            return 0
        return log.archive.size_bytes if log.archive is not None else os.fstat(log.fd).st_size

    def first_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.first_bytes`."""
        log = self._fresh(job_id)
        if log is None:
            return 0
        return log.archive.first_bytes if log.archive is not None else first_kept(log.kept)

    async def offset_at(self, job_id: JobId, at_ns: int) -> int:
        """See `ports.LogStore.offset_at`."""
        if not _ID.fullmatch(job_id):
            return 0
        path = self._folder.log_times(job_id)
        return await asyncio.get_running_loop().run_in_executor(None, times.look_up, path, at_ns)

    def refresh(self) -> None:
        """See `ports.LogStore.refresh`."""
        for job_id, log in list(self._open.items()):
            if log.stale:
                self._evict(job_id, log)

    def close(self) -> None:
        """Close every file, those being read in a thread after that."""
        for job_id, log in list(self._open.items()):
            self._evict(job_id, log)

    async def _read_plain(self, log: _Log, offset_bytes: int, max_bytes: int) -> bytes:
        view = memoryview(self._buffer)[:max_bytes]
        try:
            return bytes(view[: self._read_cached(log.fd, [view], offset_bytes, os.RWF_NOWAIT)])
        except OSError as error:
            if error.errno not in _WOULD_WAIT:
                raise
        log.readers += 1
        work = asyncio.get_running_loop().run_in_executor(None, self._read_disk, log.fd, len(view), offset_bytes)
        work.add_done_callback(lambda _: self._release(log))
        # Shielded: a reader that is cancelled must not count as gone while its thread still reads.
        return await asyncio.shield(work)

    async def _read_archive(
        self, job_id: JobId, log: _Log, archive: Archive, offset_bytes: int, max_bytes: int
    ) -> bytes:
        """At most to the end of a block."""
        if offset_bytes < archive.first_bytes:
            raise NotKept(archive.first_bytes)
        if offset_bytes >= archive.size_bytes:
            return b""
        number = archive.number_of(offset_bytes)
        if log.block is None or log.block[0] != number:
            log.readers += 1
            work = asyncio.get_running_loop().run_in_executor(None, archive.load, number)
            work.add_done_callback(lambda done: self._unpacked_block(log, done))
            log.block = (number, work)
            self._unpacked[log] = None
            if len(self._unpacked) > BLOCKS_MAX:
                self._unpacked.popitem(last=False)[0].block = None
        self._unpacked.move_to_end(log)
        try:
            block = await asyncio.shield(log.block[1])
        except DamagedArchive as error:
            raise LogDamaged(job_id, self._folder.log_archive(job_id).name, str(error)) from None
        begin = offset_bytes - archive.begin_of(number)
        return block[begin : begin + max_bytes]

    def _unpacked_block(self, log: _Log, done: "asyncio.Future[bytes]") -> None:
        # Asked here too: whoever waited may be gone. What failed once is tried again by the next who asks.
        if (done.cancelled() or done.exception() is not None) and log.block is not None and log.block[1] is done:
            log.block = None
        self._release(log)

    def _fresh(self, job_id: JobId) -> _Log | None:
        """The log that is there now, also when another one was open."""
        log = self._get(job_id)
        while log is not None and log.stale:
            self._evict(job_id, log)
            log = self._get(job_id)
        return log

    def _get(self, job_id: JobId) -> _Log | None:
        log = self._open.get(job_id)
        if log is not None:
            self._open.move_to_end(job_id)
            return log
        log = self._opened(job_id) if _ID.fullmatch(job_id) else None
        if log is None:
            return None
        self._open[job_id] = log
        if len(self._open) > self._open_max:
            oldest = next(iter(self._open))
            self._evict(oldest, self._open[oldest])
        return log

    def _opened(self, job_id: JobId) -> _Log | None:
        kept = str(self._folder.log_kept(job_id))
        try:
            return _Log(open_regular(self._folder.log(job_id), os.O_RDONLY), kept)
        except FileNotFoundError:
            pass
        # A log that became an archive just now is there as one: it was, before the plain file went.
        path = self._folder.log_archive(job_id)
        try:
            archive = Archive(path)
        except FileNotFoundError:
            return None
        except DamagedArchive as error:
            raise LogDamaged(job_id, path.name, str(error)) from None
        return _Log(archive.fd, kept, archive)

    def _evict(self, job_id: JobId, log: _Log) -> None:
        if self._open.get(job_id) is log:
            del self._open[job_id]
        log.evicted = True
        self._close_unused(log)

    def _release(self, log: _Log) -> None:
        log.readers -= 1
        self._close_unused(log)

    def _close_unused(self, log: _Log) -> None:
        # A number that is closed while a thread reads from it could by then be somebody else's file.
        if log.evicted and not log.readers and log.fd >= 0:
            self._unpacked.pop(log, None)
            os.close(log.fd)
            log.fd = -1
