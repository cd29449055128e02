"""
A folder that behaves like a cgroup2 tree, so that limits are tested on any machine and without privilege.

    tree = FakeTree(tmp_path)
    cgroups = cgroups_on(tree)
    tree.report("joblet.slice/jobs/1", "memory.events", "oom_kill 1")     the kernel tells
    tree.refuse(3, errno.EACCES)                                          the third call from now fails, once
    tree.writes                                                           what was written, in order

It is as strict as the kernel where a mistake would show: a group holds processes or hands controllers down, a
controller must be available to be handed down, its files exist only then, and a group that is not empty stays.
It enforces nothing, and knows only the files that Joblet uses.

Runs in: tests. May not: touch anything outside its folder.
Source: Linux Documentation/admin-guide/cgroup-v2.rst.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from joblet.domain.limits import parse_cores
from joblet.supervisor.linux.cgroups.file import Files
from joblet.supervisor.linux.cgroups.host import CONTROLLERS, Host
from joblet.supervisor.linux.cgroups.tree import Cgroups, open_slice

_CORE: Final = {
    "cgroup.procs": "",
    "cgroup.controllers": "\n",
    "cgroup.subtree_control": "\n",
    "cpu.stat": "usage_usec 0\nuser_usec 0\nsystem_usec 0\n",
}
_NOT_IN_ROOT: Final = {"cgroup.type": "domain\n", "cgroup.events": "populated 0\nfrozen 0\n", "cgroup.kill": ""}
_OF_CONTROLLER: Final = {
    "cpu": {"cpu.max": "max 100000\n", "cpu.weight": "100\n"},
    "cpuset": {"cpuset.cpus": "\n", "cpuset.cpus.effective": "\n"},
    "io": {"io.max": "", "io.stat": ""},
    "memory": {
        "memory.max": "max\n",
        "memory.oom.group": "0\n",
        "memory.swap.max": "max\n",
        "memory.peak": "0\n",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    },
    "pids": {"pids.max": "max\n", "pids.current": "0\n", "pids.events": "max 0\n"},
}
_WRITABLE: Final = frozenset(
    {"cgroup.procs", "cgroup.subtree_control", "cgroup.kill", "cpu.max", "cpu.weight", "cpuset.cpus", "io.max"}
    | {"memory.max", "memory.oom.group", "memory.swap.max", "pids.max"}
)


class FakeTree(Files):
    """
    A cgroup2 tree, with the files of procfs and sysfs that tell of it.

    Args:
        folder: An empty folder; the tree is `folder/cgroup`.
        controllers: That the kernel has.
        container: The tree is a container's own: its root is no real root.
        without: Files that this kernel does not have.
        cores: That this machine has, in the kernel's list format.
    """

    def __init__(
        self,
        folder: Path,
        *,
        controllers: Iterable[str] = CONTROLLERS,
        container: bool = False,
        without: Iterable[str] = (),
        cores: str = "0-3",
    ) -> None:
        self.root = folder / "cgroup"
        self.host = Host(folder / "proc", folder / "sys", self.root, lambda _folder: self.device)
        self.device = "8:0"
        self.read_only = False
        self.writes: list[tuple[str, str]] = []
        self.calls = 0
        self.fired = False
        self._container = container
        self._without = frozenset(without)
        self._cores = cores
        self._refused: tuple[int, int] | None = None
        (self.host.proc / "self").mkdir(parents=True)
        (self.host.sysfs / "dev" / "block" / self.device).mkdir(parents=True)
        self.mounted(
            f"31 23 0:28 / {self.root} rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
        )
        self.lives_in("/")
        self.root.mkdir()
        self._fill(self.root, controllers)

    # What a test sets up

    def mounted(self, *mountinfo: str) -> None:
        """/proc/self/mountinfo has these lines."""
        (self.host.proc / "self" / "mountinfo").write_text("\n".join(mountinfo) + "\n")

    def lives_in(self, group: str) -> None:
        """/proc/self/cgroup says that we are in this group."""
        (self.host.proc / "self" / "cgroup").write_text(f"0::{group}\n")

    def swaps(self, *lines: str) -> None:
        """/proc/swaps has these lines under its heading."""
        heading = "Filename\tType\tSize\tUsed\tPriority"
        (self.host.proc / "swaps").write_text("\n".join((heading, *lines)) + "\n")

    def group(self, name: str, *, hands_down: Iterable[str] = ()) -> Path:
        """A group that somebody else (systemd) has made, with the groups above it; records nothing."""
        path = self.root
        for part in name.split("/"):
            path /= part
            if not path.exists():
                self._make(path)
        for controller in hands_down:
            above = [self.root, *reversed([p for p in path.parents if p != self.root and p.is_relative_to(self.root)])]
            for folder in (*above, path):
                self._hand_down(folder, [f"+{controller}"])
        return path

    def settle(self, group: str, *pids: int) -> None:
        """These processes are in a group now."""
        for pid in pids:
            for path in self._all_groups():
                self._set_pids(path, [member for member in self._pids(path) if member != pid])
            path = self.root / group
            self._set_pids(path, [*self._pids(path), pid])

    def vanish(self, group: str) -> None:
        """Somebody else (systemd) has removed a group, and all below it."""
        shutil.rmtree(self.root / group)

    def report(self, group: str, name: str, text: str) -> None:
        """The kernel says this in a group's file from now on."""
        (self.root / group / name).write_text(text + "\n")

    def refuse(self, nth: int, number: int) -> None:
        """The nth call from now (reads count too) fails with this errno, once; 1 is the next."""
        self.fired = False
        self._refused = (self.calls + nth, number)

    # What a test looks at

    def groups_below(self, group: str = "") -> list[str]:
        """Every group below one, by its path from the root."""
        return sorted(str(path.relative_to(self.root)) for path in (self.root / group).rglob("*") if path.is_dir())

    def value(self, group: str, name: str) -> str:
        """What a file says, without its newline."""
        return (self.root / group / name).read_text().strip()

    def pids(self, group: str) -> list[int]:
        """The processes in a group."""
        return self._pids(self.root / group)

    # The kernel

    def read(self, path: Path) -> str:
        """What was written last, or reported."""
        self._step()
        return super().read(path)

    def write(self, path: Path, value: str) -> None:
        """As the kernel would take it."""
        self._change()
        if not path.exists():
            raise _error(errno.ENOENT)
        if path.name not in _WRITABLE:
            raise _error(errno.EACCES)
        self.writes.append((str(path.relative_to(self.root)), value))
        match path.name:
            case "cgroup.subtree_control":
                self._hand_down(path.parent, value.split())
            case "cgroup.procs":
                self._move(path.parent, int(value))
            case "cgroup.kill":
                for group in (path.parent, *(p for p in path.parent.rglob("*") if p.is_dir())):
                    self._set_pids(group, [])
            case "cpuset.cpus":
                path.write_text(f"{value}\n")
                self._bind(path.parent)
            case "io.max":
                self._limit_io(path, value)
            case "cpu.max":
                quota, _, _period = value.partition(" ")
                if quota != "max" and int(quota) < 1000:
                    raise _error(errno.EINVAL)
                path.write_text(f"{value}\n")
            case _:
                path.write_text(f"{value}\n")

    def make(self, path: Path) -> None:
        """mkdir: its files appear with it."""
        self._change()
        self._make(path)

    def remove(self, path: Path) -> None:
        """rmdir: its files go with it."""
        self._change()
        if not path.is_dir():
            raise _error(errno.ENOENT)
        if self._pids(path) or _folders(path):
            raise _error(errno.EBUSY)
        for file in path.iterdir():
            file.unlink()
        path.rmdir()

    def groups(self, path: Path) -> list[str]:
        """The folders below."""
        self._step()
        return super().groups(path)

    def open(self, path: Path) -> int:
        """A real descriptor."""
        self._step()
        return super().open(path)

    def writable(self, path: Path) -> bool:
        """Unless it is mounted read-only."""
        return path.exists() and not self.read_only

    def _step(self) -> None:
        self.calls += 1
        if self._refused is not None and self.calls == self._refused[0]:
            self.fired = True
            raise _error(self._refused[1])

    def _change(self) -> None:
        self._step()
        if self.read_only:
            raise _error(errno.EROFS)

    def _make(self, path: Path) -> None:
        path.mkdir()
        above = path.parent / "cgroup.subtree_control"
        if not above.exists():
            path.rmdir()
            raise _error(errno.ENOENT)
        self._fill(path, above.read_text().split())

    def _fill(self, path: Path, controllers: Iterable[str]) -> None:
        self._add(path, _CORE)
        if path != self.root or self._container:
            self._add(path, _NOT_IN_ROOT)
        self._grant(path, [name for name in CONTROLLERS if name in controllers])

    def _grant(self, path: Path, controllers: Sequence[str]) -> None:
        (path / "cgroup.controllers").write_text(" ".join(controllers) + "\n")
        if path == self.root:
            (path / "cpuset.cpus.effective").write_text(f"{self._cores}\n")
            return
        for name, files in _OF_CONTROLLER.items():
            if name in controllers:
                self._add(path, files)
            else:
                for file in files:
                    (path / file).unlink(missing_ok=True)
        if "cpuset" in controllers:
            self._bind(path)

    def _add(self, path: Path, files: dict[str, str]) -> None:
        for name, text in files.items():
            if name not in self._without and not (path / name).exists():
                (path / name).write_text(text)

    def _hand_down(self, path: Path, changes: list[str]) -> None:
        available = (path / "cgroup.controllers").read_text().split()
        if any(change[0] == "+" and change[1:] not in available for change in changes):
            raise _error(errno.ENOENT)
        if self._pids(path) and (path != self.root or self._container):
            raise _error(errno.EBUSY)
        enabled = set((path / "cgroup.subtree_control").read_text().split())
        for change in changes:
            enabled = enabled | {change[1:]} if change[0] == "+" else enabled - {change[1:]}
        ordered = [name for name in CONTROLLERS if name in enabled]
        (path / "cgroup.subtree_control").write_text(" ".join(ordered) + "\n")
        for child in _folders(path):
            self._grant(child, ordered)

    def _move(self, path: Path, pid: int) -> None:
        if not any(pid in self._pids(group) for group in self._all_groups()):
            raise _error(errno.ESRCH)
        if (path / "cgroup.subtree_control").read_text().split() and path != self.root:
            raise _error(errno.EBUSY)
        self.settle(str(path.relative_to(self.root)), pid)

    def _bind(self, path: Path) -> None:
        above = path.parent
        while not (above / "cpuset.cpus.effective").exists():
            above = above.parent
        granted = _cores(above / "cpuset.cpus.effective")
        wanted = _cores(path / "cpuset.cpus")
        cores = (wanted & granted) or granted
        (path / "cpuset.cpus.effective").write_text(",".join(str(core) for core in sorted(cores)) + "\n")

    def _limit_io(self, path: Path, value: str) -> None:
        device, *pairs = value.split()
        if (self.host.sysfs / "dev" / "block" / device / "partition").exists():
            raise _error(errno.ENODEV)
        limits = {"rbps": "max", "wbps": "max", "riops": "max", "wiops": "max"}
        limits |= dict(pair.split("=") for pair in pairs)
        if {"0", "1"} & set(limits.values()):
            raise _error(errno.EINVAL)
        path.write_text(f"{device} {' '.join(f'{key}={limit}' for key, limit in limits.items())}\n")

    def _all_groups(self) -> list[Path]:
        return [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]

    def _pids(self, path: Path) -> list[int]:
        return [int(word) for word in (path / "cgroup.procs").read_text().split()]

    def _set_pids(self, path: Path, pids: list[int]) -> None:
        (path / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def cgroups_on(
    tree: FakeTree,
    *,
    mode: str = "required",
    slice_name: str = "joblet.slice",
    state_folder: Path | None = None,
    pids_max: int = 4096,
) -> Cgroups:
    """
    A supervisor's groups on this tree.

    Raises:
        CgroupsUnavailable: With "required", when this tree is not fit for it.
        AssertionError: With "auto" and "off", when there are none.
    """
    opened = open_slice(
        tree.root / slice_name, mode, state_folder=state_folder, pids_max=pids_max, host=tree.host, files=tree
    )
    assert isinstance(opened, Cgroups), opened
    return opened


def _folders(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if entry.is_dir()]


def _cores(path: Path) -> frozenset[int]:
    text = path.read_text().strip()
    return parse_cores(text) if text else frozenset()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
