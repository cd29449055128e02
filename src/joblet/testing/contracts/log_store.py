"""
What `ports.LogStore` promises, as checks for every log store.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from joblet.domain.job import JobId
from joblet.ports import LogStore


class LogStoreSubject(Protocol):
    """A log store under test, and whoever fills it."""

    @property
    def store(self) -> LogStore:
        """The store."""

    def append(self, job_id: JobId, data: bytes) -> None:
        """More output of a job; readable on return."""


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


LOG_STORE_CONTRACT: Final[Sequence[Callable[[LogStoreSubject], Awaitable[None]]]] = (
    a_job_without_a_log_reads_as_empty,
    bytes_are_read_from_an_offset,
    a_log_grows_and_keeps_what_it_had,
    logs_do_not_mix,
    an_id_that_is_a_path_has_no_log,
)
