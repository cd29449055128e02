"""
What a host lacks for limiting jobs, and the command or setting that mends it: a message per kind of broken host.

`gather` looks, `findings` judges: the second is pure, so each kind of host is a text in a test.

Runs in: supervisor at start, `joblet doctor`. May not: change anything.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Mounting", "Controllers"; proc_pid_mountinfo(5);
systemd.resource-control(5), "Delegate="; kernel versions from cgroups(7) and the same document's history.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from joblet.supervisor.linux.cgroups.device import device_of, whole_disk
from joblet.supervisor.linux.cgroups.file import KERNEL, CgroupError, Files, Folder

CONTROLLERS: Final = ("cpu", "cpuset", "io", "memory", "pids")
CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
SLICE: Final = "joblet.slice"
SWITCH_OFF: Final = "or set isolation.cgroups to auto"


@dataclass(frozen=True, slots=True)
class Host:
    """
    Where the kernel tells of itself; another folder in tests.

    Args:
        proc: procfs.
        sysfs: sysfs.
        root: Where the cgroup tree is mounted.
        device_of: MAJOR:MINOR of what a folder is stored on.
    """

    proc: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    root: Path = CGROUP_ROOT
    device_of: Callable[[Path], str] = device_of


HOST: Final = Host()


@dataclass(frozen=True, slots=True)
class Mount:
    """
    A mounted file system.

    Args:
        point: Where.
        root: Which folder of it is seen there.
        kind: Its type: cgroup2, cgroup (version 1), tmpfs, …
        read_only: Here, or altogether.
    """

    point: Path
    root: Path
    kind: str
    read_only: bool


def parse_mounts(mountinfo: str) -> list[Mount]:
    """
    /proc/self/mountinfo, in its own order: the later of two at one place hides the earlier.

    Source: proc_pid_mountinfo(5): "36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
    """
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) < 6 or len(after) < 3:
            continue
        read_only = "ro" in before[5].split(",") or "ro" in after[2].split(",")
        mounts.append(Mount(Path(_plain(before[4])), Path(_plain(before[3])), after[0], read_only))
    return mounts


def _plain(escaped: str) -> str:
    """The kernel writes blanks in paths as octal escapes."""
    for character in " \t\n\\":
        escaped = escaped.replace(f"\\{ord(character):03o}", character)
    return escaped


def mount_at(path: Path, mounts: list[Mount]) -> Mount | None:
    """What is mounted at a path or nearest above it."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    deepest = max((len(mount.point.parts) for mount in above), default=0)
    return next((mount for mount in reversed(above) if len(mount.point.parts) == deepest), None)


def own_group(proc_self_cgroup: str, mount: Mount) -> Path | None:
    """Our own group's folder in a cgroup2 mount, from /proc/self/cgroup; None when it is not to be seen there."""
    for line in proc_self_cgroup.splitlines():
        if line.startswith("0::/"):
            group = Path(line.removeprefix("0::"))
            if ".." in group.parts or not group.is_relative_to(mount.root):
                return None
            return mount.point / group.relative_to(mount.root)
    return None


def is_service(group: Path) -> bool:
    """Whether systemd named it for a service: the only kind of unit of ours that Delegate= gives to us."""
    return group.name.endswith(".service")


def own_service(proc_self_cgroup: str, mount: Mount) -> Path | None:
    """
    The group that systemd made for the service we run in, when it is in joblet.slice; else None.

    It is found from any group below it too: after a restart in place we already are in a child of our own.
    """
    group = own_group(proc_self_cgroup, mount)
    if group is None:
        return None
    for folder in (group, *group.parents):
        if is_service(folder) and SLICE in folder.parts:
            return folder
    return None


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What was seen. Texts are as the kernel gave them; empty where there was nothing.

    Args:
        root: Where the cgroup tree should be.
        mountinfo: /proc/self/mountinfo.
        service: The service that jobs go below; None when they go below a slice made by hand.
        controllers: Those that the group jobs go below has to give; None when it has no such file.
        unified_controllers: Those of a cgroup2 tree mounted elsewhere (a hybrid host).
        enabled: Controllers already handed to the groups below.
        writable: Whether we may make groups there.
        occupied: It is a container's own group and holds processes.
        kill: Whether the kernel knows cgroup.kill.
        io_problem: Why I/O of the state folder cannot be limited, and the remedy; None when it can, or is not asked.
    """

    root: Path
    mountinfo: str
    service: Path | None = None
    controllers: frozenset[str] | None = None
    unified_controllers: frozenset[str] = frozenset()
    enabled: frozenset[str] = frozenset()
    writable: bool = True
    occupied: bool = False
    kill: bool = True
    io_problem: tuple[str, str] | None = None


def gather(
    host: Host = HOST, files: Files = KERNEL, slice_path: Path | None = None, state_folder: Path | None = None
) -> Facts:
    """
    Look at this host. Never raises: what cannot be read is not there.

    Args:
        slice_path: A service's group that jobs are to go below, if it is one and is there.
        state_folder: Whether its I/O can be limited; None not to ask.
    """
    mountinfo, own = _text(host.proc / "self" / "mountinfo"), _text(host.proc / "self" / "cgroup")
    mounts = parse_mounts(mountinfo)
    mount = mount_at(host.root, mounts)
    service = None
    if mount is not None and mount.kind == "cgroup2":
        named = slice_path is not None and is_service(slice_path) and files.exists(slice_path)
        service = slice_path if named else own_service(own, mount)
    top = Folder(files, service or host.root)
    unified = next((m.point for m in mounts if m.kind == "cgroup2" and m.point != host.root), None)
    enabled = frozenset(top.text("cgroup.subtree_control").split())
    return Facts(
        root=host.root,
        mountinfo=mountinfo,
        service=service,
        controllers=frozenset(top.text("cgroup.controllers").split()) if top.exists("cgroup.controllers") else None,
        unified_controllers=frozenset(Folder(files, unified).text("cgroup.controllers").split())
        if unified
        else frozenset(),
        enabled=enabled,
        writable=files.writable(top.path) and files.writable(top.path / "cgroup.subtree_control"),
        # The real root has no cgroup.type. It alone may hold processes beside groups with controllers.
        occupied=service is None and top.exists("cgroup.type") and bool(top.pids()) and not enabled,
        kill=top.exists("cgroup.kill") or not top.exists("cgroup.type"),
        io_problem=_io_problem(state_folder, host) if state_folder is not None else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _io_problem(folder: Path, host: Host) -> tuple[str, str] | None:
    try:
        whole_disk(host.device_of(folder), folder, host.sysfs)
    except CgroupError as error:
        return error.words, error.remedy
    return None


class Severity(StrEnum):
    """What a finding means for jobs."""

    GOOD = "good"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing about a host.

    Args:
        severity: ERROR when no job can be limited, WARNING when one limit or convenience is missing.
        what: The fact, with the path it is about.
        remedy: The command or setting that mends it; empty for good news.
        denied: It is a matter of permission.
    """

    severity: Severity
    what: str
    remedy: str = ""
    denied: bool = False


def findings(facts: Facts) -> list[Finding]:
    """All that is to be said about the cgroups of a host, errors first; pure."""
    errors = list(_errors(facts))
    good = Finding(
        Severity.GOOD,
        f"cgroup v2 controllers {', '.join(CONTROLLERS)} available and writable at {facts.service or facts.root}",
    )
    return [*(errors or [good]), *_warnings(facts)]


def _errors(facts: Facts) -> Iterator[Finding]:
    mounts = parse_mounts(facts.mountinfo)
    mount = mount_at(facts.root, mounts)
    version_1 = any(each.kind == "cgroup" for each in mounts)
    if mount is None or mount.kind != "cgroup2":
        if version_1:
            yield _version_1(facts)
        else:
            yield Finding(
                Severity.ERROR,
                f"no cgroup v2 tree is mounted at {facts.root}",
                f"mount -t cgroup2 none {facts.root}, {SWITCH_OFF}",
            )
        return
    missing = [name for name in CONTROLLERS if name not in (facts.controllers or ())]
    if missing:
        yield _missing(facts, missing, version_1=version_1)
    if mount.read_only:
        yield Finding(
            Severity.ERROR,
            f"{mount.point} is mounted read-only",
            f"mount -o remount,rw {mount.point} (for a container: start it with a writable cgroup tree), {SWITCH_OFF}",
            denied=True,
        )
    elif not facts.writable:
        yield Finding(
            Severity.ERROR,
            f"permission denied to make groups in {facts.service or facts.root}",
            f"run the supervisor as root, {SWITCH_OFF}",
            denied=True,
        )
    if facts.occupied:
        yield Finding(
            Severity.ERROR,
            f"processes live in {facts.root} itself (a container's own group): its controllers cannot be handed down",
            f"mkdir {facts.root}/init && xargs -rn1 < {facts.root}/cgroup.procs > {facts.root}/init/cgroup.procs"
            f", {SWITCH_OFF}",
        )


def _version_1(facts: Facts) -> Finding:
    missing = [name for name in CONTROLLERS if name not in facts.unified_controllers]
    what = f"controllers {', '.join(missing)}" if missing else "tree"
    return Finding(
        Severity.ERROR,
        f"cgroup v2 {what} not available at {facts.root} (cgroups v1 host)",
        f"boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line, {SWITCH_OFF}",
    )


def _missing(facts: Facts, missing: list[str], *, version_1: bool) -> Finding:
    where = facts.service or facts.root
    what = f"cgroup v2 controllers {', '.join(missing)} not available at {where}"
    if facts.service is not None:
        name = facts.service.name
        remedy = f"add Delegate={' '.join(CONTROLLERS)} to [Service] (systemctl edit {name}) and restart {name}"
    elif version_1:
        what += " (cgroups v1 holds them)"
        remedy = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all on the kernel command line"
    elif missing == ["memory"]:
        remedy = "boot without cgroup_disable=memory (on a Raspberry Pi: with cgroup_enable=memory)"
    else:
        remedy = "boot a kernel that has them (for a container: have them delegated to it by whoever starts it)"
    return Finding(Severity.ERROR, what, f"{remedy}, {SWITCH_OFF}")


def _warnings(facts: Facts) -> Iterator[Finding]:
    if not facts.kill:
        yield Finding(
            Severity.WARNING,
            "the kernel has no cgroup.kill: jobs are ended process by process",
            "use Linux 5.14 or later",
        )
    if facts.io_problem is not None:
        what, remedy = facts.io_problem
        yield Finding(Severity.WARNING, what, remedy)
