"""
The limit of processes and threads: what a fork bomb can do, and what not.

Runs in: pytest in the test machine, as root.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "PID Interface Files".
"""

import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import DEADLINE_S, SERVER, SUPERVISOR, Installed, counters, systemctl
from processes import Watched, members

PIDS_MAX = 200
UNIT = Path("/etc/systemd/system") / SUPERVISOR
# Of the files in /run alone, which a reboot would take away too.
DROP_IN = Path("/run/systemd/system") / f"{SUPERVISOR}.d"
BOMB = """
import os
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


@pytest.fixture(scope="module")
def few_processes() -> Iterator[None]:
    """From here on, a supervisor whose jobs may have 200 processes: thousands take minutes on an emulated machine."""
    (start,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    try:
        DROP_IN.mkdir(parents=True)
        (DROP_IN / "pids.conf").write_text(f"[Service]\nExecStart=\n{start} --pids-max {PIDS_MAX}\n")
        _restart()
        yield
    finally:
        shutil.rmtree(DROP_IN)
        _restart()


def _restart() -> None:
    systemctl("daemon-reload")
    systemctl("restart", SUPERVISOR, SERVER)


@pytest.fixture
def bomb(joblet: Installed, few_processes: None) -> str:
    """A job that forks without end, and has met its limit."""
    job = joblet.start("python3", "-I", "-S", "-c", BOMB)
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
