"""
The template of every job's file tree, built once: all of it that is the same for each job.

    /            tmpfs, read-only       etc/ copied here, empty folders to mount on
    /usr         the host's, read-only  bin, sbin, lib* are links into it, or the host's own, read-only
    /dev         tmpfs, read-only       device nodes and links; /dev/pts and /dev/shm are mounted per job
    /proc /tmp /work                    mounted per job

Everything is nosuid, and but for /dev nodev. /opt and /home of the host are not here: certificates
with their keys live in /opt/joblet.

Runs in: supervisor, before the zygote is started. May not: import outside the standard library.
Source: hier(7), null(4), random(4), pts(4); mount_setattr(2), Linux 5.12.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from joblet.supervisor.linux.mounts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    make_private,
    mount,
    set_attributes,
)
from joblet.supervisor.linux.syscall import kernel_error, libc

CLONE_NEWNS: Final = 0x20000

FOLDERS: Final = ("dev", "etc", "home", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var", "work")
SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

# Files and folders of the host's /etc that programs need to run and that hold no secret. What is not readable for
# everybody is left out wherever it lies.
ETC: Final = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "hosts",
    "inputrc",
    "java-17-openjdk",
    "java-21-openjdk",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "networks",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "python3.11",
    "resolv.conf",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
)
DEVICES: Final = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
DEVICE_LINKS: Final = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def enter_private_mounts() -> None:
    """
    Give this process a mount namespace of its own: nothing we mount is ever seen on the host, and all ends with us.

    Raises:
        PermissionError: We are not root.

    Source: unshare(2), CLONE_NEWNS.
    """
    if libc.unshare(CLONE_NEWNS):
        raise kernel_error("unshare(CLONE_NEWNS)")
    make_private()


def build(at: Path, host: Path = Path("/"), etc: Sequence[str] = ETC) -> None:
    """
    Mount the template on a folder, in the caller's mount namespace.

    Args:
        at: An empty folder.
        host: Where /usr and /etc are taken from.

    Raises:
        OSError: It is not complete; unmount it, or end with the namespace.
    """
    before = os.umask(0o022)  # a service's own would close the tree to its jobs
    try:
        _build(at, host, etc)
    finally:
        os.umask(before)


def _build(at: Path, host: Path, etc: Sequence[str]) -> None:
    mount(b"joblet", os.fsencode(at), b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=0755,size=64m")
    for name in FOLDERS:
        (at / name).mkdir(mode=0o755)
    _bind_read_only(host / "usr", at / "usr")
    for name in SYSTEM:
        original = host / name
        if original.is_symlink():
            (at / name).symlink_to(os.readlink(original))
        elif original.is_dir():
            (at / name).mkdir()
            _bind_read_only(original, at / name)
    (at / "var" / "tmp").symlink_to("/tmp")
    (at / "var" / "run").symlink_to("/run")
    _copy_etc(host / "etc", at / "etc", etc)
    _make_dev(at / "dev")
    # Last: nothing can be made in it afterwards. Not recursive: the folders above are read-only by themselves.
    mount(None, os.fsencode(at), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _bind_read_only(source: Path, target: Path) -> None:
    mount(os.fsencode(source), os.fsencode(target), None, MS_BIND | MS_REC)
    set_attributes(os.fsencode(target), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)


def _copy_etc(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        # A host changes its files while we copy: what has gone missing is as good as never there.
        with contextlib.suppress(FileNotFoundError):
            _copy(source / name, target / name)
    (target / "mtab").symlink_to("/proc/self/mounts")


def _copy(source: Path, target: Path) -> None:
    """Copy what everybody may read. A link stays a link where its target is in the tree too, else it is followed."""
    is_link = source.is_symlink()
    if is_link and _stays(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.readlink(source))
        return
    mode = source.stat().st_mode
    if not mode & stat.S_IROTH:
        return
    if stat.S_ISDIR(mode):
        if is_link:
            return
        target.mkdir(parents=True, exist_ok=True)
        for entry in os.scandir(source):
            with contextlib.suppress(FileNotFoundError):
                _copy(source / entry.name, target / entry.name)
    elif stat.S_ISREG(mode):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(stat.S_IMODE(mode) & 0o755)


def _stays(link: Path) -> bool:
    target = os.path.normpath(link.parent / os.readlink(link))
    return target.startswith(("/usr/", "/etc/alternatives/", str(link.parent) + "/"))


def _make_dev(dev: Path) -> None:
    at = os.fsencode(dev)
    mount(b"joblet-dev", at, b"tmpfs", MS_NOSUID | MS_NOEXEC, b"mode=0755,size=1m")
    for name, major, minor in DEVICES:
        node = dev / name
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        node.chmod(0o666)  # mknod's mode is cut by the umask
    for name, target in DEVICE_LINKS:
        (dev / name).symlink_to(target)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    mount(None, at, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC)
