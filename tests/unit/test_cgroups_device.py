"""Which disk a folder is on, as io.max wants to hear it."""

import os
from pathlib import Path

import pytest

from joblet.supervisor.linux.cgroups.device import device_of, whole_disk, whole_disks_below
from joblet.supervisor.linux.cgroups.file import CgroupError

FOLDER = Path("/var/lib/joblet/work")


def a_sysfs(root: Path) -> Path:
    """sda with the partition sda1, and a logical volume on it, linked as the kernel does."""
    disk = root / "devices" / "pci0000:00" / "block" / "sda"
    part = disk / "sda1"
    volume = root / "devices" / "virtual" / "block" / "dm-0"
    (volume / "slaves").mkdir(parents=True)
    part.mkdir(parents=True)
    (disk / "dev").write_text("8:0\n")
    (part / "dev").write_text("8:1\n")
    (part / "partition").write_text("1\n")
    (volume / "dev").write_text("253:0\n")
    (volume / "slaves" / "sda1").symlink_to(part)
    (root / "dev" / "block").mkdir(parents=True)
    for number, folder in (("8:0", disk), ("8:1", part), ("253:0", volume)):
        (root / "dev" / "block" / number).symlink_to(folder)
    return root


def test_a_partition_is_limited_on_its_disk(tmp_path: Path) -> None:
    """The kernel refuses a partition in io.max with ENODEV."""
    assert whole_disk("8:1", FOLDER, a_sysfs(tmp_path)) == "8:0"


@pytest.mark.parametrize("device", ["8:0", "253:0"])
def test_a_disk_and_a_logical_volume_are_limited_themselves(tmp_path: Path, device: str) -> None:
    assert whole_disk(device, FOLDER, a_sysfs(tmp_path)) == device


def test_a_file_system_without_a_device_cannot_be_limited_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(CgroupError) as caught:
        whole_disk("0:45", FOLDER, a_sysfs(tmp_path))

    assert str(caught.value) == (
        "cannot limit I/O: /var/lib/joblet/work is on a file system without a block device of its own"
        " (such as overlay, btrfs, tmpfs or NFS)"
    )
    assert caught.value.remedy == "move the state folder to ext4 or XFS, or leave maxIOBPS at 0 (unlimited)"


def test_a_device_that_sysfs_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"^cannot limit I/O: block device 9:9 of /var/lib/joblet/work is not in "):
        whole_disk("9:9", FOLDER, a_sysfs(tmp_path))


def test_a_partition_whose_disk_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    sysfs = a_sysfs(tmp_path)
    (sysfs / "devices" / "pci0000:00" / "block" / "sda" / "dev").unlink()

    with pytest.raises(CgroupError, match=r"^cannot limit I/O: cannot read .*/sda/dev: no such file or directory$"):
        whole_disk("8:1", FOLDER, sysfs)


def test_the_device_of_a_folder_is_the_kernels_number(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev

    assert device_of(tmp_path) == f"{os.major(number)}:{os.minor(number)}"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"^cannot limit I/O: .*/gone: no such file or directory$"):
        device_of(tmp_path / "gone")


def test_below_a_logical_volume_is_the_disk_of_its_partition(tmp_path: Path) -> None:
    sysfs = a_sysfs(tmp_path)

    assert whole_disks_below("253:0", sysfs) == {"8:0"}
    assert whole_disks_below("8:0", sysfs) == frozenset()
