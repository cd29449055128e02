"""
A program's own records: from its first log to its end, and while the system closes under it.

Runs in: pytest.
"""

import atexit
import contextlib
import errno
import gc
import os
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from joblet.logs.blocks import LogClosed
from joblet.logs.calls import Calls
from joblet.logs.memfd import memory_file
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.pipe import output_pipe
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem, LogSettings
from joblet.logs.times import TimeIndex


def test_nothing_is_accepted_once_the_system_is_closed(tmp_path: Path) -> None:
    """And what was accepted is in the file, which is closed with it."""
    open_before = len(os.listdir("/proc/self/fd"))
    system = AsyncLogSystem()
    system.start()
    handle = system.open(tmp_path / "log")
    handle.write(b"in time\n")
    system.close()

    with pytest.raises(LogClosed):
        handle.write(b"too late\n")
    with pytest.raises(LogClosed):
        handle.write_many([b"too late\n"])
    handle.close()

    assert (tmp_path / "log").read_bytes() == b"in time\n"
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_producer_that_waits_for_memory_is_let_go_when_the_system_closes(tmp_path: Path) -> None:
    calls = Calls(writev=lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no disk")))
    system = AsyncLogSystem(LogSettings(memory_limit_bytes=1 << 16), calls=calls)
    system.start()
    handle = system.open(tmp_path / "log")
    let_go: list[type[BaseException]] = []

    def produce() -> None:
        try:
            while True:
                handle.write(b"x" * 1000)
        except LogClosed as error:
            let_go.append(type(error))

    producer = threading.Thread(target=produce)
    producer.start()
    while not system.metrics.waits:
        producer.join(0.001)
    system.close()
    producer.join()

    assert let_go == [LogClosed]


def test_a_warning_while_the_system_closes_is_written_to_no_one_elses_descriptor(tmp_path: Path) -> None:
    """Every reading of the clock is a warning's interval later, and threads change places as often as they can."""
    read_fd, write_fd = output_pipe()
    spool = Spool(read_fd, memory_file("job"), tmp_path / "job.log", TimeIndex(tmp_path / "job.times"))
    os.close(write_fd)
    refused = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    errors: list[Exception] = []
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            system = AsyncLogSystem(clock=count(step=1000.0).__next__)
            warned = threading.Event()

            def warn(system: AsyncLogSystem = system, warned: threading.Event = warned) -> None:
                try:
                    for _ in range(200):
                        system.cannot_receive(spool, refused)
                        warned.set()
                except Exception as error:
                    errors.append(error)

            threads = [threading.Thread(target=warn) for _ in range(4)]
            for thread in threads:
                thread.start()
            warned.wait()
            system.close()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval_s)

    assert not errors


def test_records_reach_the_file_without_a_flush(tmp_path: Path) -> None:
    """Also those of a log that was opened while the disk thread slept."""
    system = AsyncLogSystem()
    system.start()
    handle = system.open(tmp_path / "log")
    handle.write(b"one line\n")

    system.wait_until_stored(handle.spool, 9, 60)

    assert (tmp_path / "log").read_bytes() == b"one line\n"
    handle.close()
    system.close()


def test_a_system_is_closed_once_and_opens_no_log_any_more(tmp_path: Path) -> None:
    system = AsyncLogSystem()
    system.start()
    event_fd = system.event_fd
    system.close()
    mine = os.open(tmp_path / "mine", os.O_RDWR | os.O_CREAT)
    assert mine == event_fd, "the test shows nothing"

    system.close()

    os.fstat(mine)
    with pytest.raises(LogClosed, match="the log system is closed"):
        system.open(tmp_path / "log")
    os.close(mine)


def test_a_log_of_a_system_that_is_not_started_does_not_wait_for_ever(tmp_path: Path) -> None:
    system = AsyncLogSystem()
    handle = system.open(tmp_path / "log")
    handle.write(b"accepted\n")

    with pytest.raises(RuntimeError, match="not started"):
        handle.close()

    system.close()
    assert (tmp_path / "log").read_bytes() == b"accepted\n"


def test_a_program_that_ends_without_close_has_its_records_in_the_file(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from joblet.logs.system import AsyncLogSystem

system = AsyncLogSystem()
system.start()
log = system.open(Path(sys.argv[1]))
for number in range(100_000):
    log.write(b"%06d\\n" % number)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], check=True, timeout=60)

    assert (tmp_path / "log").read_bytes() == b"".join(b"%06d\n" % number for number in range(100_000))


def test_large_records_are_held_to_the_limit_too(tmp_path: Path) -> None:
    calls = Calls(writev=lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "no disk")))
    system = AsyncLogSystem(LogSettings(memory_limit_bytes=1 << 24), calls=calls)
    system.start()
    handle = system.open(tmp_path / "log")

    def produce() -> None:
        with contextlib.suppress(LogClosed):
            while True:
                handle.write(bytes(1 << 20))

    producer = threading.Thread(target=produce)
    producer.start()
    while not system.metrics.waits:
        producer.join(0.001)
    peak_bytes = system.memory.peak_bytes
    system.close()
    producer.join()

    assert peak_bytes <= 1 << 24


@pytest.mark.parametrize("strategy", list(Overflow))
def test_what_is_thrown_away_unwritten_says_nothing_to_the_user(strategy: Overflow, tmp_path: Path) -> None:
    """The collector closes buffers, and cannot while a view of them is kept: it tells that on standard error."""
    policy = Policy(strategy, tmp_path / "spilled")
    calls = Calls(writev=lambda *_: 7)
    system = AsyncLogSystem(LogSettings(policy=policy), calls=calls)
    handle = system.open(tmp_path / "log")
    for _ in range(10):
        handle.write(bytes(1 << 18))
    handle.spool.store(1)
    handle.spool.relieve(policy)
    cycle: list[object] = [handle.spool]
    cycle.append(cycle)
    atexit.unregister(system.close)
    told: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, told.append
    try:
        del cycle, handle, system
        gc.collect()
    finally:
        sys.unraisablehook = before

    assert not told
