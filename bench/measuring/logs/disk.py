"""
The state of the machine that each run begins with: the same for all, or they measure their place in the order.

On a virtual machine, memory and blocks of a file that were not in use for seconds must first be got back from the host,
which takes longer than the writing itself: a job's 64 KiB blocks went into the same file at 0.4 or at 4 GB/s. So each
run takes over what files of the same size had: those of the run before, or of one that nobody measures.

Runs in: the contributor's terminal.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

_PIECE: Final = bytes(1024 * 1024)


def at_rest(folder: Path, size_bytes: int) -> None:
    """The disk has nothing to do, and memory and blocks for so many bytes beside this folder are at hand."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with (Path(scratch) / "scratch").open("wb", buffering=0) as file:
            for _ in range(-(-size_bytes // len(_PIECE))):
                file.write(_PIECE)
        take_over(Path(scratch))


def take_over(folder: Path) -> None:
    """The disk has nothing to do, and what the files of this folder had is at hand; they are removed."""
    os.sync()
    for path in folder.iterdir():
        path.unlink()
    os.sync()
