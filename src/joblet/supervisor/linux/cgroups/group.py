"""
One job's control group, from its making to its removal.

Runs in: supervisor. May not: block, wait, raise once the job runs (its end must be told whatever the tree answers).
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files", "Populated Notification".
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from joblet.domain.job import Usage
from joblet.supervisor.linux.cgroups import cpu, io, memory, pids
from joblet.supervisor.linux.cgroups.file import CgroupError, Folder

# A sweep that still finds new processes after so many rounds meets a fork bomb: the SIGKILL to its init ends that.
_SWEEPS: Final = 16
_PIDFDS_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class LimitEvents:
    """
    How often a job met its limits so far; each only grows.

    Args:
        cpu_throttled_usec: Time it waited for its share of CPU.
        memory_limit_hits: Times the kernel had to take memory back from it.
        memory_ooms: Times that was not enough.
        memory_oom_kills: Processes killed for it.
        pids_limit_hits: Forks refused.
    """

    cpu_throttled_usec: int = 0
    memory_limit_hits: int = 0
    memory_ooms: int = 0
    memory_oom_kills: int = 0
    pids_limit_hits: int = 0

    def since(self, earlier: "LimitEvents") -> dict[str, int]:
        """What has grown, by name and by how much."""
        grown = {each.name: getattr(self, each.name) - getattr(earlier, each.name) for each in fields(self)}
        return {name: by for name, by in grown.items() if by > 0}


class Cgroup:
    """
    A job's group. Its methods never raise: a group that is gone has used nothing and is removed.

    Args:
        fd: Of the folder, for CLONE_INTO_CGROUP; owned, closed by `remove`; -1 for a group taken over.
        sysfs: Where sysfs is mounted.
    """

    def __init__(self, folder: Folder, fd: int, sysfs: Path) -> None:
        self._folder = folder
        self._fd = fd
        self._sysfs = sysfs

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def fd(self) -> int:
        """Its folder's descriptor; -1 once removed, and for a group taken over from a predecessor."""
        return self._fd

    def kill(self) -> None:
        """
        SIGKILL to every process in it and below; they die soon, not at once.

        A process dies on its own share of CPU, and not before the I/O it waits for is done: what held them back is
        lifted first.
        """
        with suppress(CgroupError):
            cpu.lift_limit(self._folder)
        with suppress(CgroupError):
            io.lift_limits(self._folder)
        try:
            self._folder.write("cgroup.kill", "1")
        except CgroupError as error:
            # ENOENT: Linux before 5.14, or the whole group is gone; EOPNOTSUPP: it is threaded.
            if error.number in (errno.ENOENT, errno.EOPNOTSUPP):
                self._sweep()

    def usage(self) -> Usage:
        """What all its processes used together so far, those that have ended included."""
        disk = io.read_statistics(self._folder, self._sysfs)
        return Usage(
            cpu_usec=cpu.read_statistics(self._folder).usage_usec,
            memory_peak_bytes=memory.read_statistics(self._folder).peak_bytes,
            io_read_bytes=disk.read_bytes,
            io_write_bytes=disk.write_bytes,
        )

    def oom_kills(self) -> int:
        """Processes the kernel killed for memory, whether or not the command itself was among them."""
        return memory.read_statistics(self._folder).oom_kills

    def limit_events(self) -> LimitEvents:
        """How often it met its limits so far."""
        memory_events = memory.read_statistics(self._folder)
        return LimitEvents(
            cpu_throttled_usec=cpu.read_statistics(self._folder).throttled_usec,
            memory_limit_hits=memory_events.limit_hits,
            memory_ooms=memory_events.ooms,
            memory_oom_kills=memory_events.oom_kills,
            pids_limit_hits=pids.read_statistics(self._folder).limit_hits,
        )

    def remove(self) -> bool:
        """
        Remove it and every group below.

        Returns:
            Whether nothing is left. False while a process is still dying: try again later.
        """
        try:
            _remove(self._folder)
        except CgroupError:
            # A process that is still dying, most of the time. Rarely a group below, so that is looked for late.
            try:
                for folder in reversed(list(self._tree())):
                    _remove(folder)
            except CgroupError:
                return False
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return True

    def _tree(self) -> Iterator[Folder]:
        """The group and all below it, parents first."""
        waiting = [self._folder]
        while waiting:
            folder = waiting.pop()
            yield folder
            try:
                waiting += folder.children()
            except CgroupError as error:
                if error.number not in (errno.ENOENT, errno.ENODEV):
                    raise

    def _sweep(self) -> None:
        """What cgroup.kill does, as far as one can from outside."""
        signalled: set[int] = set()
        for _ in range(_SWEEPS):
            found = False
            try:
                folders = list(self._tree())
            except CgroupError:
                return
            for folder in folders:
                members = [pid for pid in folder.pids() if pid not in signalled]
                for start in range(0, len(members), _PIDFDS_AT_ONCE):
                    _kill_members(folder, members[start : start + _PIDFDS_AT_ONCE])
                signalled.update(members)
                found = found or bool(members)
            if not found:
                return


def _remove(folder: Folder) -> None:
    try:
        folder.remove()
    except CgroupError as error:
        if error.number not in (errno.ENOENT, errno.ENODEV):
            raise


def _kill_members(folder: Folder, members: list[int]) -> None:
    """
    SIGKILL to these, as far as they are still in the group.

    A pid read a moment ago may be another process's by now. A pidfd stands for one process for ever, so: open it,
    then look whether the pid is still a member, then signal.
    """
    pidfds: dict[int, int] = {}
    try:
        for pid in members:
            try:
                pidfds[pid] = os.pidfd_open(pid)
            except OSError:  # it has ended, or no descriptor is left: the SIGKILL to the job's init follows
                continue
        still = set(folder.pids())
        for pid, pidfd in pidfds.items():
            if pid in still:
                try:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                except OSError:  # it has ended
                    continue
    finally:
        for pidfd in pidfds.values():
            os.close(pidfd)
