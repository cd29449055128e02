"""The log files on a real disk: cut, compressed and removed, interrupted at every step, and read meanwhile."""

import asyncio
import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from joblet.domain.errors import LogDamaged
from joblet.domain.job import JobId
from joblet.domain.retention import StoredLog
from joblet.logs.archive import DamagedArchive, Interrupted
from joblet.logs.files import FileLogKeeper, LogFiles
from joblet.logs.kept import first_data, fresh_name, write_first_kept
from joblet.logs.reader import FileLogStore
from joblet.ports import LogBusy, NotKept
from joblet.statefolder import StateFolder
from joblet.testing.contracts.log_store import an_id

DATA = random.Random(20240115).randbytes(1_200_000).replace(b"\0", b"x")  # a zero is a hole that was read
FIRST = 1_003_520  # 245 blocks


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


def a_log(folder: StateFolder, data: bytes = DATA) -> JobId:
    job_id = an_id()
    folder.log(job_id).write_bytes(data)
    return job_id


def the_log(folder: StateFolder, job_id: JobId) -> StoredLog | None:
    return {log.job_id: log for log in LogFiles(folder).stored(read_archives=True)}.get(job_id)


async def readable(folder: StateFolder, job_id: JobId) -> tuple[int, bytes]:
    """Where a log begins, and everything from there on, as a new server reads it."""
    store = FileLogStore(folder)
    first = at = store.first_bytes(job_id)
    parts = []
    while part := await store.read(job_id, at, 1 << 20):
        parts.append(part)
        at += len(part)
    store.close()
    return first, b"".join(parts)


class Crash(BaseException):
    """The machine stops here."""


def crashing_at(nth: int) -> Callable[[str], None]:
    steps = itertools.count(1)

    def step(done: str) -> None:
        if next(steps) == nth:
            raise Crash(done)

    return step


@pytest.mark.real_time
@pytest.mark.parametrize("cut_before", [0, 8192])
async def test_compressing_that_crashes_at_any_step_leaves_a_log_that_can_be_read(
    folder: StateFolder, cut_before: int
) -> None:
    for nth in itertools.count(1):
        job_id = a_log(folder)
        LogFiles(folder).trim(job_id, cut_before)
        try:
            LogFiles(folder, step=crashing_at(nth)).compress(job_id)
        except Crash:
            pass
        else:
            break
        assert await readable(folder, job_id) == (cut_before, DATA[cut_before:])

        LogFiles(folder).mend(job_id)
        LogFiles(folder).compress(job_id)

        assert await readable(folder, job_id) == (cut_before, DATA[cut_before:])
        assert sorted(path.name for path in folder.logs.glob(f"{job_id}*")) == [f"{job_id}.log.z"]
    assert nth > 6


@pytest.mark.real_time
async def test_cutting_that_crashes_at_any_step_never_makes_zeros_of_bytes(folder: StateFolder) -> None:
    for nth in itertools.count(1):
        job_id = a_log(folder)
        try:
            LogFiles(folder, step=crashing_at(nth)).trim(job_id, FIRST)
        except Crash:
            pass
        else:
            break
        first, read = await readable(folder, job_id)
        assert first in (0, FIRST)
        assert read == DATA[first:]

        LogFiles(folder).mend(job_id)

        found = the_log(folder, job_id)
        assert found is not None
        assert not found.interrupted
        assert found.disk_bytes < 250_000
        assert await readable(folder, job_id) == (FIRST, DATA[FIRST:])
    assert nth > 2


@pytest.mark.real_time
@pytest.mark.parametrize("compressed", [False, True])
async def test_removing_that_crashes_at_any_step_leaves_all_or_nothing(folder: StateFolder, compressed: bool) -> None:
    for nth in itertools.count(1):
        job_id = a_log(folder)
        LogFiles(folder).trim(job_id, 8192)
        folder.log_times(job_id).write_bytes(bytes(16))
        if compressed:
            LogFiles(folder).compress(job_id)
        try:
            LogFiles(folder, step=crashing_at(nth)).remove(job_id)
        except Crash:
            pass
        else:
            break
        assert await readable(folder, job_id) in ((8192, DATA[8192:]), (0, b""))

        LogFiles(folder).remove(job_id)

        assert the_log(folder, job_id) is None
        assert list(folder.logs.glob(f"{job_id}*")) == []
    assert nth > 4


def test_a_cut_log_keeps_its_size_and_gives_its_beginning_back(folder: StateFolder) -> None:
    job_id = a_log(folder)

    freed = LogFiles(folder).trim(job_id, FIRST + 100)

    found = folder.log(job_id).stat()
    assert found.st_size == len(DATA)
    assert found.st_blocks * 512 < 250_000
    assert freed > 900_000


async def test_a_log_is_cut_while_it_grows(folder: StateFolder) -> None:
    """As the supervisor writes it: through a descriptor at the end of the file."""
    job_id = a_log(folder)
    with folder.log(job_id).open("r+b") as writer:
        writer.seek(0, os.SEEK_END)
        LogFiles(folder).trim(job_id, FIRST)
        writer.write(b"and more")
        writer.flush()
        LogFiles(folder).trim(job_id, FIRST + 8192)

    assert await readable(folder, job_id) == (FIRST + 8192, DATA[FIRST + 8192 :] + b"and more")


@pytest.mark.real_time
async def test_a_read_that_a_cut_overtakes_is_no_read(folder: StateFolder) -> None:
    """The bytes that came may be a hole's: they are asked for after the file that says so was written."""
    job_id = a_log(folder)

    def cut_then_read(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        LogFiles(folder).trim(job_id, FIRST)
        return os.preadv(fd, buffers, offset, flags)

    store = FileLogStore(folder, read_cached=cut_then_read)

    with pytest.raises(NotKept) as raised:
        await store.read(job_id, 0, 1000)

    assert raised.value.first_bytes == FIRST
    store.close()


@pytest.mark.real_time
async def test_a_follower_reads_on_while_its_log_is_compressed(folder: StateFolder) -> None:
    """Also when it is cut and compressed between two of its reads, and its file was open all the time."""
    for cut_before in (0, 8192):
        job_id = a_log(folder)
        store = FileLogStore(folder)
        read = await store.read(job_id, 0, 100_000)

        LogFiles(folder).trim(job_id, cut_before)
        LogFiles(folder).compress(job_id)

        while part := await store.read(job_id, len(read), 100_000):
            read += part
        assert read == DATA
        if cut_before:
            with pytest.raises(NotKept):
                await store.read(job_id, 0, 100)
        store.close()


@pytest.mark.real_time
async def test_many_readers_of_archives_hold_few_blocks(folder: StateFolder) -> None:
    ids = [a_log(folder, DATA[number : number + 50_000]) for number in range(40)]
    for job_id in ids:
        LogFiles(folder).compress(job_id)
    store = FileLogStore(folder)

    read = await asyncio.gather(*(store.read(job_id, 10, 40_000) for job_id in ids * 3))

    assert read == [DATA[number + 10 : number + 40_010] for number in range(40)] * 3
    assert sum(log.block is not None for log in store._open.values()) <= 16
    store.close()


@pytest.mark.real_time
async def test_a_damaged_archive_is_named(folder: StateFolder) -> None:
    block, end = a_log(folder), a_log(folder)
    for job_id in (block, end):
        LogFiles(folder).compress(job_id)
    with folder.log_archive(block).open("r+b") as file:
        file.seek(500)
        file.write(b"oops")
    os.truncate(folder.log_archive(end), 100)
    store = FileLogStore(folder)

    with pytest.raises(LogDamaged, match=rf"{block}\.log\.z: block 0 "):
        await store.read(block, 0, 100)
    with pytest.raises(LogDamaged, match=rf"{block}\.log\.z: block 0 "):
        await store.read(block, 0, 100)
    with pytest.raises(LogDamaged, match=rf"{end}\.log\.z: it has no end"):
        store.size_bytes(end)
    store.close()


@pytest.mark.real_time
async def test_whatever_happens_to_a_log_its_readers_get_its_bytes_or_are_told(folder: StateFolder) -> None:
    """A writer, cuts and at last an archive, in a thread of their own, against readers at random offsets."""
    seed = random.Random(6)
    told = 0
    for round_ in range(10):
        job_id = a_log(folder, DATA[:200_000])
        store = FileLogStore(folder)
        happening = threading.Thread(target=a_life_of_a_log, args=(folder, job_id, round_))
        happening.start()
        while happening.is_alive():
            at, most_bytes = seed.randrange(len(DATA)), seed.choice((10, 5000, 1 << 20))
            read, first = await read_or_first(store, job_id, at, most_bytes)
            assert (read or first > at) or at >= 200_000
            assert read == DATA[at : at + len(read)]
            told += first > at
        happening.join()
        begin = store.first_bytes(job_id)
        assert await readable(folder, job_id) == (begin, DATA[begin:])
        store.close()
    assert told > 10


def a_life_of_a_log(folder: StateFolder, job_id: JobId, seed: int) -> None:
    """It grows, is cut a few times, and becomes an archive."""
    chance = random.Random(seed)
    with folder.log(job_id).open("r+b") as writer:
        writer.seek(0, os.SEEK_END)
        for _ in range(chance.randrange(1, 10)):
            writer.write(DATA[writer.tell() :][:100_000])
            writer.flush()
            LogFiles(folder).trim(job_id, chance.randrange(writer.tell()))
        writer.write(DATA[writer.tell() :])
    LogFiles(folder).compress(job_id)


async def read_or_first(store: FileLogStore, job_id: JobId, at: int, most_bytes: int) -> tuple[bytes, int]:
    """What is read, or where the log begins now."""
    try:
        return await store.read(job_id, at, most_bytes), 0
    except NotKept as error:
        return b"", error.first_bytes


def test_a_log_that_another_process_works_on_is_left(folder: StateFolder) -> None:
    job_id = a_log(folder)
    tried: list[type[BaseException]] = []

    def meanwhile(done: str) -> None:
        for change in (LogFiles(folder).remove, LogFiles(folder).compress, LogFiles(folder).mend):
            with pytest.raises(LogBusy) as refused:
                change(job_id)
            tried.append(refused.type)

    LogFiles(folder, step=meanwhile).trim(job_id, FIRST)

    assert tried == [LogBusy] * 6


def test_what_is_no_log_is_not_counted(folder: StateFolder) -> None:
    (folder.logs / "README").write_bytes(b"x")
    (folder.logs / "not-an-id.log").write_bytes(b"x")

    assert LogFiles(folder).stored() == []


def test_a_disk_that_refuses_the_archive_leaves_the_log(folder: StateFolder) -> None:
    job_id = a_log(folder)

    def refuse(done: str) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        LogFiles(folder, step=refuse).compress(job_id)

    assert sorted(path.name for path in folder.logs.glob(f"{job_id}*")) == [f"{job_id}.log"]


def test_an_archive_that_does_not_hold_the_log_is_not_believed(folder: StateFolder) -> None:
    """Though it is a whole one: of another log."""
    other, job_id = a_log(folder, b"other"), a_log(folder)
    LogFiles(folder).compress(other)

    def exchange(done: str) -> None:
        if done == "the archive is written":
            os.replace(folder.log_archive(other), fresh_name(folder.log_archive(job_id)))

    with pytest.raises(DamagedArchive, match="does not hold what was put in"):
        LogFiles(folder, step=exchange).compress(job_id)

    assert sorted(path.name for path in folder.logs.iterdir()) == [f"{job_id}.log"]


def test_the_hole_of_a_log_is_finished_when_only_half_of_it_was_made(folder: StateFolder) -> None:
    job_id = a_log(folder)
    LogFiles(folder).trim(job_id, 8192)
    write_first_kept(folder.log_kept(job_id), FIRST)
    found = the_log(folder, job_id)
    assert found is not None
    assert found.interrupted

    LogFiles(folder).mend(job_id)

    with folder.log(job_id).open("rb") as file:
        assert first_data(file.fileno()) == FIRST


@pytest.mark.real_time
async def test_an_archive_that_is_given_up_leaves_the_log(folder: StateFolder) -> None:
    job_id = a_log(folder)

    with pytest.raises(Interrupted):
        LogFiles(folder).compress(job_id, go_on=lambda: False)

    assert sorted(path.name for path in folder.logs.glob(f"{job_id}*")) == [f"{job_id}.log"]


@pytest.mark.real_time
async def test_a_keeper_works_in_a_thread_that_gives_way(folder: StateFolder) -> None:
    seen: list[tuple[str, int]] = []

    def look(done: str) -> None:
        seen.append((threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))

    keeper = FileLogKeeper(LogFiles(folder, step=look))
    await keeper.remove(a_log(folder))
    keeper.close()

    assert {(name.partition("_")[0], niceness) for name, niceness in seen} == {("retention", 19)}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19
