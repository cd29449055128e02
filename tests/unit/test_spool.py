"""The path of a byte: pipe, memory, file.

Runs in: pytest, on a real pipe, a real memfd and a real file; no privilege needed.
"""

import hashlib
import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from joblet.logs.memfd import memory_file
from joblet.logs.pipe import Pumped, output_pipe
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem
from joblet.logs.times import TimeIndex
from joblet.logs.writer import Finish


@dataclass
class Output:
    """A job's end of the pipe, and the spool behind it."""

    write_fd: int
    spool: Spool

    def close_writer(self) -> None:
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    read_fd, write_fd = output_pipe()
    made = Output(write_fd, Spool(read_fd, memory_file("a-job"), tmp_path / "log", TimeIndex(tmp_path / "times")))
    yield made
    made.close_writer()
    made.spool.close_file()
    made.spool.close()


def test_bytes_reach_the_file_as_they_were_written(output: Output) -> None:
    """NUL bytes, invalid UTF-8 and missing newlines are output like any other."""
    os.write(output.write_fd, b"a\0b\xff\xfe no newline")

    output.spool.pump()
    output.spool.store(1024)

    assert output.spool.path.read_bytes() == b"a\0b\xff\xfe no newline"
    assert output.spool.backlog_bytes == 0


def test_an_empty_pipe_is_told_from_one_without_writers(output: Output) -> None:
    assert output.spool.pump() is Pumped.DRAINED

    output.close_writer()

    assert output.spool.pump() is Pumped.ENDED
    assert output.spool.pump() is Pumped.ENDED


def test_a_pump_takes_no_more_than_it_is_told(output: Output) -> None:
    os.write(output.write_fd, b"x" * 10_000)

    assert output.spool.pump(4096) is Pumped.MORE
    assert output.spool.received_bytes == 4096


def test_a_job_that_prints_nothing_leaves_no_file(output: Output) -> None:
    output.close_writer()
    output.spool.pump()

    assert not output.spool.path.exists()


def test_memory_of_what_is_on_disk_is_given_back(output: Output) -> None:
    """Only the page under the write position stays allocated."""
    for _ in range(64):
        os.write(output.write_fd, b"x" * 65536)
        output.spool.pump()
    held = os.fstat(output.spool.memory_fd).st_blocks * 512

    output.spool.store(1 << 30)

    assert held >= 64 * 65536
    assert os.fstat(output.spool.memory_fd).st_blocks * 512 <= 4096
    assert output.spool.path.stat().st_size == 64 * 65536


def test_a_successor_goes_on_where_a_killed_one_stopped(output: Output, tmp_path: Path) -> None:
    """With some bytes on disk, some in memory and some in the pipe, nothing is lost or repeated."""
    os.write(output.write_fd, b"on disk,")
    output.spool.pump()
    output.spool.store(1024)
    os.write(output.write_fd, b"in memory,")
    output.spool.pump()
    os.write(output.write_fd, b"in the pipe")
    copies = [os.dup(fd) for fd in (output.spool.pipe_fd, output.spool.memory_fd)]

    successor = Spool(copies[0], copies[1], output.spool.path, TimeIndex(tmp_path / "times"))
    successor.pump()
    successor.store(1024)

    assert output.spool.path.read_bytes() == b"on disk,in memory,in the pipe"
    successor.close_file()
    successor.close()


def test_a_write_that_the_disk_refuses_loses_nothing(output: Output, tmp_path: Path) -> None:
    os.write(output.write_fd, b"kept")
    output.spool.pump()
    good, output.spool.path = output.spool.path, tmp_path / "missing" / "log"

    with pytest.raises(FileNotFoundError):
        output.spool.store(1024)
    output.spool.path = good
    output.spool.store(1024)

    assert good.read_bytes() == b"kept"


def test_the_disk_thread_finishes_a_spool_that_a_job_still_fills(output: Output, tmp_path: Path) -> None:
    """16 MB through pipe, memory and file come out with the same hash, and the work folder goes at the end."""
    work = tmp_path / "work"
    work.mkdir()
    note = tmp_path / "note"
    note.write_bytes(b"first\n")
    chunk = os.urandom(1 << 20)
    logs = AsyncLogSystem()
    logs.add(output.spool)
    logs.start()

    def job() -> None:
        for _ in range(16):
            view = memoryview(chunk)
            while view:
                view = view[os.write(output.write_fd, view) :]
        output.close_writer()

    thread = threading.Thread(target=job)
    thread.start()
    received = 0
    while output.spool.pump() is not Pumped.ENDED:
        logs.received(output.spool, output.spool.received_bytes - received)
        received = output.spool.received_bytes
        select.select([output.spool.pipe_fd], [], [])
    thread.join()
    logs.received(output.spool, output.spool.received_bytes - received)
    logs.writer.finish(Finish(output.spool, work, note, b"last\n"))
    logs.close()

    assert hashlib.sha256(output.spool.path.read_bytes()).digest() == hashlib.sha256(chunk * 16).digest()
    assert not work.exists()
    assert note.read_bytes() == b"first\nlast\n"
    assert logs.notices() == []
    assert logs.memory.held_bytes == 0


def test_a_refusing_disk_is_warned_of_once_and_does_not_hold_the_end_of_the_thread(
    output: Output, tmp_path: Path
) -> None:
    logs = AsyncLogSystem()
    output.spool.path = tmp_path / "missing" / "log"
    os.write(output.write_fd, b"x")
    output.spool.pump()
    logs.add(output.spool)

    logs.start()
    logs.close()

    (notice,) = logs.notices()
    assert (notice.level, notice.fields["why"]) == ("WARN", "No such file or directory")
    assert notice.fields["path"] == str(output.spool.path)


def test_a_log_that_cannot_be_written_does_not_hold_up_the_others(output: Output, tmp_path: Path) -> None:
    """A hundred turns of another job come through while one log waits for its next try."""
    logs = AsyncLogSystem()
    logs.add(output.spool)
    read_fd, write_fd = output_pipe()
    refused = Spool(read_fd, memory_file("refused"), tmp_path / "missing" / "log", TimeIndex(tmp_path / "t"))
    os.write(write_fd, b"x")
    refused.pump()
    logs.add(refused)
    logs.start()

    for _ in range(100):
        os.write(output.write_fd, b"y" * 1000)
        output.spool.pump()
        logs.received(refused, 0)
        logs.received(output.spool, 1000)
        while output.spool.backlog_bytes:
            assert select.select([logs.event_fd], [], [], 0.4)[0]  # less than the refused one's pause
            logs.progress()

    assert output.spool.path.stat().st_size == 100_000
    logs.close()
    os.close(write_fd)
    refused.close()


def finishes(logs: AsyncLogSystem) -> list[Finish]:
    """Wait until the disk thread has looked at the end of a log."""
    while True:
        assert select.select([logs.event_fd], [], [], 10)[0]
        if found := [what for what in logs.progress() if isinstance(what, Finish)]:
            return found


def test_a_log_is_written_when_the_disk_takes_it_again(output: Output, tmp_path: Path) -> None:
    """Also one whose job has ended meanwhile; its end is reported only then."""
    logs = AsyncLogSystem()
    logs.add(output.spool)
    folder = tmp_path / "missing"
    output.spool.path = folder / "log"
    os.write(output.write_fd, b"kept")
    output.close_writer()
    while output.spool.pump() is not Pumped.ENDED:
        pass
    logs.received(output.spool, 4)
    logs.start()
    logs.writer.finish(Finish(output.spool, tmp_path / "no-work", None, b""))
    # Told at once that the work folder can go: on a full disk it may be what leaves no room for the log.
    assert [(task.stored, task.work_left) for task in finishes(logs)] == [(False, False)]

    folder.mkdir()
    while not any(task.stored for task in finishes(logs)):
        pass

    assert (folder / "log").read_bytes() == b"kept"
    logs.close()
