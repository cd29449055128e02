"""Reading log files: from the page cache at once, from the disk in a thread, and never outside the folder."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest

from joblet.domain.job import JobId
from joblet.logs.reader import FileLogStore
from joblet.statefolder import StateFolder
from joblet.testing.contracts.log_store import an_id


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


def write(folder: StateFolder, job_id: JobId, data: bytes) -> None:
    folder.log(job_id).write_bytes(data)


def open_files() -> set[str]:
    return {os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)}


def logs_open(folder: StateFolder) -> int:
    return sum(name.startswith(str(folder.logs)) for name in open_files())


async def test_what_is_in_the_page_cache_is_read_without_a_thread(folder: StateFolder) -> None:
    """Virtual time has no threads: this very test would break with one."""
    store = FileLogStore(folder)
    job_id = an_id()
    data = os.urandom(3 * 1024 * 1024)
    write(folder, job_id, data)
    before = threading.active_count()

    read = [await store.read(job_id, at, 1024 * 1024) for at in range(0, len(data), 1024 * 1024)]

    assert b"".join(read) == data
    assert threading.active_count() == before
    store.close()


class Cold:
    """`os.preadv` of a file that is not in the page cache."""

    def __init__(self, error: int) -> None:
        self.error = error
        self.calls = 0

    def __call__(self, *_: object) -> int:
        self.calls += 1
        raise OSError(self.error, os.strerror(self.error))


@pytest.mark.real_time
@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EOPNOTSUPP])
async def test_what_would_wait_for_the_disk_is_read_in_a_thread(folder: StateFolder, error: int) -> None:
    cold = Cold(error)
    store = FileLogStore(folder, read_cached=cold)
    job_id = an_id()
    write(folder, job_id, b"0123456789")

    assert await store.read(job_id, 2, 5) == b"23456"
    assert cold.calls == 1
    store.close()


@pytest.mark.real_time
async def test_a_broken_disk_is_an_error_and_not_an_empty_log(folder: StateFolder) -> None:
    store = FileLogStore(folder, read_cached=Cold(errno.EIO))
    job_id = an_id()
    write(folder, job_id, b"0123456789")

    with pytest.raises(OSError, match="Input/output error"):
        await store.read(job_id, 0, 5)
    store.close()


@pytest.mark.real_time
async def test_a_file_is_closed_only_when_no_thread_reads_from_it(folder: StateFolder) -> None:
    """Also when the reader is gone: a number closed too early could by then be another job's file."""
    began, disk_works = threading.Barrier(3, timeout=10), threading.Event()

    def slow_disk(fd: int, length: int, offset_bytes: int) -> bytes:
        began.wait()
        assert disk_works.wait(10)
        return os.pread(fd, length, offset_bytes)

    store = FileLogStore(folder, open_max=1, read_cached=Cold(errno.EAGAIN), read_disk=slow_disk)
    staying, leaving, other = an_id(), an_id(), an_id()
    for job_id in (staying, leaving, other):
        write(folder, job_id, job_id.encode())
    reads = [asyncio.create_task(store.read(job_id, 0, 36)) for job_id in (staying, leaving)]
    await asyncio.to_thread(began.wait)

    reads[1].cancel()
    await asyncio.wait((reads[1],))
    assert store.size_bytes(other) == 36
    assert logs_open(folder) == 3
    disk_works.set()

    assert await reads[0] == staying.encode()
    store.close()


async def test_no_more_files_are_open_than_allowed_and_none_after_close(folder: StateFolder) -> None:
    store = FileLogStore(folder, open_max=4)
    ids = [an_id() for _ in range(20)]
    for job_id in ids:
        write(folder, job_id, b"x")
        assert store.size_bytes(job_id) == 1
    assert logs_open(folder) == 4
    assert str(folder.log(ids[-1])) in open_files()

    store.close()

    assert logs_open(folder) == 0


async def test_a_link_planted_in_the_folder_is_not_followed(folder: StateFolder, tmp_path: Path) -> None:
    store = FileLogStore(folder)
    job_id = an_id()
    secret = tmp_path / "secret"
    secret.write_bytes(b"hunter2")
    folder.log(job_id).symlink_to(secret)

    with pytest.raises(OSError, match="symbolic links"):
        await store.read(job_id, 0, 100)
    store.close()


@pytest.mark.parametrize(
    "name", ["../joblet", "..", "", "/etc/passwd", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "\0", "x" * 5000]
)
async def test_a_name_that_is_no_uuid_opens_nothing(folder: StateFolder, name: str) -> None:
    store = FileLogStore(folder)
    (folder.root / "joblet.log").write_bytes(b"hunter2")
    before = open_files()

    assert await store.read(JobId(name), 0, 100) == b""
    assert store.size_bytes(JobId(name)) == 0

    assert open_files() == before
    store.close()


@pytest.mark.parametrize("offset", [2**62 + 1, 2**63 - 1])
async def test_an_offset_beyond_any_file_has_nothing(folder: StateFolder, offset: int) -> None:
    """Offset and length together must stay within what pread takes: EINVAL was a traceback in the server log."""
    store = FileLogStore(folder)
    job_id = an_id()
    write(folder, job_id, b"short")

    assert await store.read(job_id, offset, 1024 * 1024) == b""
    store.close()
