"""
Examines an installation for `joblet doctor`: configuration, certificates, state folder, port, open files.

Runs in: an administrator's terminal. May not: change anything (the port is bound and let go).
Source: docs/contributors.md, "What others rely on"; API specification, "Server Configuration".
"""

import datetime
import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from joblet import config, configkeys
from joblet.admin.finding import Finding, fail, ok, warn
from joblet.complaint import Complaint, why

RENEW_DAYS: Final = 30
LEAST_FREE_BYTES: Final = 1 << 30
DESCRIPTORS_PER_JOB: Final = 8  # pipe, memfd, log, pidfd, eventfd, cgroup, and two of the zygote's answer
DESCRIPTORS_BESIDE: Final = 256

# File systems that forget at a reboot, and such as cannot hold SQLite's locks or a log's fsync for certain.
_FORGETFUL: Final = frozenset({"tmpfs", "ramfs", "overlay"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"})


def configuration(path: Path | None, environ: Mapping[str, str]) -> tuple[config.Config, list[Finding]]:
    """The configuration in force (the defaults when it cannot be used), and what is to be said about it."""
    try:
        loaded = config.load(path, environ)
    except Complaint as error:
        return config.defaults(), [fail("configuration", error.what, error.mend or "mend the lines named")]
    return loaded, [ok("configuration", str(loaded.source) if loaded.source else "no file: the defaults")]


def certificates(folder: Path, now: datetime.datetime) -> Iterator[Finding]:
    """The server's three files."""
    from joblet.pki import check, names
    from joblet.pki.describe import describe

    certificate, key, ca = (
        folder / name for name in (names.SERVER_CERTIFICATE, names.SERVER_KEY, names.CA_CERTIFICATE)
    )
    if not any(path.exists() for path in (certificate, key, ca)):
        yield fail("certificates", f"there are none in {folder}", f"joblet certs init --dir {folder}")
        return
    try:
        found = check.check(certificate, key, ca, check.SERVER)
    except check.FilesUnusable as error:
        for problem in error.problems:
            yield fail("certificates", problem.what, problem.mend)
        return
    for warning in found.warnings:
        what, _, mend = warning.rpartition(": ")
        yield warn("certificates", what, mend)
    for path, content in ((certificate, found.certificate), (ca, found.ca)):
        left = min(description.not_after for description in describe(content, now)) - now
        if left < datetime.timedelta(days=RENEW_DAYS):
            renew = f"joblet certs issue --dir {folder} --role server --force (no restart is needed)"
            anew = f"joblet certs init --dir {folder} --force, and hand the new client files out"
            yield warn("certificates", f"{path} expires in {left.days} days", renew if path == certificate else anew)
        else:
            yield ok("certificates", f"{path}: {left.days} days left")


def state_folder(folder: Path, uid: int, mountinfo: str) -> Iterator[Finding]:
    """Whose it is, what it is stored on, and how much room there is."""
    existing = next(level for level in (folder, *folder.parents) if level.exists())
    try:
        found = existing.stat()
        free_bytes = shutil.disk_usage(existing).free
    except OSError as error:
        yield fail("state folder", f"{folder}: {why(error)}", "name another one with --state")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield fail("state folder", f"{existing} is not a folder", "name another one with --state")
        return
    if existing != folder:
        yield ok("state folder", f"{folder} will be made")
    elif found.st_uid != uid:
        yield fail("state folder", f"{folder} belongs to user {found.st_uid}", f"chown root {folder}")
    elif found.st_mode & 0o077:
        yield warn(
            "state folder", f"others may look into {folder} ({stat.S_IMODE(found.st_mode):04o})", f"chmod 700 {folder}"
        )
    else:
        yield ok("state folder", str(folder))
    kind = file_system(existing, mountinfo)
    if kind in _FORGETFUL:
        yield warn(
            "state folder",
            f"{kind} does not outlive the machine: jobs and logs are lost with it",
            "name a folder on a disk with --state",
        )
    elif kind in _REMOTE:
        yield warn(
            "state folder",
            f"{kind} is remote: a network failure stops every log",
            "name a folder on a disk of this machine with --state",
        )
    if free_bytes < LEAST_FREE_BYTES:
        yield warn("state folder", f"{free_bytes >> 20} MiB are free", "make room: every log is kept")


def file_system(folder: Path, mountinfo: str) -> str:
    """
    Type of the file system a folder is on; empty when it cannot be told.

    Source: proc_pid_mountinfo(5): "36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw".
    """
    from joblet.supervisor.linux.cgroups.host import mount_at, parse_mounts

    mount = mount_at(folder.resolve(), parse_mounts(mountinfo))
    return mount.kind if mount else ""


def port(address: str, serving: bool) -> Iterator[Finding]:
    """
    The address can be listened on.

    Args:
        serving: A server of this installation runs, so that the port is its own.
    """
    host, number = configkeys.check_address(address)
    if serving:
        yield ok("address", f"{address}: a server of this state folder is running")
        return
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            host, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen()
    except OSError as error:
        yield fail(
            "address", f"cannot listen on {address}: {why(error)}", "ss -ltnp shows who does; or set server.address"
        )
        return
    yield ok("address", f"{address} is free")


def open_files(most_jobs: int, hard_limit: int, uid: int) -> Iterator[Finding]:
    """The supervisor may open what so many jobs need; pure."""
    needed = most_jobs * DESCRIPTORS_PER_JOB + DESCRIPTORS_BESIDE
    if hard_limit == resource.RLIM_INFINITY or hard_limit >= needed or uid == 0:
        # Root's supervisor raises its own limit (CAP_SYS_RESOURCE).
        yield ok(
            "open files",
            f"{needed} needed for {most_jobs} jobs, {'unlimited' if hard_limit < 0 else hard_limit} allowed",
        )
    else:
        yield warn("open files", f"{hard_limit} allowed, {needed} needed for {most_jobs} jobs", f"ulimit -Hn {needed}")


def hard_open_files() -> int:
    """The limit in force."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def now() -> datetime.datetime:
    """UTC."""
    return datetime.datetime.now(datetime.UTC)


def own_mounts() -> str:
    """/proc/self/mountinfo."""
    try:
        return Path(f"/proc/{os.getpid()}/mountinfo").read_text(errors="replace")
    except OSError:
        return ""
