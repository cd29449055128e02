"""
A job's status file: what its init has written, and how a successor takes the job back.

Init appends one line per event, each with a single write, and adds 1 to the job's eventfd after it:

    record <pid> <start ticks> <the supervisor's record>     before anything of the job can run
    failed <errno> <words>                                   the set-up failed; init has exited
    running <ns>                                             the command was started, or could not be executed
    stopping <ns>                                            SIGTERM came from the supervisor
    exited <wait status> <user us> <system us> <max rss bytes> <ns> [<why it could not be executed>]
    end <bytes>                                              written by the supervisor: the log is on disk

Runs in: supervisor. May not: block on anything but the local disk, import outside the standard library.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from joblet.supervisor.descriptors import FD_EVENT, FD_LOG_MEMORY, FD_LOG_READ
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


@dataclass(frozen=True, slots=True)
class Status:
    """
    What a status file says.

    Args:
        record: The bytes the supervisor handed to `launch`; empty when init was killed before it wrote them.
        pid: Of the job's init, in the supervisor's PID namespace; 0 likewise.
        start_ticks: When that process started (proc(5), stat, field 22): tells it from a later one with its pid.
        running_ns: When the command was started, since the epoch; None before.
        stopping_ns: When SIGTERM was passed on to it; None if never.
        failed: Why the set-up failed, beginning with the kernel's words; None when it has not.
        exited: The end of the command; None before.
        end: What the supervisor wrote of the end, without "end " and newline; None before.
    """

    record: bytes = b""
    pid: int = 0
    start_ticks: int = 0
    running_ns: int | None = None
    stopping_ns: int | None = None
    failed: str | None = None
    exited: Exited | None = None
    end: bytes | None = None


def read_status(path: str | os.PathLike[str]) -> Status | None:
    """
    Read a status file that may grow meanwhile.

    A last line that is not complete (its writer was killed, or is writing) does not count.

    Returns:
        What is known; None when there is no file.

    Raises:
        ValueError: A complete line is none of the above: the file is not a status file, or of another version.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    status = Status()
    for line in _complete_lines(data):
        try:
            status = _after(status, line)
        except (ValueError, IndexError):
            raise ValueError(f"{os.fspath(path)}: not a line of a status file: {line[:80]!r}") from None
    return status


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
        # Checked once the pidfd pins the process: whatever has this pid now keeps it until we are done.
        if start_ticks(status.pid) == status.start_ticks:
            opened.extend(pidfd_getfd(opened[0], fd) for fd in (FD_LOG_READ, FD_LOG_MEMORY, FD_EVENT))
            pidfd, log_read, log_memory, event = opened
            opened.clear()
            return pidfd, log_read, log_memory, event
    except OSError as error:
        # A killed init has no descriptors left while it waits to be reaped: EBADF.
        if not isinstance(error, ProcessLookupError | FileNotFoundError) and error.errno != errno.EBADF:
            raise
    finally:
        for fd in opened:
            os.close(fd)
    return None


def start_ticks(pid: int) -> int:
    """
    When a process started, in clock ticks since boot.

    Raises:
        FileNotFoundError, ProcessLookupError: There is no such process.

    Source: proc(5), /proc/pid/stat. The name in parentheses may hold anything, so fields count from its end.
    """
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def _complete_lines(data: bytes) -> Iterator[bytes]:
    yield from data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]


def _after(status: Status, line: bytes) -> Status:
    kind, _, rest = line.partition(b" ")
    match kind:
        case b"record":
            pid, ticks, record = rest.split(b" ", 2)
            return replace(status, pid=int(pid), start_ticks=int(ticks), record=record)
        case b"failed":
            _number, words = rest.split(b" ", 1)
            return replace(status, failed=words.decode(errors="replace"))
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
