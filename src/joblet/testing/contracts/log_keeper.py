"""
What `ports.LogKeeper` promises, as checks for every keeper of logs.

Runs in: tests. May not: be imported by production code.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from joblet.domain.job import JobId
from joblet.domain.retention import StoredLog
from joblet.ports import LogKeeper
from joblet.testing.contracts.log_store import an_id

DATA: Final = b"a line of a log\n" * 4096  # 64 KiB


class LogKeeperSubject(Protocol):
    """A keeper under test, and whoever fills its logs."""

    @property
    def keeper(self) -> LogKeeper:
        """The keeper."""

    def append(self, job_id: JobId, data: bytes) -> None:
        """More output of a job."""

    def interrupt(self, job_id: JobId) -> None:
        """Leave something half-done with a log."""


async def the_log(keeper: LogKeeper, job_id: JobId) -> StoredLog | None:
    """What the keeper says of one log."""
    return {log.job_id: log for log in await keeper.stored()}.get(job_id)


async def every_log_is_counted(subject: LogKeeperSubject) -> None:
    """`LogKeeper.stored`."""
    assert await subject.keeper.stored() == []
    ids = [an_id() for _ in range(3)]
    for job_id in ids:
        subject.append(job_id, DATA)

    stored = await subject.keeper.stored()

    assert sorted(log.job_id for log in stored) == sorted(ids)
    assert {(log.size_bytes, log.first_bytes, log.plain, log.archived) for log in stored} == {
        (len(DATA), 0, True, False)
    }
    assert all(log.disk_bytes >= len(DATA) and not log.interrupted for log in stored)


async def a_beginning_is_given_back_in_whole_blocks(subject: LogKeeperSubject) -> None:
    """`LogKeeper.trim`: never twice, never backwards, and never beyond what is there."""
    job_id = an_id()
    subject.append(job_id, DATA)

    freed = [await subject.keeper.trim(job_id, first_bytes) for first_bytes in (10_000, 10_000, 100, 10**9)]

    assert freed[0] > 0
    assert freed[1:3] == [0, 0]
    found = await the_log(subject.keeper, job_id)
    assert found is not None
    assert (found.first_bytes, found.size_bytes) == (len(DATA), len(DATA))


async def an_archive_takes_less(subject: LogKeeperSubject) -> None:
    """`LogKeeper.compress`, also twice."""
    job_id = an_id()
    subject.append(job_id, DATA)

    freed = [await subject.keeper.compress(job_id), await subject.keeper.compress(job_id)]

    found = await the_log(subject.keeper, job_id)
    assert found is not None
    assert (found.plain, found.archived) == (False, True)
    assert freed[0] > len(DATA) // 2
    assert freed[1] == 0


async def a_removed_log_is_not_counted(subject: LogKeeperSubject) -> None:
    """`LogKeeper.remove`, also twice, and of an archive."""
    plain, archive = an_id(), an_id()
    for job_id in (plain, archive):
        subject.append(job_id, DATA)
    await subject.keeper.compress(archive)

    freed = [await subject.keeper.remove(job_id) for job_id in (plain, archive, plain)]

    assert await subject.keeper.stored() == []
    assert freed[0] >= len(DATA)
    assert 0 < freed[1] < freed[0]
    assert freed[2] == 0


async def what_was_interrupted_is_mended(subject: LogKeeperSubject) -> None:
    """`LogKeeper.mend`."""
    job_id = an_id()
    subject.append(job_id, DATA)
    subject.interrupt(job_id)
    found = await the_log(subject.keeper, job_id)
    assert found is not None
    assert found.interrupted

    await subject.keeper.mend(job_id)

    found = await the_log(subject.keeper, job_id)
    assert found is not None
    assert (found.interrupted, found.size_bytes) == (False, len(DATA))


async def the_disk_has_a_size(subject: LogKeeperSubject) -> None:
    """`LogKeeper.space`."""
    space = await subject.keeper.space()

    assert 0 <= space.free_bytes <= space.size_bytes
    assert 0.0 <= space.used <= 1.0


LOG_KEEPER_CONTRACT: Final[Sequence[Callable[[LogKeeperSubject], Awaitable[None]]]] = (
    every_log_is_counted,
    a_beginning_is_given_back_in_whole_blocks,
    an_archive_takes_less,
    a_removed_log_is_not_counted,
    what_was_interrupted_is_mended,
    the_disk_has_a_size,
)
