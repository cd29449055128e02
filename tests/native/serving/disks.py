"""
Disks that fill up or stop answering, under the logs of a server that is about to start.

Runs in: tests, as root. May not: leave a mount, a loop device or a frozen file system behind.
"""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path


def _run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """
    A file system of a certain size in a folder.

    Yields:
        What gives it another size.
    """
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder)
    try:
        yield lambda larger: _run("mount", "-o", f"remount,size={larger}", folder)
    finally:
        _run("umount", "--lazy", folder)


class Freezable:
    """A mounted file system whose writes can be held up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frozen = False

    def freeze(self) -> None:
        """From now on nothing is written."""
        _run("fsfreeze", "--freeze", self._folder)
        self._frozen = True

    def thaw(self) -> None:
        """It goes on. Harmless when it is not frozen."""
        if self._frozen:
            self._frozen = False
            _run("fsfreeze", "--unfreeze", self._folder)


@contextlib.contextmanager
def freezable_disk(folder: Path, image: Path, size_bytes: int) -> Iterator[Freezable]:
    """ext4 on a loop device, in a folder."""
    with image.open("wb") as file:
        file.truncate(size_bytes)
    _run("mkfs.ext4", "-q", image)
    folder.mkdir(parents=True)
    _run("mount", "-o", "loop", image, folder)
    disk = Freezable(folder)
    try:
        yield disk
    finally:
        disk.thaw()
        _run("umount", folder)
