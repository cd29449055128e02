"""
What a log survives beside a slow disk: calls that fail where nobody expects it, and threads that meet.

Runs in: pytest, on real pipes, memfds and files.
"""

import errno
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from joblet.logs.blocks import LARGEST_BLOCK_BYTES, Buffers
from joblet.logs.calls import REAL, Calls, open_regular
from joblet.logs.memfd import LogMemory, memory_file
from joblet.logs.memory import Memory
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.pipe import output_pipe
from joblet.logs.records import RecordSpool
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem, LogSettings
from joblet.logs.times import TimeIndex
from joblet.logs.writer import RETRY_S
from joblet.supervisor.drain import Drain
from joblet.supervisor.loop import Loop
from joblet.testing.output import numbered, told

BLOCK: Final = 4096
OUTPUT: Final = numbered(0, 6 * BLOCK)
EVERYTHING: Final = 1 << 30


def once(call: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The call, which fails the first time."""
    failed: list[bool] = []

    def failing(*arguments: Any, **named: Any) -> Any:
        if not failed:
            failed.append(True)
            raise OSError(number, os.strerror(number))
        return call(*arguments, **named)

    return failing


def filled(folder: Path, calls: Calls = REAL) -> Spool:
    """A log whose job has written OUTPUT and ended."""
    read_fd, write_fd = output_pipe()
    times = TimeIndex(folder / "job.times")
    spool = Spool(read_fd, memory_file("job"), folder / "job.log", times, block_bytes=BLOCK, calls=calls)
    os.write(write_fd, OUTPUT)
    os.close(write_fd)
    spool.pump()
    return spool


def records_in(path: Path) -> RecordSpool:
    """A log of this process, without a system."""
    memory = Memory()
    return RecordSpool(path, memory, Buffers(memory), LARGEST_BLOCK_BYTES)


def test_memory_that_the_overflow_thread_frees_wakes_the_loop(tmp_path: Path) -> None:
    """With a disk that stands still nobody else would: jobs would wait although there is memory again."""
    system = AsyncLogSystem(LogSettings(8 * BLOCK, policy=Policy(Overflow.COMPRESS)))
    spool = filled(tmp_path)
    system.add(spool)
    system.relief.step()
    system.notices()
    system.progress()

    system.relief.step()

    assert select.select([system.event_fd], [], [], 0)[0]


def test_the_overflow_thread_tries_again_by_itself(tmp_path: Path) -> None:
    calls = Calls(pwrite=once(os.pwrite, errno.ENOSPC))
    system = AsyncLogSystem(LogSettings(6 * BLOCK, policy=Policy(Overflow.COMPRESS)), calls=calls)
    spool = filled(tmp_path, calls)
    system.add(spool)
    system.relief.start()
    system.relief.want()

    while not system.metrics.compressed_blocks:
        assert select.select([system.event_fd], [], [], 20 * RETRY_S)[0]
        system.progress()
        system.notices()

    system.relief.close()


def test_a_drop_that_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    policy = Policy(Overflow.SAMPLE, sample_every=3)
    spool = filled(tmp_path, Calls(pwrite=once(os.pwrite, errno.ENOSPC)))
    assert spool.relieve(policy) == 0

    with pytest.raises(OSError, match="No space left"):
        spool.relieve(policy)
    while spool.relieve(policy) is not None:
        pass
    spool.store(EVERYTHING)

    assert spool.backlog_bytes == 0
    assert told((tmp_path / "job.log").read_bytes(), OUTPUT) == len(OUTPUT)


def test_memory_that_cannot_be_given_back_is_still_accounted_for(tmp_path: Path) -> None:
    calls = Calls(punch_hole=once(REAL.punch_hole, errno.ENOMEM))
    system = AsyncLogSystem(LogSettings(6 * BLOCK, policy=Policy(Overflow.COMPRESS)), calls=calls)
    spool = filled(tmp_path, calls)
    system.add(spool)
    system.relief.step()

    while spool.backlog_bytes:
        system.writer.step()
    system.discard(spool)

    assert system.memory.held_bytes == 0
    assert (tmp_path / "job.log").read_bytes() == OUTPUT


def test_a_pipe_whose_bytes_find_no_memory_is_emptied_later(tmp_path: Path) -> None:
    system = AsyncLogSystem(calls=Calls(splice=once(os.splice, errno.ENOSPC)))
    read_fd, write_fd = output_pipe()
    spool = system.spool(read_fd, memory_file("job"), tmp_path / "job.log", tmp_path / "job.times")
    system.add(spool)
    loop = Loop()
    drain = Drain(loop, system, spool, lambda _drain: None)
    os.write(write_fd, b"kept")

    assert not drain.finish()
    assert drain.finish()

    assert spool.received_bytes == 4
    (notice,) = system.notices()
    assert (notice.level, notice.fields["why"]) == ("WARN", "No space left on device")


def test_a_spilled_block_whose_disk_is_away_is_waited_for(tmp_path: Path) -> None:
    policy = Policy(Overflow.SPILL, tmp_path / "spilled")
    before = filled(tmp_path)
    assert before.relieve(policy)
    (tmp_path / "spilled").rename(tmp_path / "away")
    times = TimeIndex(tmp_path / "job.times")
    after = Spool(os.dup(before.pipe_fd), os.dup(before.memory_fd), before.path, times, block_bytes=BLOCK)

    with pytest.raises(FileNotFoundError):
        after.store(EVERYTHING)
    (tmp_path / "away").rename(tmp_path / "spilled")
    after.store(EVERYTHING)

    assert before.path.read_bytes() == OUTPUT


def test_a_spill_path_is_read_as_it_was_written_last() -> None:
    memory = LogMemory(memory_file("job"))
    memory.put_spill_path(Path("/mnt/second-disk/a.spill"))
    memory.put_spill_path(Path("/s/a.spill"))

    assert memory.spill_path() == Path("/s/a.spill")
    os.close(memory.fd)


def test_logs_of_one_name_do_not_share_what_is_spilled(tmp_path: Path) -> None:
    policy = Policy(Overflow.SPILL, tmp_path / "spilled")
    logs = []
    for name in (b"a", b"b"):
        (tmp_path / name.decode()).mkdir()
        log = records_in(tmp_path / name.decode() / "log")
        log.put(name * 100)
        log.relieve(policy)
        logs.append((name, log))

    for name, log in logs:
        log.store(EVERYTHING)
        assert log.path.read_bytes() == name * 100
        log.close_file()
    assert list((tmp_path / "spilled").iterdir()) == []


def test_a_spilled_block_that_cannot_be_read_once_is_not_lost(tmp_path: Path) -> None:
    policy = Policy(Overflow.SPILL, tmp_path / "spilled")
    log = records_in(tmp_path / "log")
    log.put(b"1" * 100)
    log.relieve(policy)
    (spilled,) = (tmp_path / "spilled").iterdir()
    kept = spilled.read_bytes()
    os.truncate(spilled, 0)

    with pytest.raises(OSError, match="ended early"):
        log.store(EVERYTHING)
    spilled.write_bytes(kept)
    log.store(EVERYTHING)

    assert (tmp_path / "log").read_bytes() == kept
    log.close_file()


def test_a_refused_log_is_queued_once_whatever_comes_meanwhile(tmp_path: Path) -> None:
    now_s = 0.0
    tries = 0

    def refused(*_: object) -> int:
        nonlocal tries
        tries += 1
        system.writer.dirty(spool)  # output that came during the write
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = Calls(sendfile=refused)
    system = AsyncLogSystem(clock=lambda: now_s, calls=calls)
    spool = filled(tmp_path, calls)
    system.add(spool)

    for _ in range(1000):
        system.writer.step()
        now_s += RETRY_S / 5

    assert system.memory.entries == 1
    assert 100 < tries <= 1000 / 5 + 1


def test_a_task_that_fails_as_nobody_foresaw_does_not_end_the_disk_thread(tmp_path: Path) -> None:
    def broken(*_: object) -> int:
        raise MemoryError

    now_s = 0.0
    disk: list[Callable[..., int]] = [broken]
    calls = Calls(sendfile=lambda *arguments: disk[0](*arguments))
    system = AsyncLogSystem(clock=lambda: now_s, calls=calls)
    spool = filled(tmp_path, calls)
    system.add(spool)
    system.writer.step()
    disk[0] = os.sendfile

    while spool.backlog_bytes:
        now_s += RETRY_S
        system.writer.step()

    assert (tmp_path / "job.log").read_bytes() == OUTPUT
    assert [notice.fields["why"] for notice in system.notices()][:1] == ["MemoryError: "]


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"not ours\n")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("put_there", [a_pipe, a_link])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR])
def test_what_was_put_in_the_place_of_a_file_is_neither_waited_for_nor_followed(
    put_there: Callable[[Path], None], flags: int, tmp_path: Path
) -> None:
    put_there(tmp_path / "log")

    with pytest.raises(OSError, match=r"not a regular file|No such device or address|Too many levels"):
        open_regular(tmp_path / "log", flags)


def test_a_spilled_block_that_is_gone_is_named(tmp_path: Path) -> None:
    """Not the log, which is there."""
    system = AsyncLogSystem(LogSettings(policy=Policy(Overflow.SPILL, tmp_path / "spilled")), clock=lambda: 1000.0)
    spool = filled(tmp_path)
    os.set_blocking(spool.pipe_fd, False)
    spool.relieve(Policy(Overflow.SPILL, tmp_path / "spilled"))
    taken_over = Spool(
        os.dup(spool.pipe_fd), os.dup(spool.memory_fd), spool.path, TimeIndex(tmp_path / "t"), block_bytes=BLOCK
    )
    [spilled] = (tmp_path / "spilled").iterdir()
    spilled.unlink()

    system.add(taken_over)
    system.writer.step()

    assert [notice.fields["why"] for notice in system.notices()] == [f"No such file or directory: {spilled}"]
    taken_over.close()
    spool.close()
    system.close()


def test_a_compressed_block_that_memory_takes_in_pieces_is_whole(tmp_path: Path) -> None:
    """tmpfs writes less than was asked for when the machine's memory ends midway, and tells no error."""
    calls = Calls(pwrite=lambda fd, data, at: os.pwrite(fd, data[:7], at))
    spool = filled(tmp_path, calls)

    while spool.relieve(Policy(Overflow.COMPRESS)) is not None:
        pass
    spool.store(EVERYTHING)

    assert spool.path.read_bytes() == OUTPUT
    spool.close_file()
    spool.close()


def test_a_successor_makes_no_new_file_for_blocks_that_are_on_a_disk_that_is_away(tmp_path: Path) -> None:
    """Its other blocks would go there, and those of the old file would be read from it as zeros."""
    policy = Policy(Overflow.SPILL, tmp_path / "spilled")
    spool = filled(tmp_path)
    spool.relieve(policy)
    (tmp_path / "spilled").rename(tmp_path / "away")
    successor = Spool(
        os.dup(spool.pipe_fd), os.dup(spool.memory_fd), spool.path, TimeIndex(tmp_path / "times"), block_bytes=BLOCK
    )
    with pytest.raises(FileNotFoundError):
        successor.relieve(policy)
    with pytest.raises(FileNotFoundError):
        successor.store(EVERYTHING)

    (tmp_path / "away").rename(tmp_path / "spilled")
    successor.store(EVERYTHING)

    assert successor.path.read_bytes() == OUTPUT
    successor.close_file()
    successor.close()
    spool.close()
