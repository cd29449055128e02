"""
maxMemory: who is killed for it, what is told of it, and what cannot be used to escape it.

Runs in: pytest in the test machine, as root.
Source: API specification, "Log Levels and Format"; Linux Documentation/admin-guide/cgroup-v2.rst, "Memory".
"""

import os
import select
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from installed import DEADLINE_S, MIB, PLACE, SERVER, SUPERVISOR, Installed, main_pid, systemctl
from journal import Journal

from joblet.client import JobState, JobStatus

# Python itself needs 6 MB of a job's memory.
LIMIT = 48 * MIB
EATS_TOO_MUCH = 'b"x" * (64 << 20)'
SWAP_MIB = 128


class KernelLog:
    """
    What the kernel says from now on, with its own time of each line: no other clock runs exactly like that one.

    Source: Linux Documentation/ABI/testing/dev-kmsg.
    """

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._lines: list[tuple[int, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def now_us(self, note: str) -> int:
        """The time, taken by a line of our own; reads all that was said before."""
        # With its end of line: without, the kernel keeps the line back, for more of it might come.
        os.write(self._fd, f"{note}\n".encode())
        while True:
            assert select.select([self._fd], [], [], DEADLINE_S)[0], f"the kernel never said {note!r}"
            facts, _, words = os.read(self._fd, 8192).decode(errors="replace").partition(";")
            time_us = int(facts.split(",")[2])
            if words.startswith(note):
                return time_us
            self._lines.append((time_us, words))

    def when_us(self, *words: str) -> int:
        """The time of the one line that holds all these words."""
        (found,) = [time_us for time_us, line in self._lines if all(word in line for word in words)]
        return found


def used_too_much(job: JobStatus) -> bool:
    """Whether this is the end of a job that the kernel killed for its memory, and says so."""
    words = f"killed by the kernel (maxMemory: {job.memory_max_bytes // MIB} MB)"
    return (
        (job.status, job.exit_code, job.oom_killed) == (JobState.FAILED, 137, True)
        and job.reason.startswith("out of memory: ")
        and job.reason.endswith(words)
    )


# Who is killed


def test_a_job_over_its_memory_is_killed_and_says_why(joblet: Installed) -> None:
    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    assert (ended.status, ended.exit_code, ended.signal, ended.oom_killed) == (JobState.FAILED, 137, 9, True)
    assert ended.reason == "out of memory: 1 process was killed by the kernel (maxMemory: 48 MB)"


def test_a_job_within_its_memory_is_not_killed(joblet: Installed) -> None:
    ended, _ = joblet.python('b"x" * (32 << 20)', memory_max_bytes=LIMIT)

    assert (ended.status, ended.exit_code, ended.oom_killed, ended.reason) == (JobState.COMPLETED, 0, False, "")


def test_the_most_it_used_is_accounted(joblet: Installed, record_property: Callable[[str, object], None]) -> None:
    ended, _ = joblet.python('b"x" * (32 << 20)', memory_max_bytes=LIMIT)

    record_property("memory_peak_mib_of_a_job_that_writes_32", round(ended.usage.memory_peak_bytes / MIB, 1))
    assert 32 * MIB < ended.usage.memory_peak_bytes < LIMIT


def test_a_job_that_was_killed_used_all_it_might_and_no_more(joblet: Installed) -> None:
    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    assert 0.9 * LIMIT < ended.usage.memory_peak_bytes <= LIMIT


def test_a_child_that_is_killed_makes_its_job_fail_whatever_its_parent_says(joblet: Installed) -> None:
    program = f"""
import os, signal
child = os.fork()
if child == 0:
    {EATS_TOO_MUCH}
    os._exit(0)
print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""

    ended, output = joblet.python(program, memory_max_bytes=LIMIT)

    assert output == b"9\n", "the parent lives on"
    assert (ended.exit_code, ended.signal, used_too_much(ended)) == (137, 0, True)


def test_its_init_is_spared_though_it_looks_the_largest(joblet: Installed) -> None:
    """What init shares with its siblings and with files is counted as its own when the kernel chooses whom to kill."""
    ended, output = joblet.shell("tail /dev/zero; echo $?", memory_max_bytes=2 * MIB)

    assert (output.splitlines()[-1:], used_too_much(ended)) == ([b"137"], True)


def test_the_kernel_has_the_limit_without_swap_and_spares_what_it_need_not_kill(joblet: Installed) -> None:
    job_id = joblet.start("sleep", "1000", memory_max_bytes=LIMIT)

    group = joblet.cgroup(job_id)
    files = ("memory.max", "memory.swap.max", "memory.oom.group")
    assert [(group / name).read_text().strip() for name in files] == [str(LIMIT), "0", "0"]


# Ways around it


@pytest.fixture
def swap() -> Iterator[None]:
    """A machine with swap, for as long as a test runs."""
    file = Path("/var/tmp/joblet-test.swap")
    try:
        with file.open("wb") as opened:
            os.fchmod(opened.fileno(), 0o600)
            os.posix_fallocate(opened.fileno(), 0, SWAP_MIB * MIB)
        subprocess.run(["mkswap", file], check=True, capture_output=True)
        subprocess.run(["swapon", file], check=True, capture_output=True)
        yield
    finally:
        subprocess.run(["swapoff", file], check=False, capture_output=True)
        file.unlink()
    assert len(Path("/proc/swaps").read_text().splitlines()) == 1


@pytest.mark.usefixtures("swap")
def test_swap_is_no_way_out_of_the_limit(joblet: Installed) -> None:
    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    assert used_too_much(ended), "more than half of the swap would have been enough for the rest"


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_files_in_memory_count(joblet: Installed, folder: str) -> None:
    ended, _ = joblet.run("dd", "if=/dev/zero", f"of={folder}/file", "bs=1M", "count=64", memory_max_bytes=LIMIT)

    assert used_too_much(ended)


def test_files_in_its_work_folder_do_not_count(joblet: Installed) -> None:
    """They are on the disk: what the kernel keeps of them in memory, it gives back when a job needs it."""
    ended, _ = joblet.run("dd", "if=/dev/zero", "of=file", "bs=1M", "count=64", memory_max_bytes=LIMIT)

    assert (ended.status, ended.oom_killed) == (JobState.COMPLETED, False)


# A limit too small to live with


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-c", "pass"),
        ("sh", "-c", "for i in $(seq 50); do sleep 1000 & done; wait"),
        ("dd", "if=/dev/zero", "of=/tmp/file", "bs=1M", "count=2"),
        # The kernel puts a command's arguments on its new stack while its init still waits for the start.
        ("echo", *["x" * 100_000] * 3),
    ],
    ids=["python", "children", "file in memory", "long arguments"],
)
def test_one_megabyte_ends_with_its_reason(joblet: Installed, argv: tuple[str, ...]) -> None:
    jobs = [joblet.start(*argv, memory_max_bytes=1 * MIB, timeout_s=30) for _ in range(3)]

    ended = [joblet.client.wait(job_id) for job_id in jobs]
    assert [job.reason for job in ended if not used_too_much(job)] == []


# Who is told


def test_status_shows_the_reason(joblet: Installed) -> None:
    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    shown = joblet.rnx("status", ended.id).stdout.splitlines()
    wanted = ("Status: FAILED", "ExitCode: 137", f"Reason: {ended.reason}")
    assert [line for line in wanted if line not in shown] == []


def test_the_server_log_has_the_limit_as_a_warning_and_the_failure_as_an_error(joblet: Installed) -> None:
    """ "WARN - Resource limit violations", "ERROR - Job failures"."""
    journal = Journal(SERVER)

    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    warning = journal.until(f"memory limit exceeded | jobId={ended.id}")
    error = journal.until(f"job failed | jobId={ended.id}")
    assert ("[WARN]" in warning, f"maxMemoryBytes={LIMIT}" in warning) == (True, True)
    assert ("[ERROR]" in error, f'reason="{ended.reason}"' in error) == (True, True)


def test_failed_is_told_soon_after_the_kill(joblet: Installed, record_property: Callable[[str, object], None]) -> None:
    """Both moments by one clock, the kernel log's: its own line of the kill, and ours when we hear of the end."""
    spans_ms = []
    for number in range(5):
        name = f"too-much-{number}"
        program = f'open("/proc/self/comm", "w").write("{name}"); {EATS_TOO_MUCH}'
        with KernelLog() as kernel:
            ended, _ = joblet.python(program, memory_max_bytes=LIMIT)
            told_us = kernel.now_us(f"joblet tests: end of {ended.id}")
            killed_us = kernel.when_us(f"({name})", "Killed process")
        assert used_too_much(ended)
        spans_ms.append((told_us - killed_us) / 1000)

    record_property("ms_from_oom_kill_to_failed", [round(span_ms, 1) for span_ms in sorted(spans_ms)])
    started_s = time.monotonic()
    joblet.run("true")
    whole_life_ms = (time.monotonic() - started_s) * 1000
    # Nothing on the way waits for a timer, on a machine of any speed.
    assert 0 < statistics.median(spans_ms) < 2 * whole_life_ms


# Who is not harmed


def test_nobody_else_is_harmed(joblet: Installed) -> None:
    others = [main_pid(unit) for unit in (SERVER, SUPERVISOR, PLACE)]
    neighbour = joblet.start("sh", "-c", "i=0; while sleep 0.2; do i=$((i+1)); echo $i; done", memory_max_bytes=LIMIT)
    place = Journal(PLACE)

    ended, _ = joblet.python(EATS_TOO_MUCH, memory_max_bytes=LIMIT)

    assert used_too_much(ended)
    said = len(joblet.log(neighbour).splitlines())
    joblet.until(neighbour, str(said + 1))
    # systemd has heard of it: what it does about it, it does now.
    place.until("killed by the OOM killer")
    assert [main_pid(unit) for unit in (SERVER, SUPERVISOR, PLACE)] == others
    state = systemctl("show", "--property=ActiveState", "--property=Result", PLACE).splitlines()
    assert sorted(state) == ["ActiveState=active", "Result=success"]
