"""
Mounts, by the old calls where one does the work of three new ones, by the new where the old cannot.

Runs in: supervisor (the tree), zygote, the child (init). May not: import anything but os and ctypes.
Source: mount(2), umount2(2), pivot_root(2), mount_setattr(2); <sys/mount.h>, <linux/mount.h> for the constants.
"""

import ctypes
import os

from joblet.supervisor.linux.syscall import SYS_MOUNT_SETATTR, SYS_PIVOT_ROOT, kernel_error, libc, syscall

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4

_mount = libc.mount
_umount2 = libc.umount2


def mount(source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    """
    Mount, bind, remount or change propagation, by `flags`.

    Raises:
        OSError: Nothing was mounted; names source and target.

    Source: mount(2).
    """
    if _mount(source, target, kind, flags, data):
        raise kernel_error(f"mount({(source or kind or b'-').decode()}, {target.decode()}, flags={flags:#x})")


def umount(target: bytes) -> None:
    """
    Detach a mount from the tree now; it ends when nobody uses it.

    Source: umount2(2), MNT_DETACH.
    """
    if _umount2(target, MNT_DETACH):
        raise kernel_error(f"umount2({target.decode()}, MNT_DETACH)")


def set_attributes(target: bytes, attributes: int) -> None:
    """
    Add MOUNT_ATTR_* to a mount and everything mounted below it: one call where a remount needs one per mount.

    Source: mount_setattr(2), Linux 5.12.
    """
    change = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    if syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target, AT_RECURSIVE, ctypes.byref(change), ctypes.c_size_t(32)):
        raise kernel_error(f"mount_setattr({target.decode()}, {attributes:#x})")


def make_private() -> None:
    """Cut this mount namespace's propagation: what is mounted here is seen nowhere else, and the reverse."""
    mount(None, b"/", None, MS_REC | MS_PRIVATE)


def enter(tree: bytes) -> None:
    """
    Make `tree`, which is a mount, the root of this mount namespace, and let go of the old one.

    Not chroot(2): with CAP_SYS_CHROOT one walks out of it, and the old root would stay mounted.

    Source: pivot_root(2), `pivot_root(".", ".")`: the old root is then mounted on top of the new, and detached there.
    """
    os.chdir(tree)
    if syscall(SYS_PIVOT_ROOT, b".", b"."):
        raise kernel_error(f"pivot_root({tree.decode()})")
    umount(b".")
    os.chdir("/")
