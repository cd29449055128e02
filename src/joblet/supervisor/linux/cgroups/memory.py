"""
The memory controller: how much memory a job gets, and whether it ran out of it.

Runs in: supervisor. May not: touch another controller's files.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files".
"""

import errno
from dataclasses import dataclass

from joblet.domain.limits import Limits
from joblet.supervisor.linux.cgroups.file import CgroupError, Folder


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """
    Memory used and refused.

    Args:
        peak_bytes: The most at any moment; 0 before Linux 5.19.
        limit_hits: Times its use would have gone over the limit, and the kernel took pages back.
        ooms: Times that was not enough.
        oom_kills: Processes killed for it, whether or not the command itself was among them.
    """

    peak_bytes: int = 0
    limit_hits: int = 0
    ooms: int = 0
    oom_kills: int = 0


def write_limits(folder: Folder, limits: Limits) -> None:
    """
    memory.max, with no swap on top; 0 bytes is no limit (and swap is then the machine's affair).

    memory.oom.group stays 0, for its init must survive to tell the end: it kills one process, the largest, and the
    job goes on or fails as its command decides. memory.events tells of it either way.

    Raises:
        CgroupError: The kernel refused.
    """
    if not limits.memory_max_bytes:
        return
    folder.write("memory.max", str(limits.memory_max_bytes))
    folder.write("memory.oom.group", "0")
    try:
        folder.write("memory.swap.max", "0")
    except CgroupError as error:
        # No such file: the kernel knows no swap, or does not account it. `tree.py` refuses the second case at start.
        if error.number != errno.ENOENT:
            raise


def read_statistics(folder: Folder) -> MemoryStatistics:
    """memory.events (of the group and everything below) and memory.peak; zeros where they are not accounted."""
    events = folder.counters("memory.events")
    peak = folder.text("memory.peak").strip()
    return MemoryStatistics(
        peak_bytes=int(peak) if peak.isdigit() else 0,
        limit_hits=events.get("max", 0),
        ooms=events.get("oom", 0),
        oom_kills=events.get("oom_kill", 0),
    )
