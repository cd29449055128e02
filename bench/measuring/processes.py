"""
What the kernel tells about running processes: their children, and the memory they use, at a moment or over time.

PSS shares a page among those who map it, so nothing is counted twice. What lies in a memfd that nobody maps is in no
process' PSS; the machine's Shmem has it.

Runs in: the contributor's terminal, as root.
Source: proc_pid_smaps_rollup(5), proc_pid_task(5), proc_meminfo(5).
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

MB = 1e6


def pss_mb(pid: int) -> float:
    """Of one process, in MB (10⁶ bytes)."""
    return _field_mb(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def shared_memory_mb() -> float:
    """Of the whole machine: every memfd, tmpfs and shared mapping, in MB."""
    return _field_mb(Path("/proc/meminfo"), "Shmem")


def children(pid: int) -> set[int]:
    """Of any of its threads."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(word) for word in (task / "children").read_text().split()}
    return found


def _field_mb(path: Path, wanted: str) -> float:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == wanted:
            return int(value.split()[0]) * 1024 / MB
    raise AssertionError(f"{path} has no {wanted}")


class Watched:
    """
    A value over time, in a thread: `with Watched(lambda: pss_mb(pid)) as memory: …`, then `memory.peak`.

    Args:
        look: Gives the value now.
        interval_s: Between two looks.

    Attributes:
        points: (seconds since the beginning, value), of which the first is from before the block.
    """

    def __init__(self, look: Callable[[], float], interval_s: float = 0.1) -> None:
        self._look = look
        self._interval_s = interval_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._began_s = time.monotonic()
        self.points: list[tuple[float, float]] = []

    @property
    def before(self) -> float:
        """The value before the block."""
        return self.points[0][1]

    @property
    def peak(self) -> float:
        """The highest value seen."""
        return max(value for _, value in self.points)

    def __enter__(self) -> Self:
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._interval_s):
            self._note()

    def _note(self) -> None:
        self.points.append((time.monotonic() - self._began_s, self._look()))
