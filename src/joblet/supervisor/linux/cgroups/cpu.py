"""
The cpu controller: how much CPU time a job gets.

Runs in: supervisor. May not: touch another controller's files.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "CPU Interface Files".
"""

from dataclasses import dataclass
from typing import Final

from joblet.domain.limits import Limits
from joblet.supervisor.linux.cgroups.file import Folder

# The kernel's own default. A longer period lets a throttled job stand still for longer, a shorter one costs more.
PERIOD_USEC: Final = 100_000


@dataclass(frozen=True, slots=True)
class CpuStatistics:
    """
    CPU time used and withheld.

    Args:
        usage_usec: Of all processes, user and system, also of those that have ended.
        throttled_usec: Time its processes waited for the next period.
    """

    usage_usec: int = 0
    throttled_usec: int = 0


def write_limits(folder: Folder, limits: Limits) -> None:
    """
    cpu.max, in microseconds of CPU time per period: 100% is one core; 0% is no limit.

    Raises:
        CgroupError: The kernel refused.
    """
    quota_usec = limits.cpu_max_percent * PERIOD_USEC // 100
    folder.write("cpu.max", f"{quota_usec or 'max'} {PERIOD_USEC}")


def lift_limit(folder: Folder) -> None:
    """
    As much CPU time as there is, from now on.

    Raises:
        CgroupError: The kernel refused.
    """
    folder.write("cpu.max", f"max {PERIOD_USEC}")


def read_statistics(folder: Folder) -> CpuStatistics:
    """cpu.stat; zeros where it is not accounted."""
    found = folder.counters("cpu.stat")
    return CpuStatistics(found.get("usage_usec", 0), found.get("throttled_usec", 0))
