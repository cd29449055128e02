"""A job's group is made whole or not at all."""

import errno
import itertools
import os
from pathlib import Path

import pytest

from joblet.domain.limits import MIB, Limits
from joblet.supervisor.linux.cgroups.tree import CgroupError
from joblet.testing.cgroupfs import FakeTree, cgroups_on

LIMITS = Limits(cpu_max_percent=50, cpu_cores="0-1", memory_max_bytes=512 * MIB, io_max_bytes_per_s=MIB)
WORK = Path("/var/lib/joblet/work")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_job_has_every_limit_before_a_process_can_be_in_it(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    cgroups = cgroups_on(tree, pids_max=100)
    tree.writes.clear()

    job = cgroups.create("1", LIMITS, WORK)

    assert job.path == tree.root / "joblet.slice/jobs/1"
    assert [(name.rpartition("/")[2], value) for name, value in tree.writes] == [
        ("cpu.max", "50000 100000"),
        ("cpuset.cpus", "0-1"),
        ("memory.max", "536870912"),
        ("memory.oom.group", "0"),
        ("memory.swap.max", "0"),
        ("io.max", "8:0 rbps=1048576 wbps=1048576"),
        ("pids.max", "100"),
    ]


def test_a_job_may_have_4096_processes_by_default(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    cgroups_on(tree).create("1", LIMITS, WORK)

    assert tree.value("joblet.slice/jobs/1", "pids.max") == "4096"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EBUSY])
def test_a_job_that_fails_at_any_step_leaves_no_group_and_no_descriptor_behind(tmp_path: Path, number: int) -> None:
    descriptors = open_descriptors()
    words: set[str] = set()
    for nth in itertools.count(1):
        tree = FakeTree(tmp_path / str(nth))
        cgroups = cgroups_on(tree)
        tree.refuse(nth, number)
        try:
            job = cgroups.create("1", LIMITS, WORK)
        except CgroupError as error:
            words.add(error.words)
        else:
            break
        assert tree.fired
        assert cgroups.leftovers() == []
        assert open_descriptors() == descriptors
    assert not tree.fired, "a step failed and nobody noticed"
    assert job.remove()
    assert (words == {"permission denied"}) == (number == errno.EACCES)
    assert nth > 9  # mkdir, seven writes, a read and an open each failed once


def test_a_job_whose_io_cannot_be_limited_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.device = "0:45"
    cgroups = cgroups_on(tree)

    with pytest.raises(CgroupError, match=r"^cannot limit I/O: /var/lib/joblet/work is on a file system without"):
        cgroups.create("1", LIMITS, WORK)

    assert cgroups.leftovers() == []


def test_a_job_with_unlimited_io_needs_no_block_device(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.device = "0:45"

    cgroups_on(tree).create("1", Limits(100, "", 512 * MIB, 0), WORK)

    assert tree.value("joblet.slice/jobs/1", "io.max") == ""


def test_a_job_that_exists_is_not_made_again(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    cgroups = cgroups_on(tree)
    cgroups.create("1", LIMITS, WORK)

    with pytest.raises(CgroupError, match=r"^cannot create 1: file exists$"):
        cgroups.create("1", LIMITS, WORK)

    assert cgroups.leftovers() == ["1"]


@pytest.mark.parametrize("job_id", ["", ".", "..", "../supervisor", "a/b", "/etc"])
def test_an_id_that_leads_elsewhere_is_refused(tmp_path: Path, job_id: str) -> None:
    cgroups = cgroups_on(FakeTree(tmp_path))

    with pytest.raises(CgroupError, match=r"^not a job id: "):
        cgroups.create(job_id, LIMITS, WORK)
    with pytest.raises(CgroupError, match=r"^not a job id: "):
        cgroups.reopen(job_id)


def test_a_successor_takes_a_job_over(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    cgroups_on(tree).create("1", LIMITS, WORK)
    tree.report("joblet.slice/jobs/1", "memory.events", "oom_kill 1")
    successor = cgroups_on(tree)

    job = successor.reopen("1")

    assert (job.oom_kills(), job.fd) == (1, -1)
    assert job.remove()
    assert successor.leftovers() == []
