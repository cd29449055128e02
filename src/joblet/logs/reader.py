"""
The logs of jobs, read from their files: `ports.LogStore`.

What is in the page cache is copied at once, in the loop: a hop to a thread costs more than the
copy of a whole MiB. Only a read that would wait for the disk goes to a thread.

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

from joblet.domain.job import JobId
from joblet.statefolder import StateFolder

OPEN_MAX: Final = 128
_LAST_OFFSET: Final = 1 << 62  # beyond it, offset and length together leave what pread takes
_MAX_READ_BYTES: Final = 1024 * 1024
_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# EAGAIN: not in the page cache. EOPNOTSUPP: this file system cannot say (tmpfs before 6.6, FUSE).
_WOULD_WAIT: Final = frozenset((errno.EAGAIN, errno.EOPNOTSUPP))

ReadCached = Callable[[int, list[memoryview], int, int], int]
ReadDisk = Callable[[int, int, int], bytes]


class _Log:
    """An open file. Closed once nobody reads it any more and it has left the cache."""

    __slots__ = ("evicted", "fd", "readers")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.readers = 0
        self.evicted = False


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
        # One warm buffer for all: filled and copied out without an await in between.
        self._buffer = bytearray(_MAX_READ_BYTES)

    async def read(self, job_id: JobId, offset_bytes: int, max_bytes: int) -> bytes:
        """See `ports.LogStore.read`. Raises OSError when the disk cannot be read."""
        log = self._get(job_id)
        if log is None or offset_bytes > _LAST_OFFSET:
            return b""
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

    def size_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.size_bytes`."""
        log = self._get(job_id)
        return 0 if log is None else os.fstat(log.fd).st_size

    def close(self) -> None:
        """Close every file, those being read in a thread after that."""
        for log in self._open.values():
            log.evicted = True
            self._close_unused(log)
        self._open.clear()

    def _get(self, job_id: JobId) -> _Log | None:
        log = self._open.get(job_id)
        if log is not None:
            self._open.move_to_end(job_id)
            return log
        if not _ID.fullmatch(job_id):
            return None
        try:
            fd = os.open(self._folder.log(job_id), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        log = self._open[job_id] = _Log(fd)
        if len(self._open) > self._open_max:
            _, oldest = self._open.popitem(last=False)
            oldest.evicted = True
            self._close_unused(oldest)
        return log

    def _release(self, log: _Log) -> None:
        log.readers -= 1
        self._close_unused(log)

    @staticmethod
    def _close_unused(log: _Log) -> None:
        # A number that is closed while a thread reads from it could by then be somebody else's file.
        if log.evicted and not log.readers and log.fd >= 0:
            os.close(log.fd)
            log.fd = -1
