"""Where groups go, on which hosts, and what a start and an end leave behind."""

import errno
import itertools
from pathlib import Path

import pytest

from joblet.domain.limits import MIB, Limits
from joblet.supervisor.linux.cgroups.host import CONTROLLERS
from joblet.supervisor.linux.cgroups.tree import CgroupError, Cgroups, CgroupsUnavailable, open_slice
from joblet.testing.cgroupfs import FakeTree, cgroups_on

LIMITS = Limits(cpu_max_percent=50, cpu_cores="0-1", memory_max_bytes=512 * MIB, io_max_bytes_per_s=MIB)
WORK = Path("/var/lib/joblet/work")
SERVICE = "joblet.slice/joblet-supervisor.service"
ENABLED = " ".join(CONTROLLERS)


def refused(tree: FakeTree, slice_name: str = "joblet.slice") -> CgroupsUnavailable:
    with pytest.raises(CgroupsUnavailable) as caught:
        open_slice(tree.root / slice_name, "required", host=tree.host, files=tree)
    return caught.value


def why_not(tree: FakeTree, mode: str = "auto") -> str:
    found = open_slice(tree.root / "joblet.slice", mode, host=tree.host, files=tree)
    assert isinstance(found, str)
    return found


def a_service(tree: FakeTree, *pids: int, delegated: bool = True) -> None:
    """What systemd has made when it starts us, controllers handed down as far as the service."""
    tree.group("joblet.slice", hands_down=CONTROLLERS if delegated else ("memory", "pids"))
    tree.group(SERVICE)
    tree.settle(SERVICE, *pids)
    tree.lives_in(f"/{SERVICE}")


# Where


def test_without_systemd_a_slice_is_made_from_the_root_down(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    cgroups = cgroups_on(tree)

    assert cgroups.path == tree.root / "joblet.slice" / "jobs"
    for group in ("", "joblet.slice", "joblet.slice/jobs"):
        assert tree.value(group, "cgroup.subtree_control") == ENABLED


def test_each_state_folder_has_a_group_of_its_own_in_the_slice(tmp_path: Path) -> None:
    """Else a supervisor would take another's jobs for leftovers of its own and kill them."""
    tree = FakeTree(tmp_path)
    first = cgroups_on(tree, state_folder=Path("/var/lib/joblet"))
    second = cgroups_on(tree, state_folder=Path("/tmp/demo"))

    first.create("1", LIMITS, WORK)

    assert first.path.parent.name == "var-lib-joblet-aa6eb7af"
    assert (first.leftovers(), second.leftovers()) == (["1"], [])


def test_as_a_service_all_its_processes_move_into_a_child_first(tmp_path: Path) -> None:
    """The kernel lets no group hand controllers down that holds processes."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200, 201)

    cgroups = cgroups_on(tree)

    assert cgroups.path == tree.root / SERVICE / "jobs"
    assert tree.pids(SERVICE) == []
    assert tree.pids(f"{SERVICE}/service") == [200, 201]
    assert tree.value(SERVICE, "cgroup.subtree_control") == ENABLED


def test_as_a_service_nothing_above_it_is_written(tmp_path: Path) -> None:
    """All above is systemd's."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)

    cgroups_on(tree, state_folder=Path("/var/lib/joblet"))

    assert [name for name, _ in tree.writes if not name.startswith(SERVICE + "/")] == []


def test_a_service_can_be_named_by_the_slice_path(tmp_path: Path) -> None:
    """So that jobs may go below another unit than the one that supervises them."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    tree.lives_in("/user.slice")

    assert cgroups_on(tree, slice_name=SERVICE).path == tree.root / SERVICE / "jobs"


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    """A supervisor that starts over finds itself in the child, and jobs running."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    cgroups_on(tree).create("1", LIMITS, WORK)
    tree.lives_in(f"/{SERVICE}/service")
    before, groups = list(tree.writes), tree.groups_below()

    again = cgroups_on(tree)

    assert (tree.writes, tree.groups_below()) == (before, groups)
    assert again.leftovers() == ["1"]


def test_a_process_that_ends_while_it_is_moved_is_no_matter(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    tree.refuse(_call_of(tree, "cgroup.procs"), errno.ESRCH)

    cgroups_on(tree)

    assert tree.fired


def test_a_slice_that_another_supervisor_removes_meanwhile_is_made_anew(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.refuse(_call_of(tree, "jobs"), errno.ENOENT)

    cgroups_on(tree)

    assert tree.fired


def _call_of(tree: FakeTree, name: str) -> int:
    """Which call of `open_slice` writes the file of this name or makes this group; on a tree just like this one."""
    for nth in itertools.count(1):
        twin = FakeTree(tree.root.parent / f"twin-{nth}")
        if tree.groups_below():
            a_service(twin, 200)
        twin.refuse(nth, errno.EACCES)
        try:
            open_slice(twin.root / "joblet.slice", "required", host=twin.host, files=twin)
        except CgroupsUnavailable as error:
            if f"to {name} " in error.detail or f"create {name} " in error.detail:
                return nth
        assert twin.fired, f"nothing is done to {name}"
    raise AssertionError


# A place that is taken away meanwhile


def test_a_place_that_systemd_has_made_anew_is_made_ready_for_the_next_job(tmp_path: Path) -> None:
    """systemd removes a service's group with its last process, and starts the service in a new one."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    cgroups = cgroups_on(tree)
    tree.vanish(SERVICE)
    a_service(tree, 201)

    job = cgroups.create("1", LIMITS, WORK)

    assert job.path == tree.root / SERVICE / "jobs" / "1"
    assert tree.value(f"{SERVICE}/jobs/1", "memory.max") == str(LIMITS.memory_max_bytes)
    assert tree.pids(f"{SERVICE}/service") == [201]


def test_while_its_place_is_gone_a_job_is_refused_with_what_brings_it_back(tmp_path: Path) -> None:
    """It goes nowhere else: elsewhere systemd would kill it, or be kept from starting the service again."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    cgroups = cgroups_on(tree)
    tree.vanish(SERVICE)

    with pytest.raises(CgroupError, match=r"^joblet-supervisor\.service is not running$") as caught:
        cgroups.create("1", LIMITS, WORK)

    assert caught.value.remedy == "systemctl start joblet-supervisor.service"
    assert tree.groups_below() == ["joblet.slice"]


def test_a_place_that_is_not_there_yet_is_waited_for_and_not_replaced(tmp_path: Path) -> None:
    """In our own service's group, or in one made by hand, jobs would be systemd's to end."""
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    place = "joblet.slice/joblet-jobs.service"

    cgroups = cgroups_on(tree, slice_name=place)

    with pytest.raises(CgroupError, match=r"^joblet-jobs\.service is not running$"):
        cgroups.create("1", LIMITS, WORK)
    tree.group(place)
    tree.settle(place, 300)
    assert cgroups.create("1", LIMITS, WORK).path == tree.root / place / "jobs" / "1"
    assert tree.pids(SERVICE) == [200]


def test_a_slice_made_by_hand_that_somebody_has_removed_is_made_again(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    cgroups = cgroups_on(tree, state_folder=Path("/var/lib/joblet"))
    tree.vanish("joblet.slice")

    cgroups.create("1", LIMITS, WORK)

    assert cgroups.leftovers() == ["1"]


def test_a_place_that_goes_at_any_step_of_a_job_costs_no_job(tmp_path: Path) -> None:
    for nth in itertools.count(1):
        tree = FakeTree(tmp_path / str(nth))
        a_service(tree, 200)
        cgroups = cgroups_on(tree)
        tree.refuse(nth, errno.ENOENT)

        job = cgroups.create("1", LIMITS, WORK)

        assert tree.value(f"{SERVICE}/jobs/1", "pids.max") == "4096"
        assert job.remove()
        if not tree.fired:
            break
    assert nth > 9  # mkdir, seven writes, a read and an open were each refused once


def test_a_file_that_this_kernel_does_not_have_is_looked_for_twice_and_not_for_ever(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"pids.max"})
    cgroups = cgroups_on(tree)

    with pytest.raises(CgroupError, match=r"^cannot write '4096' to pids\.max: no such file or directory$"):
        cgroups.create("1", LIMITS, WORK)

    assert cgroups.leftovers() == []


# Whether


@pytest.mark.parametrize("mode", ["required", "auto"])
def test_limits_are_enforced_where_the_host_can(tmp_path: Path, mode: str) -> None:
    assert isinstance(cgroups_on(FakeTree(tmp_path), mode=mode), Cgroups)


def test_switched_off_touches_nothing(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    assert why_not(tree, "off") == "switched off (isolation.cgroups: off)"
    assert tree.calls == 0


def test_a_v1_host_runs_jobs_without_limits_and_says_why(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.mounted(
        f"31 23 0:28 / {tree.root} rw - tmpfs tmpfs rw", f"35 31 0:32 / {tree.root}/memory rw - cgroup none rw,memory"
    )

    assert why_not(tree) == (
        f"cgroup v2 controllers cpu, cpuset, io, memory, pids not available at {tree.root} (cgroups v1 host)"
    )
    assert tree.groups_below() == []


def test_a_v1_host_where_limits_are_required_is_told_what_mends_it(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.mounted(f"35 31 0:32 / {tree.root}/memory rw - cgroup none rw,memory")

    error = refused(tree)

    assert "(cgroups v1 host): boot with systemd.unified_cgroup_hierarchy=1" in str(error)


def test_a_service_without_delegation_is_told_the_setting(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    a_service(tree, 200, delegated=False)

    error = refused(tree)

    assert error.words == f"cgroup v2 controllers cpu, cpuset, io not available at {tree.root}/{SERVICE}"
    assert error.remedy.startswith("add Delegate=cpu cpuset io memory pids to [Service]")
    assert tree.pids(SERVICE) == [200]


def test_a_read_only_tree_is_a_denial_in_the_specifications_words(tmp_path: Path) -> None:
    """ "cgroup setup failed: permission denied" to a user; whoever starts the supervisor reads why."""
    tree = FakeTree(tmp_path)
    tree.mounted(f"31 23 0:28 / {tree.root} ro - cgroup2 cgroup2 rw")
    tree.read_only = True

    error = refused(tree)

    assert error.words == "permission denied"
    assert str(error).startswith(f"{tree.root} is mounted read-only: mount -o remount,rw {tree.root}")
    assert why_not(tree) == f"{tree.root} is mounted read-only"


def test_swap_that_cannot_be_limited_is_an_escape_and_refused(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"memory.swap.max"})
    tree.swaps("/dev/sda2 partition 1048572 0 -2")

    error = refused(tree)

    assert error.words == "swap is on, but this kernel does not limit it: a job could use more than its maxMemory"
    assert "swapoff -a" in error.remedy
    assert tree.groups_below() == []


def test_no_swap_at_all_needs_no_limit(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, without={"memory.swap.max"})
    tree.swaps()

    cgroups_on(tree).create("1", LIMITS, WORK)

    assert tree.value("joblet.slice/jobs/1", "memory.max") == str(512 * MIB)


def test_a_slice_outside_the_tree_is_refused(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    with pytest.raises(
        CgroupsUnavailable, match=r"^/elsewhere is not below .*: give a slice such as .*/joblet\.slice$"
    ):
        open_slice(Path("/elsewhere"), "required", host=tree.host, files=tree)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.ENOMEM])
def test_a_start_that_fails_at_any_step_leaves_no_group_behind(tmp_path: Path, number: int) -> None:
    """By hand: what was made is taken back. (Statistics are read tolerantly, so not each fault is an error.)"""
    failed = 0
    for nth in itertools.count(1):
        tree = FakeTree(tmp_path / str(nth))
        tree.refuse(nth, number)
        try:
            cgroups_on(tree)
        except CgroupsUnavailable:
            failed += 1
            assert tree.groups_below() == []
        if not tree.fired:
            break
    assert failed >= 8


# The end


def test_closing_removes_all_that_was_made_by_hand(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    cgroups = cgroups_on(tree, state_folder=Path("/var/lib/joblet"))

    cgroups.close()

    assert tree.groups_below() == []


def test_closing_leaves_another_supervisors_jobs_alone(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    first = cgroups_on(tree, state_folder=Path("/a"))
    second = cgroups_on(tree, state_folder=Path("/b"))
    second.create("1", LIMITS, WORK)

    first.close()

    assert second.leftovers() == ["1"]
    assert not first.path.exists()


def test_closing_a_service_leaves_systemds_own_groups(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    a_service(tree, 200)
    cgroups = cgroups_on(tree)

    cgroups.close()

    assert tree.groups_below() == ["joblet.slice", SERVICE, f"{SERVICE}/service"]
