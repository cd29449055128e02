"""
The only door to the cgroup tree: files are read and written here and nowhere else.

`Files` is the kernel's side: thin system calls that raise OSError, replaced in tests by a fake tree that can refuse
any of them. `Folder` is ours: one group's folder, whose refusals say what was tried on which file with which value.

Runs in: supervisor, `joblet doctor`. May not: know what a file means (its controller's module does).
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Basic Operations", "Format".
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READ_BYTES: Final = 64 * 1024

# A tree mounted read-only (a container's) refuses for the same reason as one that is not ours.
DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class CgroupError(Exception):
    """
    A group could not be made, limited or reached.

    Args:
        words: For the user, after "cgroup setup failed: "; for every denial exactly "permission denied".
        detail: For the log: what was tried, on which file, with which value, and the kernel's words.
        remedy: The command or setting that mends it; empty when there is none to name.
        number: The kernel's errno; 0 when it was not the kernel that refused.
    """

    def __init__(self, words: str, *, detail: str = "", remedy: str = "", number: int = 0) -> None:
        super().__init__(words)
        self.words = words
        self.detail = detail or words
        self.remedy = remedy
        self.number = number

    @property
    def explanation(self) -> str:
        """All of it in one line, for a log."""
        return f"{self.detail}: {self.remedy}" if self.remedy else self.detail


class Files:
    """The kernel's tree. Every call may raise OSError, and then nothing has changed."""

    def read(self, path: Path) -> str:
        """The whole file."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(fd, _READ_BYTES):
                parts.append(part)
        finally:
            os.close(fd)
        return b"".join(parts).decode(errors="replace")

    def write(self, path: Path, value: str) -> None:
        """Replace the value by one write(2): the kernel takes each as a whole. Never creates a file."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def make(self, path: Path) -> None:
        """A new group."""
        os.mkdir(path)

    def remove(self, path: Path) -> None:
        """Remove a group; EBUSY while it holds a process or a group."""
        os.rmdir(path)

    def groups(self, path: Path) -> list[str]:
        """Names of the groups directly below."""
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def open(self, path: Path) -> int:
        """A descriptor of the group's folder, close-on-exec, for the caller to close."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def exists(self, path: Path) -> bool:
        """Whether there is such a file or group."""
        return os.path.exists(path)

    def writable(self, path: Path) -> bool:
        """Whether we may write it, as far as modes and mount tell."""
        return os.access(path, os.W_OK)


KERNEL: Final = Files()


@contextmanager
def _explained(tried: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error, tried, path) from None


def refusal(error: OSError, tried: str, path: Path) -> CgroupError:
    """The kernel's refusal in our words. `tried` names the file, the detail its whole path."""
    kernel_words = (error.strerror or str(error)).lower()
    denied = error.errno in DENIED
    return CgroupError(
        "permission denied" if denied else f"cannot {tried}: {kernel_words}",
        detail=f"cannot {tried} (in {path}): {kernel_words}",
        number=error.errno or 0,
    )


@dataclass(frozen=True, slots=True)
class Folder:
    """
    One group's folder. Calls raise CgroupError, and then nothing has changed, unless they say otherwise.

    Args:
        files: The door it goes through.
        path: Absolute.
    """

    files: Files
    path: Path

    def child(self, name: str) -> "Folder":
        """A group below, which need not exist."""
        return Folder(self.files, self.path / name)

    def children(self) -> "list[Folder]":
        """The groups directly below."""
        with _explained("list the groups", self.path):
            return [self.child(name) for name in self.files.groups(self.path)]

    def exists(self, name: str = "") -> bool:
        """Whether the group, or a file of it, is there."""
        return self.files.exists(self.path / name)

    def make(self) -> None:
        """Make the group."""
        with _explained(f"create {self.path.name}", self.path.parent):
            self.files.make(self.path)

    def remove(self) -> None:
        """Remove the group; number is EBUSY while it holds a process or a group."""
        with _explained(f"remove {self.path.name}", self.path.parent):
            self.files.remove(self.path)

    def open(self) -> int:
        """A descriptor for CLONE_INTO_CGROUP, for the caller to close."""
        with _explained("open the group", self.path):
            return self.files.open(self.path)

    def write(self, name: str, value: str) -> None:
        """Write a value."""
        with _explained(f"write {value!r} to {name}", self.path):
            self.files.write(self.path / name, value)

    def read(self, name: str) -> str:
        """The text of a file."""
        with _explained(f"read {name}", self.path):
            return self.files.read(self.path / name)

    def text(self, name: str) -> str:
        """The text of a file; empty when it cannot be read: what is not accounted is not an error."""
        try:
            return self.read(name)
        except CgroupError:
            return ""

    def words(self, name: str) -> frozenset[str]:
        """A file of words, such as cgroup.controllers."""
        return frozenset(self.read(name).split())

    def counters(self, name: str) -> Mapping[str, int]:
        """A flat keyed file, such as cpu.stat; empty when it cannot be read."""
        return dict(flat_keyed(self.text(name)))

    def pids(self) -> list[int]:
        """Its processes; none when it is gone. A process of another PID namespace reads as 0 and is left out."""
        return [pid for word in self.text("cgroup.procs").split() if word.isdigit() and (pid := int(word))]


def flat_keyed(text: str) -> Iterator[tuple[str, int]]:
    """The pairs of "KEY VALUE" lines; a line of another form is skipped (later kernels may add some)."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.isdigit():
            yield key, int(value)
