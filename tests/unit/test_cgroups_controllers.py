"""Each controller's two verbs, on the kernel's own output."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from joblet.domain.limits import MIB, Limits
from joblet.supervisor.linux.cgroups import cpu, cpuset, io, memory, pids
from joblet.supervisor.linux.cgroups.cpu import CpuStatistics
from joblet.supervisor.linux.cgroups.file import CgroupError, Folder
from joblet.supervisor.linux.cgroups.io import IoStatistics
from joblet.supervisor.linux.cgroups.memory import MemoryStatistics
from joblet.supervisor.linux.cgroups.pids import PidsStatistics
from joblet.testing.cgroupfs import FakeTree

GROUP = "jobs/1"


def limits(
    cpu_max_percent: int = 100, cpu_cores: str = "", memory_max_bytes: int = 512 * MIB, io_max_bytes_per_s: int = 0
) -> Limits:
    return Limits(cpu_max_percent, cpu_cores, memory_max_bytes, io_max_bytes_per_s)


def a_job(tree: FakeTree) -> Folder:
    tree.group("jobs", hands_down=("cpu", "cpuset", "io", "memory", "pids"))
    return Folder(tree, tree.group(GROUP))


@pytest.mark.parametrize(
    ("percent", "written"),
    [(1, "1000 100000"), (20, "20000 100000"), (100, "100000 100000"), (150, "150000 100000"), (0, "max 100000")],
)
def test_a_hundred_percent_is_one_core(tmp_path: Path, percent: int, written: str) -> None:
    """Microseconds of CPU time in each 100 ms; 1% is the least that the kernel takes (1 ms)."""
    tree = FakeTree(tmp_path)

    cpu.write_limits(a_job(tree), limits(cpu_max_percent=percent))

    assert tree.value(GROUP, "cpu.max") == written


def test_cpu_time_and_throttling_are_read_from_cpu_stat(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.report(
        GROUP,
        "cpu.stat",
        "usage_usec 2003412\nuser_usec 1990001\nsystem_usec 13411\ncore_sched.force_idle_usec 0\n"
        "nr_periods 101\nnr_throttled 98\nthrottled_usec 7821001\nnr_bursts 0\nburst_usec 0",
    )

    found = cpu.read_statistics(job)

    assert found == CpuStatistics(usage_usec=2_003_412, throttled_usec=7_821_001)


def test_cores_are_bound_as_asked(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, cores="0-3")
    job = a_job(tree)

    cpuset.write_limits(job, limits(cpu_cores="0-1,3"))

    assert tree.value(GROUP, "cpuset.cpus") == "0-1,3"


def test_no_cores_asked_for_writes_nothing(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    cpuset.write_limits(a_job(tree), limits(cpu_cores=""))

    assert tree.writes == []


def test_cores_that_the_kernel_quietly_leaves_out_are_an_error(tmp_path: Path) -> None:
    """Written without complaint, yet cpuset.cpus.effective has less: the job would run elsewhere than asked."""
    tree = FakeTree(tmp_path, cores="0-1")

    with pytest.raises(CgroupError, match=r"^cpuCores 1-2 is not available: the kernel grants 1$"):
        cpuset.write_limits(a_job(tree), limits(cpu_cores="1-2"))


def test_memory_is_limited_without_swap_and_without_group_kill(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    memory.write_limits(a_job(tree), limits(memory_max_bytes=48 * MIB))

    assert tree.writes == [
        (f"{GROUP}/memory.max", "50331648"),
        (f"{GROUP}/memory.oom.group", "0"),
        (f"{GROUP}/memory.swap.max", "0"),
    ]


def test_a_kernel_without_swap_has_no_swap_to_limit(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"memory.swap.max"})

    memory.write_limits(a_job(tree), limits())

    assert tree.value(GROUP, "memory.max") == "536870912"


def test_a_refused_swap_limit_is_an_error(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.refuse(3, errno.EINVAL)

    with pytest.raises(CgroupError, match=r"^cannot write '0' to memory.swap.max: invalid argument$"):
        memory.write_limits(job, limits())


def test_oom_kills_are_counted_also_when_only_a_child_died(tmp_path: Path) -> None:
    """memory.events counts each process that was killed, whoever its parent is and whatever that makes of it."""
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.report(GROUP, "memory.events", "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0")
    tree.report(GROUP, "memory.peak", "50331648")

    found = memory.read_statistics(job)

    assert found == MemoryStatistics(peak_bytes=48 * MIB, limit_hits=31, ooms=2, oom_kills=1)


def test_io_is_limited_for_reads_and_for_writes(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    io.write_limits(a_job(tree), limits(io_max_bytes_per_s=MIB), "8:0")

    assert tree.writes == [(f"{GROUP}/io.max", "8:0 rbps=1048576 wbps=1048576")]
    assert tree.value(GROUP, "io.max") == "8:0 rbps=1048576 wbps=1048576 riops=max wiops=max"


def test_a_byte_a_second_is_the_least_that_the_kernel_takes(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    io.write_limits(a_job(tree), limits(io_max_bytes_per_s=1), "8:0")

    assert tree.value(GROUP, "io.max") == "8:0 rbps=2 wbps=2 riops=max wiops=max"


def test_unlimited_io_writes_nothing(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    io.write_limits(a_job(tree), limits(io_max_bytes_per_s=0), "")

    assert tree.writes == []


def test_io_is_summed_over_disks(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.report(
        GROUP,
        "io.stat",
        "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n"
        "8:0 rbytes=90430464 wbytes=299008000 rios=8950 wios=1252 dbytes=50331648 dios=3021\n259:0",
    )

    found = io.read_statistics(job, tree.host.sysfs)

    assert found == IoStatistics(read_bytes=1_459_200 + 90_430_464, write_bytes=314_773_504 + 299_008_000)


def test_a_byte_on_a_stacked_disk_counts_once(tmp_path: Path) -> None:
    """The kernel counts it on the logical volume and again on the disk below."""
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    block = tree.host.sysfs / "dev" / "block"
    (block / "8:0" / "dev").write_text("8:0\n")
    (block / "253:0" / "slaves").mkdir(parents=True)
    (block / "253:0" / "slaves" / "sda").symlink_to(block / "8:0")
    tree.report(
        GROUP, "io.stat", "253:0 rbytes=4096 wbytes=8192 rios=1 wios=2\n8:0 rbytes=4096 wbytes=8192 rios=1 wios=2"
    )

    assert io.read_statistics(job, tree.host.sysfs) == IoStatistics(4096, 8192)


def test_processes_are_limited(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)

    pids.write_limits(job, 4096)
    tree.report(GROUP, "pids.events", "max 7")

    assert tree.value(GROUP, "pids.max") == "4096"
    assert pids.read_statistics(job) == PidsStatistics(limit_hits=7)


@pytest.mark.parametrize(
    ("read", "nothing"),
    [
        (cpu.read_statistics, CpuStatistics()),
        (memory.read_statistics, MemoryStatistics()),
        (lambda folder: io.read_statistics(folder, Path("/nowhere")), IoStatistics()),
        (pids.read_statistics, PidsStatistics()),
    ],
)
def test_a_group_that_is_gone_has_used_nothing(
    tmp_path: Path, read: Callable[[Folder], object], nothing: object
) -> None:
    tree = FakeTree(tmp_path)

    assert read(Folder(tree, tree.root / "gone")) == nothing


def test_a_refused_write_names_the_file_the_value_and_the_kernels_words(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.refuse(1, errno.ERANGE)

    with pytest.raises(CgroupError) as caught:
        pids.write_limits(job, 5_000_000)

    assert str(caught.value) == "cannot write '5000000' to pids.max: numerical result out of range"
    assert caught.value.detail == (
        f"cannot write '5000000' to pids.max (in {tree.root}/jobs/1): numerical result out of range"
    )
    assert caught.value.number == errno.ERANGE


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_every_denial_reads_permission_denied(tmp_path: Path, number: int) -> None:
    """The specification's words for it: "cgroup setup failed: permission denied". The log gets the rest."""
    tree = FakeTree(tmp_path)
    job = a_job(tree)
    tree.refuse(1, number)

    with pytest.raises(CgroupError, match=r"^permission denied$") as caught:
        cpu.write_limits(job, limits())

    assert "'100000 100000' to cpu.max" in caught.value.detail


def test_the_kernels_files_are_read_and_written_through_the_door(tmp_path: Path) -> None:
    """The real door, on an ordinary folder: a file is never created, a value is one write."""
    from joblet.supervisor.linux.cgroups.file import KERNEL

    folder = Folder(KERNEL, tmp_path / "group")
    folder.make()

    with pytest.raises(CgroupError, match=r"^cannot write '1' to cgroup.kill: no such file or directory$"):
        folder.write("cgroup.kill", "1")
    (tmp_path / "group" / "pids.max").write_text("max\n")
    folder.write("pids.max", "4096")

    assert folder.text("pids.max") == "4096"
    assert [child.path.name for child in Folder(KERNEL, tmp_path).children()] == ["group"]
