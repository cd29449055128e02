"""
A job's life from its start to the moment nothing of it is left, as the job and the kernel see it.

Runs in: pytest in the test machine, as root.
"""

import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed import DEADLINE_S, JOBS, MIB, SERVER, STATE, SUPERVISOR, Installed, counters, kill, main_pid
from journal import Journal
from processes import Watched, command_of, init_of, members, mounts_of
from settings import configured

from joblet.client import JobStatus

GRACE_NS = 100_000_000
MANY = 200


# A stop

# Says when it was last not yet told to end, and then the time over and over until it is killed.
COUNTS_ITS_GRACE = """
import os, signal, time
clock, write = time.monotonic_ns, os.write

def told(number, frame):
    write(1, b"%d\\n" % before)
    while True:
        write(1, b"%d\\n" % clock())

before = clock()
signal.signal(signal.SIGTERM, told)
print("waits", flush=True)
while True:
    before = clock()
"""


# Not two hundred programs: to start those takes an emulated machine longer than all the rest.
TWO_HUNDRED_PROCESSES = """
import os, signal
if all(os.fork() for _ in range(200)):
    print("ready", flush=True)
signal.pause()
"""


def test_a_job_that_hardly_gets_any_cpu_is_stopped_all_the_same(joblet: Installed) -> None:
    """Its processes die on the CPU time that they get: with what they had, it would take minutes."""
    job = joblet.start("python3", "-I", "-S", "-c", TWO_HUNDRED_PROCESSES)
    joblet.until(job, "ready")
    (joblet.cgroup(job) / "cpu.max").write_text("1000 100000")

    assert joblet.client.stop_job(job).status == "STOPPED"
    assert not joblet.cgroup(job).exists()


def test_a_stop_is_sigterm_then_100_ms_then_sigkill(
    joblet: Installed, record_property: Callable[[str, object], None]
) -> None:
    job = joblet.start("python3", "-I", "-S", "-c", COUNTS_ITS_GRACE)
    joblet.until(job, "waits")

    stopped = joblet.client.stop_job(job)
    answered_ns = time.monotonic_ns()

    stamps = [int(line) for line in joblet.log(job).split()[1:]]
    assert len(stamps) >= 3, "it has seen no SIGTERM, or had no time to say so"
    before_ns, first_ns, *_, last_ns = stamps
    record_property("grace_ms", round((last_ns - first_ns) / 1e6, 1))
    record_property("answered_ms_after_the_kill", round((answered_ns - last_ns) / 1e6, 1))
    assert (stopped.status, stopped.exit_code) == ("STOPPED", -1)
    assert last_ns - before_ns >= GRACE_NS
    assert last_ns - first_ns < 20 * GRACE_NS  # an emulated machine may be slow to kill, but not that slow


def test_a_job_that_ends_within_its_grace_has_the_last_word(joblet: Installed) -> None:
    job = joblet.start("sh", "-c", "trap 'echo goodbye; exit 3' TERM; echo ready; sleep 600 & wait")
    joblet.until(job, "ready")

    joblet.client.stop_job(job)

    ended = joblet.client.get_job_status(job)
    assert joblet.log(job) == b"ready\ngoodbye\n"
    assert (ended.status, ended.exit_code, ended.reason) == ("STOPPED", -1, "stopped on request")


def test_the_grace_begins_when_the_job_can_be_told(joblet: Installed) -> None:
    """Its init, which passes SIGTERM on, is in its cgroup, and waits there like a job that has used up its CPU."""
    job = joblet.start("sh", "-c", "trap 'echo goodbye; exit' TERM; echo ready; sleep 600 & wait")
    joblet.until(job, "ready")
    journal = Journal(SERVER)
    with Watched([command_of(job)]) as watched, ThreadPoolExecutor(1) as beside:
        (joblet.cgroup(job) / "cgroup.freeze").write_text("1")
        stopped = beside.submit(joblet.client.stop_job, job)
        journal.until(f"job stop requested | jobId={job}")
        watched.until_ended_or(5 * GRACE_NS / 1e9)
        (joblet.cgroup(job) / "cgroup.freeze").write_text("0")

        assert stopped.result().status == "STOPPED"
    assert joblet.log(job) == b"ready\ngoodbye\n"


# Three that left: a group of its own, a session of its own, a daemon (forked twice, its parent gone); all are deaf.
HAS_LEFT = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
read, write = os.pipe()

def stay():
    os.write(write, b".")
    while True:
        signal.pause()

if os.fork() == 0:
    os.setpgid(0, 0)
    stay()
if os.fork() == 0:
    os.setsid()
    stay()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        stay()
    os._exit(0)
heard = b""
while len(heard) < 3:
    heard += os.read(read, 3)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGUSR1, lambda number, frame: os._exit(0))
print("left", flush=True)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("how", ["stopped", "exits"])
def test_processes_that_left_the_group_and_the_session_end_with_their_job(joblet: Installed, how: str) -> None:
    job = joblet.start("python3", "-I", "-S", "-c", HAS_LEFT)
    joblet.until(job, "left")
    everyone = members(job)
    with Watched(everyone) as watched:
        if how == "stopped":
            joblet.client.stop_job(job)
        else:
            os.kill(command_of(job), signal.SIGUSR1)
            joblet.client.wait(job)

        assert watched.alive() == []
    assert len(everyone) >= 5  # its init, itself and the three


def test_a_job_past_its_timeout_is_stopped_and_says_why(joblet: Installed) -> None:
    began_s = time.monotonic()

    ended, _ = joblet.run("sleep", "60", timeout_s=1)

    assert (ended.status, ended.exit_code, ended.reason) == ("STOPPED", -1, "timed out after 1 s")
    assert time.monotonic() - began_s >= 1


# What is left of it


@dataclass(frozen=True)
class Way:
    """
    A way for a job to end.

    Args:
        script: What the job does when the test says so.
        act: What the test does to it; says so by default.
    """

    status: str
    exit_code: int
    script: str = "exit 99"
    act: Callable[[Installed, str], object] = lambda joblet, job: os.kill(command_of(job), signal.SIGUSR1)
    reason: str = ""
    timeout_s: int = 0


WAYS = {
    "exit 0": Way("COMPLETED", 0, "exit 0"),
    "exit 3": Way("FAILED", 3, "exit 3"),
    "a signal": Way("FAILED", 139, "kill -SEGV $$", reason="killed by signal 11"),
    "no memory": Way("FAILED", 137, "tail /dev/zero; exit 137", reason="out of memory"),
    "stop": Way("STOPPED", -1, act=lambda joblet, job: joblet.client.stop_job(job), reason="stopped on request"),
    "timeout": Way("STOPPED", -1, act=lambda joblet, job: None, reason="timed out", timeout_s=2),
    "init killed": Way("FAILED", 137, act=lambda joblet, job: kill(init_of(job)), reason="its init process was killed"),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_of_a_job_once_it_is_told_as_ended(joblet: Installed, way: str) -> None:
    how = WAYS[way]
    script = f"trap '{how.script}' USR1; echo ready; sleep 60 & wait"
    job = joblet.start("sh", "-c", script, memory_max_bytes=32 * MIB, timeout_s=how.timeout_s)
    joblet.until(job, "ready")
    assert left_of(job) == ["cgroup", "work folder"]
    with Watched(members(job)) as watched:
        how.act(joblet, job)
        ended = joblet.client.wait(job)

        assert (left_of(job), watched.alive()) == ([], [])
    assert (ended.status, ended.exit_code) == (how.status, how.exit_code)
    assert ended.reason.startswith(how.reason)
    assert bool(ended.reason) == bool(how.reason)


def test_nothing_is_left_of_a_job_whose_command_is_not_found(joblet: Installed) -> None:
    ended, output = joblet.run("no-such-command")

    assert (ended.status, ended.exit_code) == ("FAILED", 127)
    assert b"no-such-command" in output
    assert left_of(ended.id) == []


def left_of(job: str) -> list[str]:
    """What the machine still has of a job, beyond its record and its log."""
    places = {"cgroup": JOBS / job, "work folder": STATE / "work" / job}
    return [name for name, path in places.items() if path.exists()]


# What it has said

# A daemon that tells each number by the network once its log has it, and goes on when the command has ended.
LEAVES_A_COUNTER = """
import os, signal, socket, sys
signal.signal(signal.SIGUSR1, lambda number, frame: os._exit(0))
if os.fork():
    while True:
        signal.pause()
os.setsid()
teller = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
number = 0
while True:
    number += 1
    os.write(1, b"%d\\n" % number)
    teller.send(b"%d\\n" % number)
"""


def test_what_a_daemon_writes_is_in_the_log_up_to_its_last_word(joblet: Installed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        port = str(listener.getsockname()[1])
        job = joblet.start("python3", "-I", "-S", "-c", LEAVES_A_COUNTER, port)
        counter, _ = listener.accept()
    with counter, counter.makefile() as told:
        last = told.readline()
        os.kill(command_of(job), signal.SIGUSR1)

        last = [last, *told][-1]

    joblet.client.wait(job)
    assert int(last) <= int(joblet.log(job).split()[-1])


# What is accounted

# Uses some of everything, gives the memory back, and then does nothing at all.
USES_AND_RESTS = """
import mmap, os, signal, time
size = 8 << 20
much = mmap.mmap(-1, 5 * size)
for at in range(0, len(much), mmap.PAGESIZE):
    much[at] = 1
much.close()
block = mmap.mmap(-1, size)
block.write(os.urandom(size))
file = os.open("data", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
os.writev(file, [block])
os.fsync(file)
os.preadv(file, [block], 0)
while time.process_time() < 2:
    pass
print("rests", flush=True)
signal.pause()
"""


def test_what_a_job_used_is_what_its_cgroup_says(
    joblet: Installed, record_property: Callable[[str, object], None]
) -> None:
    job = joblet.start("python3", "-I", "-S", "-c", USES_AND_RESTS)
    joblet.until(job, "rests")
    group = joblet.cgroup(job)
    cpu_usec = counters(group / "cpu.stat")["usage_usec"]
    peak_bytes = int((group / "memory.peak").read_text())
    read_bytes, write_bytes = (sum(io_stat(joblet, job, key)) for key in ("rbytes", "wbytes"))

    joblet.client.stop_job(job)

    used = joblet.client.get_job_status(job).usage
    record_property("cpu_usec_resting_and_ended", f"{cpu_usec} {used.cpu_usec}")
    assert peak_bytes >= 40 * MIB
    assert (used.memory_peak_bytes, used.io_read_bytes, used.io_write_bytes) == (peak_bytes, read_bytes, write_bytes)
    assert min(read_bytes, write_bytes) >= 8 * MIB
    assert cpu_usec <= used.cpu_usec < 1.1 * cpu_usec  # its init has still to hear of the stop


def io_stat(joblet: Installed, job: str, key: str) -> Iterator[int]:
    """A counter of each disk that a job has used."""
    for line in (joblet.cgroup(job) / "io.stat").read_text().splitlines():
        yield from (int(word.partition("=")[2]) for word in line.split() if word.startswith(f"{key}="))


# Many at once, and settings of the server


@pytest.fixture(scope="module")
def roomy(joblet: Installed) -> Iterator[Installed]:
    """Room for more jobs than there is by default, and little time for those that ask for none."""
    with configured('joblet:\n  maxConcurrentJobs: 400\n  jobTimeout: "2s"\n'):
        yield joblet


def test_jobtimeout_is_for_jobs_that_ask_for_none(roomy: Installed) -> None:
    ended, _ = roomy.run("sleep", "60")

    assert (ended.status, ended.exit_code, ended.reason) == ("STOPPED", -1, "timed out after 2 s")


# Each ends a `sleep` in a way that its exit code tells.
SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGTERM)


def test_two_hundred_jobs_run_at_once_and_leave_nothing(
    roomy: Installed, record_property: Callable[[str, object], None]
) -> None:
    mounts = mounts_of(main_pid(SUPERVISOR))
    began_s = time.monotonic()
    with ThreadPoolExecutor(8) as crowd:  # as many callers at once as do the server good
        jobs = list(crowd.map(lambda _: roomy.start("sleep", "1000", timeout_s=600), range(MANY)))
        record_property("seconds_until_all_ran", round(time.monotonic() - began_s, 1))
        running = [job.id for job in roomy.client.list_jobs() if job.status == "RUNNING"]
        groups = [path.name for path in JOBS.iterdir() if path.is_dir()]
        assert (sorted(running), sorted(groups)) == (sorted(jobs), sorted(jobs))
        commands = {job: command_of(job) for job in jobs}
        assert {Path(f"/proc/{pid}/comm").read_text() for pid in commands.values()} == {"sleep\n"}
        with Watched(pid for job in jobs for pid in members(job)) as everyone:
            half = MANY // 2
            stopped = crowd.map(roomy.client.stop_job, jobs[:half])
            ways = dict(zip(jobs[half:], itertools.cycle(SIGNALS)))
            for job, number in ways.items():
                os.kill(commands[job], number)
            ended: list[JobStatus] = list(crowd.map(roomy.client.wait, ways))

            assert [job.status for job in stopped] == ["STOPPED"] * half
            assert [job.exit_code for job in ended] == [128 + number for number in ways.values()]
            assert everyone.alive() == []
    assert [path.name for path in JOBS.iterdir() if path.is_dir()] == []
    assert [left_of(job) for job in jobs] == [[]] * MANY
    assert mounts_of(main_pid(SUPERVISOR)) == mounts
