"""
What `ports.LogStore` promises, as checks for every log store.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import pytest

from joblet.domain.job import JobId
from joblet.ports import LogStore, NotKept


class LogStoreSubject(Protocol):
    """A log store under test, and whoever fills it."""

    @property
    def store(self) -> LogStore:
        """The store."""

    def append(self, job_id: JobId, data: bytes) -> None:
        """More output of a job; readable on return."""

    def note_time(self, job_id: JobId, now_ns: int) -> None:
        """It becomes known how long the log was at this time."""

    async def trim(self, job_id: JobId, first_bytes: int) -> None:
        """The log's beginning is removed."""

    async def compress(self, job_id: JobId) -> None:
        """The log becomes an archive."""

    async def remove(self, job_id: JobId) -> None:
        """The log is removed whole."""


def an_id() -> JobId:
    """Of a new job."""
    return JobId(str(uuid.uuid4()))


async def a_job_without_a_log_reads_as_empty(subject: LogStoreSubject) -> None:
    """`LogStore.read`, `size_bytes`."""
    job_id = an_id()

    assert await subject.store.read(job_id, 0, 100) == b""
    assert subject.store.size_bytes(job_id) == 0


async def bytes_are_read_from_an_offset(subject: LogStoreSubject) -> None:
    """`LogStore.read`: at most `max_bytes`."""
    job_id = an_id()
    subject.append(job_id, b"0123456789")

    assert await subject.store.read(job_id, 0, 4) == b"0123"
    assert await subject.store.read(job_id, 4, 100) == b"456789"
    assert await subject.store.read(job_id, 10, 100) == b""
    assert await subject.store.read(job_id, 1000, 100) == b""


async def a_log_grows_and_keeps_what_it_had(subject: LogStoreSubject) -> None:
    """`LogStore.read`: for ever."""
    job_id = an_id()
    assert subject.store.size_bytes(job_id) == 0
    subject.append(job_id, b"one\n")
    assert await subject.store.read(job_id, 4, 100) == b""

    subject.append(job_id, b"\0\xff two\n")

    assert subject.store.size_bytes(job_id) == 11
    assert await subject.store.read(job_id, 0, 100) == b"one\n\0\xff two\n"


async def a_removed_beginning_renumbers_nothing(subject: LogStoreSubject) -> None:
    """`LogStore.read`, `first_bytes`: byte n stays byte n, and what is removed is never read as something else."""
    job_id = an_id()
    data = bytes(range(1, 256)) * 100
    subject.append(job_id, data)
    assert subject.store.first_bytes(job_id) == 0
    assert await subject.store.read(job_id, 0, 10) == data[:10]

    await subject.trim(job_id, 8192)
    subject.append(job_id, b"more")

    assert (subject.store.first_bytes(job_id), subject.store.size_bytes(job_id)) == (8192, len(data) + 4)
    assert await subject.store.read(job_id, 8192, 50_000) == data[8192:] + b"more"
    for offset in (0, 8191):
        with pytest.raises(NotKept) as raised:
            await subject.store.read(job_id, offset, 10_000)
        assert raised.value.first_bytes == 8192


async def an_archive_has_the_same_bytes_at_the_same_offsets(subject: LogStoreSubject) -> None:
    """`LogStore.read`: whether or not it was read before, and whether or not its beginning was removed."""
    data = random.Random(6).randbytes(2_500_000)
    for first_bytes in (0, 8192):
        job_id = an_id()
        subject.append(job_id, data)
        assert await subject.store.read(job_id, 9000, 5) == data[9000:9005]
        await subject.trim(job_id, first_bytes)

        await subject.compress(job_id)
        subject.store.refresh()

        assert (subject.store.first_bytes(job_id), subject.store.size_bytes(job_id)) == (first_bytes, len(data))
        for offset in (first_bytes, 9000, 1_048_575, 2_499_999):
            read = await subject.store.read(job_id, offset, 1000)
            assert read
            assert read == data[offset : offset + len(read)]
        assert await subject.store.read(job_id, len(data), 1000) == b""
        if first_bytes:
            with pytest.raises(NotKept):
                await subject.store.read(job_id, 0, 1000)


async def a_removed_log_is_not_there(subject: LogStoreSubject) -> None:
    """`LogStore.size_bytes`: at once, though it was being read."""
    job_id = an_id()
    subject.append(job_id, b"0123456789")
    subject.note_time(job_id, 1)
    assert await subject.store.read(job_id, 0, 4) == b"0123"

    await subject.remove(job_id)

    assert (subject.store.first_bytes(job_id), subject.store.size_bytes(job_id)) == (0, 0)
    assert await subject.store.read(job_id, 0, 100) == b""
    assert await subject.store.offset_at(job_id, 2) == 0


async def a_time_leads_to_the_last_offset_known_not_to_be_later(subject: LogStoreSubject) -> None:
    """`LogStore.offset_at`."""
    job_id = an_id()
    assert await subject.store.offset_at(job_id, 10**18) == 0
    for number in range(1, 6):
        subject.append(job_id, b"12345")
        subject.note_time(job_id, number * 10**9)

    found = [await subject.store.offset_at(job_id, round(at * 10**9)) for at in (0, 0.9, 1, 1.5, 5, 1000)]

    assert found == [0, 0, 5, 5, 25, 25]


async def logs_do_not_mix(subject: LogStoreSubject) -> None:
    """Each job has its own."""
    ids = [an_id() for _ in range(300)]
    for number, job_id in enumerate(ids):
        subject.append(job_id, b"%d" % number)

    read = await asyncio.gather(*(subject.store.read(job_id, 0, 100) for job_id in ids + ids))

    assert read == [b"%d" % number for number in range(300)] * 2


async def an_id_that_is_a_path_has_no_log(subject: LogStoreSubject) -> None:
    """Nothing outside is ever read."""
    for path in ("../joblet.db", "/etc/passwd", "..", "", "a/b", "\0"):
        assert await subject.store.read(JobId(path), 0, 100) == b""
        assert subject.store.size_bytes(JobId(path)) == 0
        assert await subject.store.offset_at(JobId(path), 10**18) == 0


LOG_STORE_CONTRACT: Final[Sequence[Callable[[LogStoreSubject], Awaitable[None]]]] = (
    a_job_without_a_log_reads_as_empty,
    bytes_are_read_from_an_offset,
    a_log_grows_and_keeps_what_it_had,
    a_removed_beginning_renumbers_nothing,
    an_archive_has_the_same_bytes_at_the_same_offsets,
    a_removed_log_is_not_there,
    a_time_leads_to_the_last_offset_known_not_to_be_later,
    logs_do_not_mix,
    an_id_that_is_a_path_has_no_log,
)
