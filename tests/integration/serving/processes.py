"""
A job's processes as the machine sees them, and what belongs to Joblet on it at all.

Runs in: pytest in the test machine, as root.
"""

import os
import select
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from installed import JOBS, STATE


def members(job_id: str) -> list[int]:
    """Every process of a job, its init included."""
    return [int(pid) for pid in (JOBS / job_id / "cgroup.procs").read_text().split()]


def init_of(job_id: str) -> int:
    """The job's own process 1."""
    (init,) = [pid for pid in members(job_id) if _pid_inside(pid) == 1]
    return init


def command_of(job_id: str) -> int:
    """The first child of its init."""
    init = init_of(job_id)
    return int(Path(f"/proc/{init}/task/{init}/children").read_text().split()[0])


def _pid_inside(pid: int) -> int:
    (pids,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")]
    return int(pids.split()[-1])


class Watched:
    """
    Processes that are looked at again later; their numbers may be others' by then, a pidfd stands for one for ever.

        with Watched(members(job)) as watched:
            ...
            assert watched.alive() == []
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = list(pids)
        self._pidfds: dict[int, int] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        for pid in self._pids:
            self._pidfds[pid] = os.pidfd_open(pid)
            self._undo.callback(os.close, self._pidfds[pid])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()

    def alive(self) -> list[int]:
        """Those that have not ended."""
        poll = select.poll()
        for pidfd in self._pidfds.values():
            poll.register(pidfd, select.POLLIN)
        ended = {pidfd for pidfd, _ in poll.poll(0)}
        return [pid for pid, pidfd in self._pidfds.items() if pidfd not in ended]

    def until_ended_or(self, span_s: float) -> None:
        """Wait until one of them ends, or for so long."""
        select.select(self._pidfds.values(), [], [], span_s)


def of_joblet() -> list[str]:
    """Command lines of every process that belongs to the installed Joblet: each shows its state folder."""
    lines = (_text(path / "cmdline").replace("\0", " ").strip() for path in _processes())
    return [line for line in lines if str(STATE) in line]


def mounts_of(pid: int | str = "self") -> list[str]:
    """Where something of Joblet's state folder is mounted, as a process sees it."""
    return [line.split()[4] for line in _text(Path(f"/proc/{pid}/mountinfo")).splitlines() if str(STATE) in line]


def mounts_anywhere() -> dict[str, list[str]]:
    """The same for every process of the machine that sees any."""
    found = {path.name: mounts_of(path.name) for path in _processes()}
    return {pid: mounts for pid, mounts in found.items() if mounts}


def _processes() -> list[Path]:
    return [path for path in Path("/proc").iterdir() if path.name.isdigit()]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return ""
