"""
Where jobs' control groups go, and how one is made whole or not at all.

    /sys/fs/cgroup/joblet.slice/                     systemd's, or made by hand where systemd did not start us
        joblet-jobs.service/                         systemd's; Delegate= makes all below ours
            service/                                 its own processes: a group that hands controllers down holds none
            jobs/<job id>/                           a job
        <state folder's name>/jobs/<job id>/         the same where systemd did not start us

Runs in: supervisor. May not: write above a service that systemd made.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint", "Delegation";
systemd, docs/CGROUP_DELEGATION.md.
"""

import errno
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from joblet.domain.limits import Limits
from joblet.supervisor.linux.cgroups import cpu, cpuset, io, memory, pids
from joblet.supervisor.linux.cgroups.device import whole_disk
from joblet.supervisor.linux.cgroups.file import KERNEL, CgroupError, Files, Folder
from joblet.supervisor.linux.cgroups.group import Cgroup, LimitEvents
from joblet.supervisor.linux.cgroups.host import (
    CONTROLLERS,
    HOST,
    SWITCH_OFF,
    Finding,
    Host,
    Severity,
    findings,
    gather,
    is_service,
)

__all__ = ["Cgroup", "CgroupError", "Cgroups", "CgroupsUnavailable", "LimitEvents", "open_slice"]

_JOBS: Final = "jobs"
_SERVICE: Final = "service"
# Processes of our service may fork while they are moved; a service that still does so after this is not ours.
_MOVES: Final = 16


class CgroupsUnavailable(CgroupError):
    """
    `isolation.cgroups: required`, and this host cannot.

    `str` says why and what mends it, for whoever starts us; `words` is what a job is refused with.
    """

    def __str__(self) -> str:
        return self.explanation


class Cgroups:
    """
    The groups of one supervisor's jobs; `open_slice` makes it.

    Args:
        home: The group that `jobs` is in.
        made: Groups from just below the root to `home`, for us to make and to remove; none when `home` is a service.
        pids_max: Processes and threads a job may have.
    """

    def __init__(self, home: Folder, host: Host, made: tuple[Folder, ...] = (), pids_max: int = pids.PIDS_MAX) -> None:
        self._home = home
        self._jobs = home.child(_JOBS)
        self._host = host
        self._made = made
        self._pids_max = pids_max

    def prepare(self) -> None:
        """
        Make ready for jobs; what is ready is left alone.

        Raises:
            CgroupError: A step failed. No group is left that was not there.
        """
        with ExitStack() as undo:
            if self._made:
                root = Folder(self._home.files, self._host.root)
                for parent, folder in zip((root, *self._made), self._made, strict=False):
                    _hand_down(parent)
                    if _ensure(folder):
                        undo.callback(_remove_if_empty, folder)
            else:
                _move_into_child(self._home)
            _hand_down(self._home)
            if _ensure(self._jobs):
                undo.callback(_remove_if_empty, self._jobs)
            _hand_down(self._jobs)
            _check_swap(self._jobs, self._host)
            undo.pop_all()

    @property
    def path(self) -> Path:
        """The folder that holds one folder per job."""
        return self._jobs.path

    def create(self, job_id: str, limits: Limits, device_folder: Path) -> Cgroup:
        """
        A group with every limit in force, for a process to be cloned into.

        Args:
            device_folder: Where the job's files are: I/O is limited on the disk below it.

        Raises:
            CgroupError: A step failed; no folder and no descriptor is left.
        """
        try:
            return self._create(job_id, limits, device_folder)
        except CgroupError as error:
            if error.number != errno.ENOENT:
                raise
        # When a service's last process ends, systemd removes its group, and `jobs` with it unless a job runs there;
        # it starts the service again in a new one, which is not ready for jobs.
        self.prepare()
        return self._create(job_id, limits, device_folder)

    def _create(self, job_id: str, limits: Limits, device_folder: Path) -> Cgroup:
        folder = self._folder(job_id)
        device = ""
        if limits.io_max_bytes_per_s:
            device = whole_disk(self._host.device_of(device_folder), device_folder, self._host.sysfs)
        with ExitStack() as undo:
            folder.make()
            undo.callback(Cgroup(folder, -1, self._host.sysfs).remove)
            cpu.write_limits(folder, limits)
            cpuset.write_limits(folder, limits)
            memory.write_limits(folder, limits)
            io.write_limits(folder, limits, device)
            pids.write_limits(folder, self._pids_max)
            cgroup = Cgroup(folder, folder.open(), self._host.sysfs)
            undo.pop_all()
        return cgroup

    def reopen(self, job_id: str) -> Cgroup:
        """The group of a predecessor's job. One that is gone already has used nothing and is removed."""
        return Cgroup(self._folder(job_id), -1, self._host.sysfs)

    def leftovers(self) -> list[str]:
        """Ids of all jobs that have a group here: ours, and those a predecessor could not remove."""
        try:
            return [folder.path.name for folder in self._jobs.children()]
        except CgroupError:
            return []

    def close(self) -> None:
        """Remove the groups around the jobs', as far as they are empty; systemd removes its own."""
        for folder in (self._jobs, *reversed(self._made)):
            try:
                folder.remove()
            except CgroupError:
                return

    def _folder(self, job_id: str) -> Folder:
        # The id comes from the server, which may do less than we: it must not lead out of `jobs`.
        if not job_id or "/" in job_id or job_id.startswith("."):
            raise CgroupError(f"not a job id: {job_id!r}")
        return self._jobs.child(job_id)


def open_slice(
    slice_path: Path,
    mode: str,
    *,
    state_folder: Path | None = None,
    pids_max: int = pids.PIDS_MAX,
    host: Host = HOST,
    files: Files = KERNEL,
) -> Cgroups | str:
    """
    Make ready to limit jobs, in the way that `isolation.cgroups` asks for.

    Below the service that `slice_path` names, or that systemd started us in; else below `slice_path`, made by hand.
    Every process of a service is moved into its child `service`: the kernel lets no group hand controllers down
    that holds processes. Call it before the zygote is started, and again after a restart: nothing is done twice.

    Args:
        slice_path: A delegated service's group, or `joblet.slice` in the cgroup root.
        mode: "required", "auto" or "off".
        state_folder: Gives this supervisor a group of its own in a slice that several share, so that none takes
            another's jobs for leftovers.

    Returns:
        The groups; with "auto" and "off", when there are none, why not, in words for `limits_enforced`.

    Raises:
        CgroupsUnavailable: With "required", when limits cannot be enforced. No group is left that was not there.
    """
    if mode == "off":
        return "switched off (isolation.cgroups: off)"
    for last in (False, False, True):
        try:
            return _open(slice_path, state_folder, pids_max, host, files)
        except CgroupError as error:
            # Another supervisor that ends takes the slice away when it looks empty: make it anew.
            if error.number == errno.ENOENT and not last:
                continue
            if mode == "required":
                raise CgroupsUnavailable(
                    error.words, detail=error.detail, remedy=error.remedy, number=error.number
                ) from None
            return error.detail
    raise AssertionError("the last attempt returns or raises")


def _open(slice_path: Path, state_folder: Path | None, pids_max: int, host: Host, files: Files) -> Cgroups:
    if is_service(slice_path) and not files.exists(slice_path) and files.exists(host.root / "cgroup.controllers"):
        # As when it goes later: each job is refused with its name until systemd has started it.
        return Cgroups(Folder(files, slice_path), host, (), pids_max)
    facts = gather(host, files, slice_path)
    errors = [finding for finding in findings(facts) if finding.severity is Severity.ERROR]
    if errors:
        raise _unavailable(errors)
    if facts.service is not None:
        cgroups = Cgroups(Folder(files, facts.service), host, (), pids_max)
    else:
        path = slice_path if state_folder is None else slice_path / _name_of(state_folder)
        levels = tuple(Folder(files, level) for level in _below(path, host.root))
        cgroups = Cgroups(levels[-1], host, levels, pids_max)
    cgroups.prepare()
    return cgroups


def _unavailable(errors: list[Finding]) -> CgroupError:
    detail = "; ".join(error.what for error in errors)
    denied = all(error.denied for error in errors)
    return CgroupError(
        "permission denied" if denied else detail, detail=detail, remedy="; ".join(error.remedy for error in errors)
    )


def _name_of(state_folder: Path) -> str:
    """Readable, and different for any two folders that a machine is likely to have."""
    path = str(state_folder)
    return f"{path.strip('/').replace('/', '-')[-100:]}-{zlib.crc32(path.encode()):08x}"


def _below(path: Path, root: Path) -> Iterator[Path]:
    """Every folder from just below the root down to a path."""
    try:
        parts = path.relative_to(root).parts
    except ValueError:
        parts = ()
    if not parts:
        raise CgroupError(f"{path} is not below {root}", remedy=f"give a slice such as {root}/joblet.slice")
    for depth in range(1, len(parts) + 1):
        yield root.joinpath(*parts[:depth])


def _ensure(folder: Folder) -> bool:
    """Whether the group had to be made."""
    try:
        folder.make()
    except CgroupError as error:
        if error.number != errno.EEXIST:
            raise
        return False
    return True


def _remove_if_empty(folder: Folder) -> None:
    with suppress(CgroupError):  # another supervisor has made its own below it meanwhile
        folder.remove()


def _move_into_child(home: Folder) -> None:
    if not home.exists():
        raise CgroupError(
            f"{home.path.name} is not running", remedy=f"systemctl start {home.path.name}", number=errno.ENOENT
        )
    child = home.child(_SERVICE)
    for _ in range(_MOVES):
        members = home.pids()
        if not members:
            return
        _ensure(child)
        for pid in members:
            try:
                child.write("cgroup.procs", str(pid))
            except CgroupError as error:
                if error.number != errno.ESRCH:  # it has ended
                    raise
    raise CgroupError(
        f"processes keep appearing in {home.path} itself", remedy=f"restart {home.path.name}, {SWITCH_OFF}"
    )


def _hand_down(folder: Folder) -> None:
    """Let the groups below have our controllers; those that they have already are left alone."""
    enabled = folder.words("cgroup.subtree_control")
    wanted = [name for name in CONTROLLERS if name not in enabled]
    if not wanted:
        return
    try:
        folder.write("cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))
    except CgroupError as error:
        if error.number == errno.EBUSY:
            raise CgroupError(
                f"processes live in {folder.path} itself: its controllers cannot be handed down",
                remedy=f"move them into a group below it, {SWITCH_OFF}",
                number=error.number,
            ) from None
        raise


def _check_swap(jobs: Folder, host: Host) -> None:
    """A job over its memory must not go on in swap: refuse a kernel that has swap on but cannot limit it."""
    if jobs.exists("memory.swap.max"):
        return
    try:
        swaps = (host.proc / "swaps").read_text().splitlines()[1:]
    except OSError:
        return
    if swaps:
        raise CgroupError(
            "swap is on, but this kernel does not limit it: a job could use more than its maxMemory",
            remedy=f"boot without swapaccount=0 on the kernel command line, or swapoff -a, {SWITCH_OFF}",
        )
