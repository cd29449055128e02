"""
The supervisor's side of the zygote: requests out, replies in, never waiting for either.

    supervisor                                   zygote
    launch <job id>            + descriptors ──►
                                             ◄── launched <job id> <pid>          + pidfd
                                             ◄── failed <job id> <errno> <words>
    remove <token> <path>                    ──►
                                             ◄── removing <token>                 + pidfd
                                             ◄── kept <token> <errno> <words>

Each is one packet of a SOCK_SEQPACKET pair. A job's specification travels in a memfd, so that
neither side's buffers know of 100,000 arguments.

Runs in: supervisor. May not: block (except in `start` and `close`), import outside the standard library.
Source: unix(7), "SOCK_SEQPACKET" and SCM_RIGHTS.
"""

import array
import contextlib
import os
import py_compile
import select
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joblet.supervisor.linux.pidfd import WALL
from joblet.supervisor.linux.seccomp import Taker, filter_for

_REPLY_BYTES: Final = 4096
_ZYGOTE_FD: Final = 3
_FDS_PER_REPLY: Final = 1
_SOURCE: Final = Path(__file__).parents[2]
_PROGRAM: Final = Path(__file__).with_name("zygote_start.py")
# All that the zygote imports of ours.
ZYGOTE_MODULES: Final = (
    "joblet/__init__.py",
    "joblet/supervisor/__init__.py",
    "joblet/supervisor/descriptors.py",
    "joblet/supervisor/init.py",
    "joblet/supervisor/removal.py",
    "joblet/supervisor/zygote.py",
    "joblet/supervisor/linux/__init__.py",
    "joblet/supervisor/linux/clone.py",
    "joblet/supervisor/linux/mounts.py",
    "joblet/supervisor/linux/privileges.py",
    "joblet/supervisor/linux/syscall.py",
)


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """
    One job for the zygote.

    Args:
        argv: The command as typed, then its arguments; the command is looked up in the job's own PATH.
        environment: All of it: nothing is added.
        work_dir: Folder inside the job to start in; empty for its own work folder, /work.
        uid: The job's user and group id, its alone among the jobs that run.
        record: What a successor must know of it, in one line; the first line of its status file.
        log_read_fd, log_memfd, event_fd: Shared with its init; they stay the caller's too.
        log_write_fd: The launcher's from now on: closed once sent.
        cgroup_fd: Folder of the cgroup to be born in, -1 for none; stays the caller's.
        nproc_max: Processes and threads it may have.
    """

    job_id: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    uid: int
    record: bytes
    log_read_fd: int
    log_write_fd: int
    log_memfd: int
    event_fd: int
    cgroup_fd: int = -1
    work_dir: str = ""
    nproc_max: int = 4096


@dataclass(frozen=True, slots=True)
class Launched:
    """
    The job's init exists; its status file tells the rest.

    Args:
        pid: In the supervisor's PID namespace. It is the supervisor's child: reap it with __WALL.
        pidfd: Close-on-exec, for the receiver to close.
    """

    job_id: str
    pid: int
    pidfd: int


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """
    No process came into being, and nothing is left of it.

    Args:
        words: Why, beginning with the kernel's words.
    """

    job_id: str
    errno: int
    words: str


Reply = Launched | LaunchFailed


class ZygoteDied(Exception):
    """The zygote is gone; jobs that run are not affected, new ones cannot be launched."""


class Zygote:
    """
    A running zygote.

    `fd` is readable when `replies` has something to do; it stays the same for life.
    """

    def __init__(self, sock: socket.socket, pid: int, state_dir: str) -> None:
        sock.setblocking(False)
        self._socket = sock
        self.pid = pid
        self._state_dir = state_dir
        self._queue: deque[tuple[bytes, list[int], list[int]]] = deque()
        self._tokens = 0
        self._waiting: dict[int, Callable[[], None]] = {}
        self._removers: dict[int, Callable[[], None]] = {}
        # One descriptor for the caller to watch, whatever it takes here: the socket, and each remover's pidfd.
        self._epoll = select.epoll()
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    @classmethod
    def start(cls, state_dir: str | os.PathLike[str], tree_path: str | os.PathLike[str]) -> "Zygote":
        """
        Start a zygote: before this process has a second thread. Waits until it is ready.

        Args:
            state_dir: Absolute; the folder with run/ and work/.
            tree_path: What `linux.tree.build` made, in this process's mount namespace.

        Raises:
            OSError: It could not be started.
            ZygoteDied: It ended before it was ready, with its words.
            ValueError: No seccomp filter is known for this processor.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        state = os.fspath(state_dir)
        tree = os.fspath(tree_path)
        # -OO and compiled beforehand: docstrings, and what a compiler leaves in the heap, would be copied for each job.
        with contextlib.suppress(OSError):  # an installation nobody may write to is only somewhat slower
            for module in ZYGOTE_MODULES:
                py_compile.compile(str(_SOURCE / module), optimize=2)
        filters = [filter_for(taker) for taker in (Taker.ZYGOTE, Taker.INIT)]
        options = ("-I", "-S", "-E", "-OO", "-X", "utf8")
        argv = [sys.executable, *options, str(_PROGRAM), "--state", state, "--tree", tree]
        try:
            pid = os.posix_spawn(
                sys.executable,
                argv,
                {"LC_ALL": "C"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), _ZYGOTE_FD),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                ],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        with contextlib.suppress(BrokenPipeError):
            for program in filters:
                ours.send(program)
        try:
            hello = ours.recv(_REPLY_BYTES)
        except ConnectionResetError:  # it left a packet unread; what it said comes next
            hello = ours.recv(_REPLY_BYTES)
        if hello != b"ready":
            ours.close()
            os.waitpid(pid, 0)
            raise ZygoteDied(hello.decode(errors="replace") or "the zygote ended while it was starting")
        return cls(ours, pid, state)

    @property
    def fd(self) -> int:
        """For epoll; -1 once closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def launch(self, request: LaunchRequest) -> None:
        """
        Ask for a job. Its `Launched` or `LaunchFailed` comes from `replies`, in the order asked.

        Raises:
            OSError: Not even a memfd could be made; nothing was asked for, and log_write_fd is closed.
        """
        try:
            spec_fd = _memory_with(_encode(request))
        except OSError:
            os.close(request.log_write_fd)
            raise
        fds = [spec_fd, request.log_read_fd, request.log_write_fd, request.log_memfd, request.event_fd]
        if request.cgroup_fd >= 0:
            fds.append(request.cgroup_fd)
        self._send(b"launch " + request.job_id.encode(), fds, [spec_fd, request.log_write_fd])

    def remove_tree(self, path: str | os.PathLike[str], done: Callable[[], None]) -> None:
        """
        Remove a folder with everything in it, following no symbolic link, in a process of its own.

        Args:
            path: Inside the state folder.
            done: Called by `replies` once that process has ended; whether anything is left, the caller may look.
        """
        relative = os.path.relpath(path, self._state_dir)
        assert relative.split(os.sep)[0] not in ("..", "."), path
        self._tokens += 1
        self._waiting[self._tokens] = done
        self._send(b"remove %d %s" % (self._tokens, os.fsencode(relative)), [], [])

    def replies(self) -> list[Reply]:
        """
        What has happened since the last call; call it when `fd` is readable.

        Raises:
            ZygoteDied: It is gone; replies that came before were lost with it only if they are not
                in the status files: init writes its record before anything runs.
        """
        found: list[Reply] = []
        for fd, events in self._epoll.poll(0):
            if fd in self._removers:
                self._removed(fd)
                continue
            if events & select.EPOLLOUT:
                self._flush()
            if events & ~select.EPOLLOUT:
                found += self._receive(found)
        return found

    def close(self) -> None:
        """End the zygote; harmless when it is gone."""
        if self._epoll.closed:
            return
        self._epoll.close()
        self._socket.close()
        for _, _, ours in self._queue:
            _close_all(ours)
        self._queue.clear()
        _close_all(self._removers)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)

    def _send(self, packet: bytes, fds: list[int], ours: list[int]) -> None:
        if not self._queue and self._try(packet, fds):
            _close_all(ours)
            return
        self._queue.append((packet, fds, ours))
        self._epoll.modify(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _try(self, packet: bytes, fds: list[int]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self._socket.sendmsg([packet], rights)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            pass  # `replies` is about to tell
        return True

    def _flush(self) -> None:
        while self._queue:
            packet, fds, ours = self._queue[0]
            if not self._try(packet, fds):
                return
            self._queue.popleft()
            _close_all(ours)
        self._epoll.modify(self._socket.fileno(), select.EPOLLIN)

    def _receive(self, found: list[Reply]) -> list[Reply]:
        replies: list[Reply] = []
        while True:
            try:
                packet, fds, _flags, _address = socket.recv_fds(self._socket, _REPLY_BYTES, _FDS_PER_REPLY)
            except BlockingIOError:
                return replies
            except ConnectionResetError:
                packet, fds = b"", []
            if not packet:
                for reply in found + replies:
                    if isinstance(reply, Launched):
                        os.close(reply.pidfd)
                raise ZygoteDied("the process that launches jobs has ended")
            decoded = self._decode(packet, fds)
            if decoded is not None:
                replies.append(decoded)

    def _decode(self, packet: bytes, fds: list[int]) -> Reply | None:
        kind, name, *rest = packet.decode(errors="replace").split(" ", 3)
        match kind:
            case "launched":
                return Launched(name, int(rest[0]), fds[0])
            case "failed":
                return LaunchFailed(name, int(rest[0]), rest[1])
            case "removing":
                self._removers[fds[0]] = self._waiting.pop(int(name))
                self._epoll.register(fds[0], select.EPOLLIN)
            case "kept":
                self._waiting.pop(int(name))()
            case _:
                raise AssertionError(packet)
        return None

    def _removed(self, pidfd: int) -> None:
        done = self._removers.pop(pidfd)
        self._epoll.unregister(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | WALL)
        os.close(pidfd)
        done()


def _encode(request: LaunchRequest) -> bytes:
    """Fields with a NUL after each: the child that reads it knows nothing but bytes.split. See `init.Spec`."""
    fields = [
        request.job_id.encode(),
        b"%d" % request.uid,
        b"%d" % request.nproc_max,
        os.fsencode(request.work_dir),
        request.record,
        b"%d" % len(request.argv),
        *(os.fsencode(argument) for argument in request.argv),
        *(os.fsencode(f"{name}={value}") for name, value in request.environment.items()),
    ]
    return b"\0".join(fields) + b"\0"


def _memory_with(data: bytes) -> int:
    fd = os.memfd_create("joblet-spec", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        os.close(fd)
        raise
    return fd


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)
