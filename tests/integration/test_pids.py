"""
The limit of processes and threads: what a fork bomb can do, and what not.

Runs in: pytest in the test machine, as root.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "PID Interface Files".
"""

import os
import select
import signal

import pytest
from installed import DEADLINE_S, Installed, counters
from processes import Watched, command_of, members

# Thousands of processes take minutes on an emulated machine, so a bomb's group gets a lower limit before it burns.
PIDS_MAX = 200
BOMB = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("ready", flush=True)
signal.sigwait({signal.SIGUSR1})
while True:
    try:
        os.fork()
    except OSError:
        pass
"""


def test_a_job_has_4096_processes_unless_the_administrator_says_otherwise(joblet: Installed) -> None:
    job = joblet.start("sleep", "1000")

    assert (joblet.cgroup(job) / "pids.max").read_text() == "4096\n"


def test_its_user_may_not_have_more_of_them_either(joblet: Installed) -> None:
    """The second fence; where limits cannot be enforced, the only one."""
    _, output = joblet.run("bash", "-c", "ulimit -u")

    assert output == b"4096\n"


@pytest.fixture
def bomb(joblet: Installed) -> str:
    """A job that forks without end, and has met its limit."""
    job = joblet.start("python3", "-I", "-S", "-c", BOMB)
    joblet.until(job, "ready")
    (joblet.cgroup(job) / "pids.max").write_text(str(PIDS_MAX))
    os.kill(command_of(job), signal.SIGUSR1)
    refused = joblet.cgroup(job) / "pids.events"
    with refused.open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while counters(refused)["max"] == 0:
            assert poll.poll(DEADLINE_S * 1000), "the kernel has refused it no process"
            events.seek(0)
            events.read()
    return job


def test_a_fork_bomb_gets_no_more_processes_than_its_limit(joblet: Installed, bomb: str) -> None:
    group = joblet.cgroup(bomb)

    assert (group / "pids.max").read_text() == f"{PIDS_MAX}\n"
    assert PIDS_MAX - 10 <= int((group / "pids.current").read_text()) <= PIDS_MAX


def test_the_machine_answers_while_a_fork_bomb_burns(joblet: Installed, bomb: str) -> None:
    listed = joblet.rnx("list")
    another, output = joblet.run("echo", "unharmed")

    assert f"{bomb} RUNNING" in listed.stdout
    assert (another.exit_code, output) == (0, b"unharmed\n")


def test_a_fork_bomb_is_stopped_whole(joblet: Installed, bomb: str) -> None:
    with Watched(members(bomb)) as watched:
        stopped = joblet.client.stop_job(bomb)

        assert stopped.status == "STOPPED"
        assert watched.alive() == []
    assert not joblet.cgroup(bomb).exists()
