"""
What a server has on this machine, counted, to be compared before and after.

Runs in: tests, as root.
"""

import asyncio
import contextlib
import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from real_server import RealServer

UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_IN_DELETE: Final = 0x200  # <sys/inotify.h>
_IN_CLOEXEC: Final = 0o2000000
_IN_NONBLOCK: Final = 0o4000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Belongings:
    """
    Args:
        processes: Of the server and below it, zombies too, and all others that show its state folder.
        mounts: Lines of mountinfo, of this process, the supervisor and the zygote.
        cgroups: Folders that are named like a job.
        descriptors: Of each process that lives as long as the server; log files kept open for readers apart.
        files: Everything in the server's temporary folder and, but for the logs, in its state folder.
    """

    processes: frozenset[int]
    mounts: tuple[int, int, int]
    cgroups: frozenset[str]
    descriptors: dict[str, int]
    files: frozenset[str]


def belongings(server: RealServer) -> Belongings:
    """
    What there is now.

    To be called while no job runs: the zygote is the supervisor's only child then.
    """
    supervisor = server.supervisor_pid
    (zygote,) = children(supervisor)
    pids = {"server": server.pid, "supervisor": supervisor, "zygote": zygote}
    state = server.state
    folders = (server.temporary, state.run, state.work, state.root)
    return Belongings(
        processes=frozenset(below(server.pid)) | frozenset(showing(str(state.root))),
        mounts=(_mounts("self"), _mounts(str(supervisor)), _mounts(str(zygote))),
        cgroups=frozenset(str(path) for path in Path("/sys/fs/cgroup").rglob("*") if UUID.search(path.name)),
        descriptors={name: len(descriptors(pid)) for name, pid in pids.items()},
        files=frozenset(str(path) for folder in folders for path in folder.iterdir()),
    )


def descriptors(pid: int) -> list[str]:
    """What a process has open, without the jobs' logs that a server keeps open for their next reader."""
    return [path for path in _open_files(pid) if not path.endswith(".log")]


def open_logs(server: RealServer) -> int:
    """Jobs' logs that the server keeps open."""
    return sum(path.startswith(str(server.state.logs)) for path in _open_files(server.pid))


def _open_files(pid: int) -> list[str]:
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]


def children(pid: int) -> list[int]:
    """Of all its threads; zombies too."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def below(pid: int) -> list[int]:
    """It, its children, and theirs."""
    return [pid, *(found for child in children(pid) for found in below(child))]


def zombies(pids: list[int]) -> list[int]:
    """Those that have ended and that nobody has waited for."""
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"]


def showing(text: str) -> list[int]:
    """Processes with this text among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().replace(b"\0", b" ")
        except OSError:
            continue
        if text.encode() in arguments:
            found.append(int(path.parent.name))
    return found


def _mounts(pid: str) -> int:
    return len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines())


async def emptied(folder: Path) -> None:
    """
    Wait until nothing is in a folder.

    A job's status file goes when its end is stored, which is after the end is told.

    Source: inotify(7).
    """
    fd: int = _libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC)
    assert fd >= 0
    deleted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, deleted.set)
    try:
        assert _libc.inotify_add_watch(fd, os.fsencode(folder), _IN_DELETE) >= 0
        while any(folder.iterdir()):
            await deleted.wait()
            deleted.clear()
            with contextlib.suppress(BlockingIOError):  # told twice of what one read has taken
                os.read(fd, 1 << 16)
    finally:
        loop.remove_reader(fd)
        os.close(fd)
