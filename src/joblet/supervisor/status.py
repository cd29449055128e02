"""
A job's status file: what its init has written, and how a successor takes the job back.

Init appends one line per event, each with a single write, and adds 1 to the job's eventfd after it:

    record <pid> <the supervisor's record>                   before anything of the job can run
    starting <ns>                                            from here on the command may have run
    failed <errno> <words>                                   the set-up failed; init has exited
    running <ns>                                             the command was started, or could not be executed
    stopping <ns>                                            SIGTERM from the supervisor was passed on to the command
    exited <wait status> <user us> <system us> <max rss bytes> <ns> [<why it could not be executed>]
    end <bytes>                                              written by the supervisor: the log is on disk

Runs in: supervisor. May not: block on anything but the local disk, import outside the standard library.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from joblet.domain.job import Usage
from joblet.supervisor.descriptors import FD_EVENT, FD_LOG_MEMORY, FD_LOG_READ, FD_STATUS
from joblet.supervisor.linux.pidfd import pidfd_getfd


@dataclass(frozen=True, slots=True)
class Exited:
    """
    The command has ended and nothing of the job is left but its init.

    Args:
        wait_status: Of the command, as wait(2) gives it.
        cpu_usec: User and system time of every process of the job that init reaped, together.
        max_rss_bytes: Largest resident set among them.
        ended_ns: Nanoseconds since the epoch.
        failure: Why the command could not be executed (exit code 126 or 127); empty otherwise.
    """

    wait_status: int
    cpu_usec: int
    max_rss_bytes: int
    ended_ns: int
    failure: str = ""

    @property
    def usage(self) -> Usage:
        """What the job used, as far as it is known without a cgroup."""
        return Usage(cpu_usec=self.cpu_usec, memory_peak_bytes=self.max_rss_bytes)


@dataclass(frozen=True, slots=True)
class Status:
    """
    What a status file says.

    Args:
        record: The bytes the supervisor handed to `launch`; empty when init was killed before it wrote them.
        pid: Of the job's init, in the supervisor's PID namespace; 0 likewise.
        file: Device and inode of the status file. Init holds it open: that tells it from a later process with its pid.
        starting_ns: When the command was about to be started, since the epoch; None before.
        running_ns: When it was started; None before.
        stopping_ns: When SIGTERM was passed on to it; None if never.
        failed: Why the set-up failed, beginning with the kernel's words; None when it has not.
        exited: The end of the command; None before.
        end: What the supervisor wrote of the end, without "end " and newline; None before.
    """

    record: bytes = b""
    pid: int = 0
    file: tuple[int, int] = (0, 0)
    starting_ns: int | None = None
    running_ns: int | None = None
    stopping_ns: int | None = None
    failed: str | None = None
    exited: Exited | None = None
    end: bytes | None = None

    @property
    def may_have_run_ns(self) -> int:
        """When the command was started, if its init was killed before it could say so; 0 when it has never run."""
        return 0 if self.failed is not None else self.running_ns or self.starting_ns or 0


def read_status(path: str | os.PathLike[str]) -> Status | None:
    """
    Read a status file that may grow meanwhile.

    A last line that is not complete (its writer was killed, or is writing) does not count.

    Returns:
        What is known; None when there is no file.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            data = file.read()
    except FileNotFoundError:
        return None
    status = Status(file=(found.st_dev, found.st_ino))
    for line in _complete_lines(data):
        # A line of a later version, or damage, must not hide the ones that are known: a living job depends on them.
        with contextlib.suppress(ValueError, IndexError):
            status = _after(status, line)
    return status


def _open_at_once(path: str, flags: int) -> int:
    """A FIFO in the place of a status file must not hold the supervisor up."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def reattach(status: Status) -> tuple[int, int, int, int] | None:
    """
    Take the descriptors of a job back from its living init.

    Returns:
        (pidfd, log read end, log memfd, eventfd), each close-on-exec and for the caller to close;
        None when that init is gone.

    Raises:
        PermissionError: We may not trace it: we are not root any more.
    """
    if status.pid <= 0:
        return None
    opened: list[int] = []
    try:
        opened.append(os.pidfd_open(status.pid))
        # The pidfd pins the process; the file it holds tells whether it is the job's init. Asking for its start time
        # instead (/proc/PID/stat) cost each launch 0.1 ms, since init has to record it.
        opened.append(pidfd_getfd(opened[0], FD_STATUS))
        held = os.fstat(opened[1])
        if (held.st_dev, held.st_ino) == status.file:
            opened += (pidfd_getfd(opened[0], fd) for fd in (FD_LOG_READ, FD_LOG_MEMORY, FD_EVENT))
            pidfd, status_fd, log_read, log_memory, event = opened
            opened = [status_fd]
            return pidfd, log_read, log_memory, event
    except OSError as error:
        # EBADF: another process has no such descriptor, and a killed one has none while it waits to be reaped.
        if not isinstance(error, ProcessLookupError) and error.errno != errno.EBADF:
            raise
    finally:
        for fd in opened:
            os.close(fd)
    return None


def _complete_lines(data: bytes) -> Iterator[bytes]:
    yield from data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]


def _after(status: Status, line: bytes) -> Status:
    kind, _, rest = line.partition(b" ")
    match kind:
        case b"record":
            pid, record = rest.split(b" ", 1)
            return replace(status, pid=int(pid), record=record)
        case b"failed":
            _number, words = rest.split(b" ", 1)
            return replace(status, failed=words.decode(errors="replace"))
        case b"starting":
            return replace(status, starting_ns=int(rest))
        case b"running":
            return replace(status, running_ns=int(rest))
        case b"stopping":
            return status if status.stopping_ns is not None else replace(status, stopping_ns=int(rest))
        case b"exited":
            return replace(status, exited=_exited(rest))
        case b"end":
            return replace(status, end=rest)
    raise ValueError(kind)


def _exited(rest: bytes) -> Exited:
    parts = rest.split(b" ", 5)
    wait_status, user, system, rss, ended_ns = (int(part) for part in parts[:5])
    failure = parts[5].decode(errors="replace") if len(parts) > 5 else ""
    return Exited(wait_status, user + system, rss, ended_ns, failure)
