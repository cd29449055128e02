"""
Which disk a folder is on, as io.max wants to hear it: MAJOR:MINOR of the whole disk, never of a partition.

Runs in: supervisor, `joblet doctor`. May not: open a device.
Source: Linux block/blk-cgroup.c (a partition is refused with ENODEV); Documentation/ABI/stable/sysfs-block.
"""

import os
from pathlib import Path

from joblet.supervisor.linux.cgroups.file import CgroupError


def device_of(folder: Path) -> str:
    """
    MAJOR:MINOR of what a folder is stored on, a partition perhaps. Major 0 is no block device at all.

    Raises:
        CgroupError: There is no such folder, or we may not look at it.
    """
    try:
        number = os.stat(folder).st_dev
    except OSError as error:
        raise CgroupError(f"cannot limit I/O: {folder}: {(error.strerror or '').lower()}") from None
    return f"{os.major(number)}:{os.minor(number)}"


def whole_disk(device: str, folder: Path, sysfs: Path) -> str:
    """
    The disk that a partition is on; any other block device (a disk, device-mapper, RAID, a loop) is its own.

    Args:
        device: MAJOR:MINOR, from `device_of`.
        folder: For the words only.
        sysfs: Where sysfs is mounted.

    Raises:
        CgroupError: The folder is on no block device (overlay, btrfs, tmpfs and network file systems have device
            numbers of their own making), or sysfs does not know it.
    """
    if device.startswith("0:"):
        raise CgroupError(
            f"cannot limit I/O: {folder} is on a file system without a block device of its own"
            " (such as overlay, btrfs, tmpfs or NFS)",
            remedy="move the state folder to ext4 or XFS, or leave maxIOBPS at 0 (unlimited)",
        )
    entry = sysfs / "dev" / "block" / device
    if not entry.exists():
        raise CgroupError(
            f"cannot limit I/O: block device {device} of {folder} is not in {entry.parent}",
            remedy=f"mount sysfs on {sysfs}, or leave maxIOBPS at 0 (unlimited)",
        )
    if not (entry / "partition").exists():
        return device
    # /sys/dev/block/8:1 is a link to …/block/sda/sda1: the folder above a partition is its disk.
    number = entry.resolve().parent / "dev"
    try:
        return number.read_text().strip()
    except OSError as error:
        raise CgroupError(f"cannot limit I/O: cannot read {number}: {(error.strerror or '').lower()}") from None


def whole_disks_below(device: str, sysfs: Path) -> frozenset[str]:
    """The disks directly below a stacked device, as MAJOR:MINOR; none for one that is not stacked or not known."""
    found = set()
    try:
        for slave in (sysfs / "dev" / "block" / device / "slaves").iterdir():
            disk = slave.resolve()
            found.add(((disk.parent if (disk / "partition").exists() else disk) / "dev").read_text().strip())
    except OSError:
        pass
    return frozenset(found)
