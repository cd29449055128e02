"""
The io controller: how fast a job reads and writes the disk that its files are on.

Runs in: supervisor. May not: touch another controller's files.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joblet.domain.limits import Limits
from joblet.supervisor.linux.cgroups.device import whole_disks_below
from joblet.supervisor.linux.cgroups.file import Folder


@dataclass(frozen=True, slots=True)
class IoStatistics:
    """
    Bytes that reached disks.

    Args:
        read_bytes: Read from any disk; what came from the page cache does not count.
        write_bytes: Written to any disk, also by the kernel's write-back on the job's behalf.
    """

    read_bytes: int = 0
    write_bytes: int = 0


# The kernel answers EINVAL for 1 (block/blk-throttle.c, tg_set_limit).
_LEAST_BYTES_PER_S: Final = 2


def write_limits(folder: Folder, limits: Limits, device: str) -> None:
    """
    io.max of one device: so many bytes a second to read, and as many to write; 0 is no limit.

    Args:
        device: "MAJOR:MINOR" of a whole disk; the kernel answers ENODEV for a partition.

    Raises:
        CgroupError: The kernel refused; "no such file" is one built without CONFIG_BLK_DEV_THROTTLING.
    """
    if limits.io_max_bytes_per_s:
        rate = max(limits.io_max_bytes_per_s, _LEAST_BYTES_PER_S)
        folder.write("io.max", f"{device} rbps={rate} wbps={rate}")


def lift_limits(folder: Folder) -> None:
    """
    No limit of any device, from now on; also for what is held back already.

    Raises:
        CgroupError: The kernel refused.
    """
    for line in folder.text("io.max").splitlines():
        device, *_ = line.split()
        folder.write("io.max", f"{device} rbps=max wbps=max")


def read_statistics(folder: Folder, sysfs: Path) -> IoStatistics:
    """
    io.stat, over all devices; zeros where it is not accounted.

    A byte on a stacked device (device-mapper, RAID) is counted there and again on the disk below it. Only the
    lower count is taken, where there is one.
    """
    devices = {}
    for line in folder.text("io.stat").splitlines():
        device, *pairs = line.split()
        devices[device] = {
            key: int(value) for key, _, value in (pair.partition("=") for pair in pairs) if value.isdigit()
        }
    counted = [counts for device, counts in devices.items() if not devices.keys() & whole_disks_below(device, sysfs)]
    return IoStatistics(
        read_bytes=sum(counts.get("rbytes", 0) for counts in counted),
        write_bytes=sum(counts.get("wbytes", 0) for counts in counted),
    )
