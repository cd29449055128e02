"""Each kind of broken host has its own message and the command or setting that mends it."""

from pathlib import Path

import pytest

from joblet.supervisor.linux.cgroups.host import (
    CONTROLLERS,
    Facts,
    Finding,
    Mount,
    Severity,
    findings,
    gather,
    mount_at,
    own_group,
    own_service,
    parse_mounts,
)
from joblet.testing.cgroupfs import FakeTree

ROOT = Path("/sys/fs/cgroup")
ALL = frozenset(CONTROLLERS)
V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V2_READ_ONLY = V2.replace(" rw,nosuid", " ro,nosuid")
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"""
NO_CGROUPS = "22 1 253:0 / / rw,relatime - ext4 /dev/vda rw\n23 22 0:21 / /sys rw,nosuid - sysfs sysfs rw"
SERVICE = ROOT / "joblet.slice" / "joblet-supervisor.service"


def facts(
    mountinfo: str = V2,
    service: Path | None = None,
    controllers: frozenset[str] | None = ALL,
    unified: frozenset[str] = frozenset(),
    *,
    writable: bool = True,
    occupied: bool = False,
) -> Facts:
    return Facts(ROOT, mountinfo, service, controllers, unified, writable=writable, occupied=occupied)


def test_a_good_host_is_said_to_be_good() -> None:
    assert findings(facts()) == [
        Finding(
            Severity.GOOD,
            "cgroup v2 controllers cpu, cpuset, io, memory, pids available and writable at /sys/fs/cgroup",
        )
    ]


BROKEN = {
    "cgroups v1 only, or hybrid": (
        facts(HYBRID, controllers=None, unified=frozenset({"cpuset", "pids"})),
        "cgroup v2 controllers cpu, io, memory not available at /sys/fs/cgroup (cgroups v1 host)",
        "boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line",
    ),
    "nothing mounted": (
        facts(NO_CGROUPS, controllers=None),
        "no cgroup v2 tree is mounted at /sys/fs/cgroup",
        "mount -t cgroup2 none /sys/fs/cgroup",
    ),
    "a kernel told to leave memory out": (
        facts(controllers=ALL - {"memory"}),
        "cgroup v2 controllers memory not available at /sys/fs/cgroup",
        "boot without cgroup_disable=memory",
    ),
    "controllers still held by v1 mounts": (
        facts(f"{V2}\n39 31 0:36 / /mnt/blkio rw - cgroup cgroup rw,blkio", controllers=ALL - {"io"}),
        "cgroup v2 controllers io not available at /sys/fs/cgroup (cgroups v1 holds them)",
        "cgroup_no_v1=all",
    ),
    "a container without all controllers": (
        facts(controllers=frozenset({"cpu", "memory", "pids"})),
        "cgroup v2 controllers cpuset, io not available at /sys/fs/cgroup",
        "have them delegated to it by whoever starts it",
    ),
    "a service without Delegate=": (
        facts(service=SERVICE, controllers=frozenset({"memory", "pids"})),
        f"cgroup v2 controllers cpu, cpuset, io not available at {SERVICE}",
        "add Delegate=cpu cpuset io memory pids to [Service] (systemctl edit joblet-supervisor.service)",
    ),
    "mounted read-only": (
        facts(V2_READ_ONLY, writable=False),
        "/sys/fs/cgroup is mounted read-only",
        "mount -o remount,rw /sys/fs/cgroup",
    ),
    "not root": (
        facts(writable=False),
        "permission denied to make groups in /sys/fs/cgroup",
        "run the supervisor as root",
    ),
    "a container whose processes are in its own group": (
        facts(occupied=True),
        "processes live in /sys/fs/cgroup itself (a container's own group): its controllers cannot be handed down",
        "mkdir /sys/fs/cgroup/init && ",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_host_is_told_what_is_wrong_and_what_mends_it(kind: str) -> None:
    seen, what, remedy = BROKEN[kind]

    (error,) = [finding for finding in findings(seen) if finding.severity is Severity.ERROR]

    assert error.what == what
    assert remedy in error.remedy
    assert error.remedy.endswith("or set isolation.cgroups to auto")


def test_the_kinds_of_broken_host_have_messages_of_their_own() -> None:
    assert len({what for _, what, _ in BROKEN.values()}) == len(BROKEN)


def test_only_matters_of_permission_are_denials() -> None:
    denied = {kind for kind, (seen, _, _) in BROKEN.items() if any(finding.denied for finding in findings(seen))}

    assert denied == {"mounted read-only", "not root"}


def test_all_errors_are_told_not_the_first() -> None:
    found = findings(facts(V2_READ_ONLY, controllers=ALL - {"io"}, writable=False, occupied=True))

    assert [finding.severity for finding in found] == [Severity.ERROR] * 3


def test_what_is_merely_missing_is_a_warning() -> None:
    seen = Facts(ROOT, V2, controllers=ALL, kill=False, io_problem=("cannot limit I/O: /x is on …", "move it"))

    found = findings(seen)

    assert [(finding.severity, finding.what) for finding in found[1:]] == [
        (Severity.WARNING, "the kernel has no cgroup.kill: jobs are ended process by process"),
        (Severity.WARNING, "cannot limit I/O: /x is on …"),
    ]


def test_mounts_are_read_with_their_escapes_and_optional_fields() -> None:
    text = "36 35 98:0 /a /mnt/a\\040b ro,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\nrubbish\n"

    assert parse_mounts(text) == [Mount(Path("/mnt/a b"), Path("/a"), "ext3", read_only=True)]


def test_the_nearest_and_latest_mount_counts() -> None:
    """A second mount at the same place hides the first; /sys/fs/cgroup2 is not below /sys/fs/cgroup."""
    mounts = parse_mounts(f"{NO_CGROUPS}\n{V2}\n{V2_READ_ONLY}\n" + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup2 "))

    found = mount_at(ROOT, mounts)

    assert found is not None
    assert (found.kind, found.read_only) == ("cgroup2", True)


@pytest.mark.parametrize(
    ("own", "root", "group"),
    [
        ("0::/user.slice/session-1.scope", "/", "/sys/fs/cgroup/user.slice/session-1.scope"),
        ("4:memory:/x\n0::/\n", "/", "/sys/fs/cgroup"),
        ("0::/docker/1/init", "/docker/1", "/sys/fs/cgroup/init"),
        ("0::/elsewhere", "/docker/1", None),
        ("0::/../other", "/", None),
        ("4:memory:/x\n", "/", None),
    ],
)
def test_our_own_group_is_found_where_the_mount_shows_it(own: str, root: str, group: str | None) -> None:
    mount = Mount(ROOT, Path(root), "cgroup2", read_only=False)

    assert own_group(own, mount) == (None if group is None else Path(group))


@pytest.mark.parametrize(
    ("own", "service"),
    [
        ("0::/joblet.slice/joblet-supervisor.service", SERVICE),
        ("0::/joblet.slice/joblet-supervisor.service/service", SERVICE),
        ("0::/system.slice/cron.service", None),
        ("0::/user.slice/user-0.slice/session-1.scope", None),
    ],
)
def test_only_a_service_in_joblet_slice_is_ours(own: str, service: Path | None) -> None:
    """Also seen from its child, where a supervisor that starts over in place already is."""
    assert own_service(own, Mount(ROOT, Path("/"), "cgroup2", read_only=False)) == service


def test_looking_at_a_host_changes_nothing(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)

    found = gather(tree.host, tree)

    assert found.controllers == ALL
    assert findings(found)[0].severity is Severity.GOOD
    assert tree.writes == []
    assert tree.groups_below() == []


def test_a_hybrid_host_is_seen_with_what_its_unified_tree_has(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    unified = tree.group("unified")
    (unified / "cgroup.controllers").write_text("cpuset pids\n")
    (tree.root / "cgroup.controllers").unlink()
    tree.mounted(
        f"31 23 0:28 / {tree.root} rw - tmpfs tmpfs rw",
        f"35 31 0:32 / {tree.root}/memory rw - cgroup cgroup rw,memory",
        f"41 31 0:38 / {unified} rw - cgroup2 cgroup2 rw",
    )

    found = findings(gather(tree.host, tree))

    assert [finding.what for finding in found] == [
        f"cgroup v2 controllers cpu, io, memory not available at {tree.root} (cgroups v1 host)"
    ]


def test_a_containers_own_group_with_processes_is_seen(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path, container=True)
    tree.settle("", 1, 7)

    assert gather(tree.host, tree).occupied


def test_the_real_root_may_hold_processes(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.settle("", 1, 7)

    assert not gather(tree.host, tree).occupied


def test_io_of_the_state_folder_is_looked_at_when_asked(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.device = "0:45"

    found = gather(tree.host, tree, state_folder=tmp_path)

    assert found.io_problem is not None
    assert found.io_problem[0].startswith(f"cannot limit I/O: {tmp_path} is on a file system without a block device")


def test_a_host_of_which_nothing_can_be_read_is_broken_not_a_crash(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    (tree.host.proc / "self" / "mountinfo").unlink()
    (tree.host.proc / "self" / "cgroup").unlink()

    assert [finding.what for finding in findings(gather(tree.host, tree))] == [
        f"no cgroup v2 tree is mounted at {tree.root}"
    ]
