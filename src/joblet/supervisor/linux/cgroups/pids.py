"""
The pids controller: how many processes and threads a job may have.

Runs in: supervisor. May not: touch another controller's files.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "PID Interface Files".
"""

from dataclasses import dataclass
from typing import Final

from joblet.supervisor.linux.cgroups.file import Folder

PIDS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class PidsStatistics:
    """
    Tasks refused.

    Args:
        limit_hits: Times a fork or a new thread was refused for the limit.
    """

    limit_hits: int = 0


def write_limits(folder: Folder, pids_max: int) -> None:
    """
    pids.max, its init included; a fork above it fails with EAGAIN inside the job.

    Raises:
        CgroupError: The kernel refused.
    """
    folder.write("pids.max", str(pids_max))


def read_statistics(folder: Folder) -> PidsStatistics:
    """pids.events; zero where it is not accounted."""
    return PidsStatistics(folder.counters("pids.events").get("max", 0))
