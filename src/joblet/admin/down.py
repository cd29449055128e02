"""
`joblet down`: ends every job, every process and every mount of one state folder.

The server goes first (it would start the next supervisor), then the supervisor is told to stop every job and to
end; its mounts live in its own namespace and go with it. When no supervisor answers, one is started: it finds what a
killed one left, and then ends that. What was stored (database, logs) stays.

Runs in: an administrator's terminal. May not: signal a process by a number alone (pidfds, and its arguments checked).
Source: docs/contributors.md, "What others rely on"; pidfd_open(2); `engine/protocol.py`, Down.
"""

import argparse
import contextlib
import os
import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from joblet.admin import places
from joblet.admin.serve import shows_state
from joblet.complaint import Complaint, why
from joblet.engine.protocol import Attach, Down, Frames, Hello, JobEnd, Message, encode
from joblet.statefolder import StateFolder

SERVER_WAIT_S: Final = 15.0  # its own grace for calls under way is 10
ATTEMPTS: Final = 3
SUPERVISOR_WAIT_S: Final = 60.0  # it kills after 100 ms; the rest is the disk taking the last output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    places.add_state(parser)


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    ended = down(StateFolder(places.state(options.state)))
    for line in ended or ["nothing was running"]:
        print(line)
    return 0


def down(folder: StateFolder) -> list[str]:
    """
    End everything that belongs to a state folder. Doing it again does nothing.

    Returns:
        What was ended, a line each.

    Raises:
        Complaint: Something could not be ended, or we may not.
    """
    if not folder.root.is_dir():
        return []
    ended = []
    try:
        if pid := _end_server(folder):
            ended.append(f"ended the server (process {pid})")
        ended += _end_supervisor(folder)
        folder.address.unlink(missing_ok=True)  # a killed server leaves it
    except PermissionError as error:
        raise Complaint(
            f"cannot end what belongs to {folder.root}: {why(error)}", "run it as root: sudo joblet down --state DIR"
        ) from None
    return ended


def server_runs(folder: StateFolder) -> bool:
    """Whether a server of this state folder runs, as far as this user can tell."""
    try:
        with _process(folder.server_lock, folder, "serve") as (pid, _):
            return pid > 0
    except PermissionError:
        return False


def _end_server(folder: StateFolder) -> int:
    """Its process id; 0 when none was running."""
    with _process(folder.server_lock, folder, "serve") as (pid, pidfd):
        if not pid:
            return 0
        _refuse_systemds(pid)
        for number in (signal.SIGTERM, signal.SIGKILL):  # a killed server loses nothing: the supervisor owns the jobs
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
            if _ends_within(pidfd, SERVER_WAIT_S):
                return pid
    raise Complaint(f"the server (process {pid}) does not end, not even by SIGKILL", "see ps: it may hang on a disk")


def _end_supervisor(folder: StateFolder) -> list[str]:
    ended: list[str] = []
    began_ns = time.time_ns()
    for _ in range(ATTEMPTS):
        connection = _connect(folder)
        found = connection is not None
        if connection is None:
            if not _may_have_left_something(folder):
                return ended
            connection = _connect_to_a_new_one(folder)
        with connection, _process(folder.supervisor_lock, folder, "") as (pid, pidfd):
            _refuse_systemds(pid)
            stopped, left, said_all = _take_down(connection, folder, began_ns)
            ended += [f"stopped job {job_id}" for job_id in stopped]
            if pid and not _ends_within(pidfd, SUPERVISOR_WAIT_S):
                raise Complaint(
                    f"the supervisor (process {pid}) stopped its jobs but does not end", f"see {folder.supervisor_log}"
                )
            if said_all and not left:
                return [*ended, f"ended the supervisor (process {pid})"] if found else ended
        # It died before its last job was stopped: the next one takes them over.
    raise Complaint(
        f"the supervisor of {folder.root} died {ATTEMPTS} times before its jobs were stopped",
        f"see {folder.supervisor_log}; still running: {', '.join(left) or 'not known'}",
    )


def _refuse_systemds(pid: int) -> None:
    """
    Refuse to end what systemd would start again at once.

    Raises:
        Complaint: The process is a service of systemd's.
    """
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return
    if found := re.search(r"/(joblet[\w@.-]*\.service)", group):
        raise Complaint(
            f"process {pid} is run by systemd ({found[1]}), which would start it again",
            "end it there: systemctl stop joblet.service joblet-supervisor.service",
        )


def _take_down(connection: socket.socket, folder: StateFolder, began_ns: int) -> tuple[list[str], list[str], bool]:
    """
    Tell the supervisor, and read until it is gone.

    Args:
        began_ns: What ended before was not stopped by us: a new supervisor first learns of all that ended meanwhile.

    Returns:
        The jobs it stopped, those it left running, and whether it had said at all which jobs it has.
    """
    running: dict[str, None] = {}
    greeted = False
    stopped: list[str] = []
    connection.settimeout(SUPERVISOR_WAIT_S)
    try:
        connection.sendall(encode(Hello()))
        for message in _messages(connection):
            match message:
                case Attach():
                    running, greeted = dict.fromkeys(message.running), True
                    connection.sendall(encode(Down()))
                case JobEnd(job_id=job_id, ended_ns=ended_ns) if job_id in running:
                    del running[job_id]
                    if ended_ns >= began_ns:
                        stopped.append(job_id)
    except TimeoutError:
        raise Complaint(
            f"the supervisor of {folder.root} has not ended for {SUPERVISOR_WAIT_S:g} s",
            f"see {folder.supervisor_log}; still running: {', '.join(running) or 'no job'}",
        ) from None
    except (BrokenPipeError, ConnectionResetError):
        pass  # it was ending already
    return stopped, list(running), greeted


def _messages(connection: socket.socket) -> Iterator[Message]:
    frames = Frames()
    while data := connection.recv(1 << 16):
        yield from frames.feed(data)


def _connect(folder: StateFolder) -> socket.socket | None:
    """A connection to the supervisor; None when none listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    folder_fd = os.open(folder.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(folder.socket_address(folder_fd))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder_fd)
    return connection


def _may_have_left_something(folder: StateFolder) -> bool:
    """A job's status file or work folder: only a supervisor knows whether the job still runs."""
    return any(left.is_dir() and any(left.iterdir()) for left in (folder.run, folder.work))


def _connect_to_a_new_one(folder: StateFolder) -> socket.socket:
    from joblet.engine.supervised import SupervisorFailed, SupervisorOptions, start_supervisor

    try:
        start_supervisor(folder, SupervisorOptions())
    except SupervisorFailed as error:
        raise Complaint(f"cannot find out what is left of {folder.root}: {error}") from None
    connection = _connect(folder)
    if connection is None:
        raise Complaint("the supervisor ended as soon as it was started", f"see {folder.supervisor_log}")
    return connection


@contextlib.contextmanager
def _process(lock: Path, folder: StateFolder, verb: str) -> Iterator[tuple[int, int]]:
    """
    The process that a lock file names, held by a pidfd; (0, -1) when it is gone.

    A number in a file may belong to another process by now: once the pidfd is open it cannot change
    any more, and then the arguments tell whether it is ours.
    """
    try:
        pid = int(lock.read_text().strip() or "0")
        pidfd = os.pidfd_open(pid) if pid > 0 else -1
    except (FileNotFoundError, ProcessLookupError, ValueError):
        pid, pidfd = 0, -1
    try:
        ours = pidfd >= 0 and is_ours(pid, folder.root, verb)
        yield (pid, pidfd) if ours else (0, -1)
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def is_ours(pid: int, state: Path, verb: str) -> bool:
    """Whether a process works for this state folder, and does so as `verb` (any, when empty)."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return shows_state(argv, state) and (not verb or verb in argv)


def _ends_within(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)  # readable once the process has ended (pidfd_open(2))
    return bool(poll.poll(seconds * 1000))
