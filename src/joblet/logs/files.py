"""
The log files of a state folder, as things that take space: counted, cut, compressed, removed.

Of one log there may be

    ID.log      as it was written          ID.kept    where it begins, once its beginning was removed
    ID.log.z    the same compressed        ID.times   how long it was when
    *.tmp       not yet one of these

and whatever a crash interrupts, the log can be read as before or as after: the plain file wins over the archive
until it is gone, and the small files beside it outlive it.

Whoever changes a log holds a lock on its file (flock): the server and a command line do not meet.

Runs in: server, in one thread; an administrator's terminal. May not: touch a log that another process works on.
Source: docs/administrators.md, "How long logs are kept"; flock(2).
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from joblet.domain.job import JobId
from joblet.domain.retention import BLOCK_BYTES, Space, StoredLog
from joblet.logs import archive
from joblet.logs.calls import open_regular
from joblet.logs.kept import check_can_punch, first_data, first_kept, fresh_name, punch, sync_folder, write_first_kept
from joblet.ports import LogBusy
from joblet.statefolder import StateFolder

T = TypeVar("T")

_NAME: Final = re.compile(
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.(?P<kind>log|log\.z|kept|times|.*\.tmp)"
)
_NICENESS: Final = 19


class LogFiles:
    """
    What `FileLogKeeper` does in its thread. Every call blocks.

    Args:
        step: Called between any two changes with what was done last; for tests, which stop here.
    """

    def __init__(self, folder: StateFolder, *, step: Callable[[str], None] = lambda done: None) -> None:
        self._folder = folder
        self._step = step

    def stored(self, *, read_archives: bool = False) -> Sequence[StoredLog]:
        """
        Every log there is.

        Args:
            read_archives: Look into each archive for how long the log is that it holds.

        Raises:
            OSError: The folder cannot be read.
        """
        found: dict[JobId, dict[str, os.stat_result]] = {}
        with os.scandir(self._folder.logs) as entries:
            for entry in entries:
                if (match := _NAME.fullmatch(entry.name)) is None:
                    continue
                name, kind = match.groups()
                try:
                    part = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed meanwhile
                found.setdefault(JobId(name), {})["tmp" if kind.endswith(".tmp") else kind] = part
        return [self._stored(job_id, parts, read_archives) for job_id, parts in found.items()]

    def mend(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.mend`. A damaged archive is left: nothing can mend it."""
        log, packed, kept = self._paths(job_id)
        with self._locked(job_id) as fd:
            before = self._disk_bytes(job_id)
            for path in (packed, kept):
                fresh_name(path).unlink(missing_ok=True)
            if log.exists():
                # An archive beside its log was not yet believed: it is made again.
                packed.unlink(missing_ok=True)
                if first_bytes := first_kept(kept):
                    punch(fd, first_bytes)
            elif packed.exists():
                kept.unlink(missing_ok=True)
            return before - self._disk_bytes(job_id)

    def trim(self, job_id: JobId, first_bytes: int) -> int:
        """See `ports.LogKeeper.trim`. An archive is left as it is."""
        log, _, kept = self._paths(job_id)
        with self._locked(job_id) as fd:
            if not log.exists():
                return 0
            first_bytes = min(first_bytes, os.fstat(fd).st_size) // BLOCK_BYTES * BLOCK_BYTES
            if first_bytes <= first_kept(kept):
                return 0
            before = self._disk_bytes(job_id)
            check_can_punch(fd)
            write_first_kept(kept, first_bytes)
            self._step("the first byte kept is written")
            punch(fd, first_bytes)
            self._step("the beginning is punched out")
            return before - self._disk_bytes(job_id)

    def compress(self, job_id: JobId, go_on: Callable[[], bool] = lambda: True) -> int:
        """
        See `ports.LogKeeper.compress`.

        Raises:
            Interrupted: `go_on` says so.
            DamagedArchive: What was written could not be read back; the log is as it was.
        """
        log, packed, kept = self._paths(job_id)
        fresh = fresh_name(packed)
        with self._locked(job_id) as fd:
            if not log.exists():
                return 0
            before = self._disk_bytes(job_id)
            target = open_regular(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                try:
                    self._step("the archive is begun")
                    written = archive.write(fd, first_kept(kept), os.fstat(fd).st_size, target, go_on)
                finally:
                    os.close(target)
                self._step("the archive is written")
                if archive.digest(fresh, go_on) != written:
                    raise archive.DamagedArchive(f"{fresh.name} does not hold what was put in")
                self._step("the archive is verified")
            except Exception:
                fresh.unlink(missing_ok=True)
                raise
            os.replace(fresh, packed)
            sync_folder(self._folder.logs)
            self._step("the archive has its name")
            log.unlink()
            self._step("the log is unlinked")
            # Until then the hole in the log, should a power failure bring it back, needs its description.
            sync_folder(self._folder.logs)
            kept.unlink(missing_ok=True)
            self._step("its description is unlinked")
            return before - self._disk_bytes(job_id)

    def remove(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.remove`."""
        log, packed, kept = self._paths(job_id)
        with self._locked(job_id):
            before = self._disk_bytes(job_id)
            for path in (log, packed):
                path.unlink(missing_ok=True)
                self._step(f"{path.suffix} is unlinked")
            sync_folder(self._folder.logs)
            for path in (fresh_name(packed), fresh_name(kept), self._folder.log_times(job_id), kept):
                path.unlink(missing_ok=True)
                self._step(f"{path.suffix} is unlinked")
            return before - self._disk_bytes(job_id)

    def space(self) -> Space:
        """See `ports.LogKeeper.space`."""
        found = os.statvfs(self._folder.logs)
        # As df counts: what is reserved for root belongs to nobody.
        used = found.f_blocks - found.f_bfree
        return Space((used + found.f_bavail) * found.f_frsize, found.f_bavail * found.f_frsize)

    def _paths(self, job_id: JobId) -> tuple[Path, Path, Path]:
        return self._folder.log(job_id), self._folder.log_archive(job_id), self._folder.log_kept(job_id)

    def _stored(self, job_id: JobId, parts: dict[str, os.stat_result], read_archives: bool) -> StoredLog:
        plain, archived = "log" in parts, "log.z" in parts
        first_bytes, size_bytes, punched = 0, parts["log"].st_size if plain else 0, True
        # Of most logs nothing needs to be opened: there may be a hundred thousand.
        with contextlib.suppress(FileNotFoundError, archive.DamagedArchive):  # gone meanwhile; told when it is read
            if plain and "kept" in parts:
                if first_bytes := first_kept(self._folder.log_kept(job_id)):
                    punched = _is_punched(self._folder.log(job_id), first_bytes)
            elif archived and not plain and read_archives:
                opened = archive.Archive(self._folder.log_archive(job_id))
                first_bytes, size_bytes = opened.first_bytes, opened.size_bytes
                opened.close()
        return StoredLog(
            job_id,
            size_bytes,
            sum(part.st_blocks * 512 for part in parts.values()),
            first_bytes,
            plain=plain,
            archived=archived,
            interrupted="tmp" in parts or not punched or (archived and (plain or "kept" in parts)),
        )

    def _disk_bytes(self, job_id: JobId) -> int:
        log, packed, kept = self._paths(job_id)
        total = 0
        for path in (log, packed, kept, self._folder.log_times(job_id), fresh_name(packed), fresh_name(kept)):
            with contextlib.suppress(FileNotFoundError):
                total += path.lstat().st_blocks * 512
        return total

    @contextlib.contextmanager
    def _locked(self, job_id: JobId) -> Iterator[int]:
        """
        Be the only one who changes this log.

        Yields:
            A descriptor of the log, or of its archive when only that is there; -1 when neither is.

        Raises:
            LogBusy: Somebody else is.
        """
        log, packed, _ = self._paths(job_id)
        fd = -1
        for path in (log, packed):
            with contextlib.suppress(FileNotFoundError):
                fd = open_regular(path, os.O_RDWR if path == log else os.O_RDONLY)
                break
        try:
            if fd >= 0:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise LogBusy(job_id) from None
                if not os.fstat(fd).st_nlink:
                    raise LogBusy(job_id)  # whoever had it has just replaced it: the next look finds what is there now
            yield fd
        finally:
            if fd >= 0:
                os.close(fd)


def _is_punched(path: Path, first_bytes: int) -> bool:
    fd = open_regular(path, os.O_RDONLY)
    try:
        return first_data(fd) >= first_bytes
    finally:
        os.close(fd)


class FileLogKeeper:
    """
    `ports.LogKeeper` over the log files of a state folder: one call at a time, in a thread that gives way to others.

    Args:
        files: The server's.
    """

    def __init__(self, files: LogFiles) -> None:
        self._files = files
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "retention", initializer=_give_way)

    async def stored(self) -> Sequence[StoredLog]:
        """See `ports.LogKeeper.stored`."""
        return await self._do(self._files.stored)

    async def mend(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.mend`."""
        return await self._do(lambda: self._files.mend(job_id))

    async def trim(self, job_id: JobId, first_bytes: int) -> int:
        """See `ports.LogKeeper.trim`."""
        return await self._do(lambda: self._files.trim(job_id, first_bytes))

    async def compress(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.compress`."""
        try:
            return await self._do(lambda: self._files.compress(job_id, lambda: not self._closing))
        except archive.DamagedArchive as error:
            raise OSError(errno.EIO, f"the archive could not be read back: {error}") from None

    async def remove(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.remove`."""
        return await self._do(lambda: self._files.remove(job_id))

    async def space(self) -> Space:
        """See `ports.LogKeeper.space`."""
        return await self._do(self._files.space)

    def close(self) -> None:
        """End what is under way: an archive after its present block. Blocks so long."""
        self._closing = True
        self._thread.shutdown(cancel_futures=True)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _give_way() -> None:
    # Of this thread alone: on Linux each has a niceness of its own (setpriority(2), "C library/kernel differences").
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
