"""One job's group: kill, usage, limit events, removal."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joblet.domain.job import Usage
from joblet.domain.limits import MIB, Limits
from joblet.supervisor.linux.cgroups.group import LimitEvents
from joblet.supervisor.linux.cgroups.tree import Cgroup
from joblet.testing.cgroupfs import FakeTree, cgroups_on

LIMITS = Limits(50, "", 512 * MIB, 0)
GROUP = "joblet.slice/jobs/1"


def a_job(tree: FakeTree) -> Cgroup:
    return cgroups_on(tree).create("1", LIMITS, Path("/"))


@contextmanager
def a_process() -> Iterator[subprocess.Popen[bytes]]:
    """One that waits for its input for ever."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def ends_by_itself(process: subprocess.Popen[bytes]) -> bool:
    """Whether no signal is on its way to it."""
    process.communicate(b"\n", timeout=10)
    return process.returncode == 0


def test_kill_is_one_write(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.settle(GROUP, 101, 102)

    job.kill()

    assert tree.writes[-1] == (f"{GROUP}/cgroup.kill", "1")
    assert tree.pids(GROUP) == []


def test_kill_lifts_first_what_would_hold_the_dying_back(tmp_path: Path) -> None:
    """A process dies on its own share of CPU, and not before its I/O is through."""
    tree = FakeTree(tmp_path)
    job = cgroups_on(tree).create("1", Limits(1, "", 512 * MIB, 65536), Path("/"))
    limited = len(tree.writes)

    job.kill()

    assert tree.writes[limited:] == [
        (f"{GROUP}/cpu.max", "max 100000"),
        (f"{GROUP}/io.max", "8:0 rbps=max wbps=max"),
        (f"{GROUP}/cgroup.kill", "1"),
    ]


def test_kill_on_a_kernel_without_cgroup_kill_ends_each_process(tmp_path: Path) -> None:
    """Before Linux 5.14; also those in groups below."""
    tree = FakeTree(tmp_path, without={"cgroup.kill"})
    job = a_job(tree)
    tree.group(f"{GROUP}/below")
    with a_process() as first, a_process() as second:
        tree.settle(GROUP, first.pid)
        tree.settle(f"{GROUP}/below", second.pid)

        job.kill()

        assert first.wait(timeout=10) == second.wait(timeout=10) == -signal.SIGKILL


def test_kill_leaves_a_process_alone_that_is_in_no_group_of_the_job(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"cgroup.kill"})
    job = a_job(tree)
    with a_process() as other:
        tree.group("elsewhere")
        tree.settle("elsewhere", other.pid)

        job.kill()

        assert ends_by_itself(other)


class Forgetful(FakeTree):
    """A process is listed once and has left its group when one looks again: its pid may be another's by now."""

    def read(self, path: Path) -> str:
        text = super().read(path)
        if path.name == "cgroup.procs":
            path.write_text("")
        return text


def test_kill_looks_again_before_it_signals_a_pid(tmp_path: Path) -> None:
    """Between reading a pid and signalling it, the process may end and a stranger get its pid."""
    tree = Forgetful(tmp_path, without={"cgroup.kill"})
    job = a_job(tree)
    with a_process() as stranger:
        tree.settle(GROUP, stranger.pid)

        job.kill()

        assert ends_by_itself(stranger)


def test_kill_keeps_no_descriptor_of_what_it_killed(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"cgroup.kill"})
    job = a_job(tree)
    with a_process() as process:
        tree.settle(GROUP, process.pid)
        before = os.listdir("/proc/self/fd")

        job.kill()

        assert os.listdir("/proc/self/fd") == before


def test_kill_ends_a_sweep_that_finds_the_dead_again(tmp_path: Path) -> None:
    """A process stays listed while it dies: it is signalled once, and the sweep does not wait for it."""
    tree = FakeTree(tmp_path, without={"cgroup.kill"})
    job = a_job(tree)
    with a_process() as process:
        tree.settle(GROUP, process.pid)

        job.kill()

        assert tree.pids(GROUP) == [process.pid]


def test_kill_of_a_group_that_is_gone_does_nothing(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    cgroups_on(tree).reopen("gone").kill()

    assert tree.writes[-1][0].endswith("cgroup.subtree_control")


def test_usage_is_what_the_kernel_has_accounted(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.report(GROUP, "cpu.stat", "usage_usec 2003412\nuser_usec 1990001")
    tree.report(GROUP, "memory.peak", "73728")
    tree.report(GROUP, "io.stat", "8:0 rbytes=4096 wbytes=12288 rios=1 wios=3 dbytes=0 dios=0")

    assert job.usage() == Usage(2_003_412, 73_728, 4_096, 12_288)


def test_usage_before_linux_5_19_has_no_memory_peak(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"memory.peak"})

    assert a_job(tree).usage() == Usage()


def test_oom_kills_are_read_from_memory_events(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)

    tree.report(GROUP, "memory.events", "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0")

    assert job.oom_kills() == 2


def test_limit_events_tell_what_has_grown(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.report(GROUP, "pids.events", "max 1")
    before = job.limit_events()
    tree.report(GROUP, "pids.events", "max 5")
    tree.report(GROUP, "memory.events", "max 9\noom 3\noom_kill 2")
    tree.report(GROUP, "cpu.stat", "usage_usec 1\nthrottled_usec 80000")

    after = job.limit_events()

    assert after == LimitEvents(80_000, memory_limit_hits=9, memory_ooms=3, memory_oom_kills=2, pids_limit_hits=5)
    assert after.since(before) == {
        "cpu_throttled_usec": 80_000,
        "memory_limit_hits": 9,
        "memory_ooms": 3,
        "memory_oom_kills": 2,
        "pids_limit_hits": 4,
    }
    assert after.since(after) == {}


def test_the_descriptor_is_of_the_folder_and_not_inherited(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    job = a_job(tree)

    assert os.path.samestat(os.fstat(job.fd), job.path.stat())
    assert not os.get_inheritable(job.fd)
    assert job.remove()


def test_remove_takes_the_folder_and_the_descriptor(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    fd = job.fd

    assert job.remove()

    assert not job.path.exists()
    assert job.fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_remove_while_a_process_is_dying_is_to_be_tried_again(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.settle(GROUP, 101)

    assert not job.remove()
    assert job.path.exists()
    assert job.fd >= 0
    job.kill()
    assert job.remove()


def test_remove_takes_groups_below_along(tmp_path: Path) -> None:
    """A job cannot make any, but a service manager that it starts as root of its own would."""
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.group(f"{GROUP}/a/b")
    tree.group(f"{GROUP}/c")

    assert job.remove()
    assert tree.groups_below("joblet.slice/jobs") == []


def test_remove_of_what_is_gone_has_nothing_left_to_do(tmp_path: Path) -> None:
    assert cgroups_on(FakeTree(tmp_path)).reopen("gone").remove()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOMEM])
def test_nothing_that_the_tree_refuses_reaches_the_supervisor(tmp_path: Path, number: int) -> None:
    """A job's end must be told whatever the tree answers: each call fails once in each of these."""
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.group(f"{GROUP}/below")
    for call in (job.kill, job.usage, job.oom_kills, job.limit_events, job.remove):
        nth = 1
        while True:
            tree.refuse(nth, number)
            call()
            if not tree.fired:
                break
            nth += 1
        assert nth > 1, f"the injector was not on the path of {call.__name__}"
    assert not job.path.exists()
