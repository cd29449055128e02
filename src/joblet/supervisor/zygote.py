"""
The zygote: a small process of one thread that forks each job's init, and nothing else.

Its size is the launch time: the kernel copies its page tables for every job, and then each page either
side writes to. So it imports next to nothing, is sent what takes code to work out (the filters), and
lives in the template tree: its mount namespace *is* what a job needs, so clone3 copies the tree, and
there is nothing to attach, pivot or detach in the child.

    supervisor's mounts:  host … + the template tree
    zygote's mounts:      the template tree, the state folder on /proc (and its working directory)
    a job's mounts:       a copy of that; /proc is then its own, /work its folder

Runs in: zygote. May not: start a thread, import anything but os, C modules and our own doors to the kernel.
Source: clone3(2), unix(7); `launcher.py` draws the packets.
"""

import gc
import os
import sys
from _signal import (  # type: ignore[import-not-found]  # signal itself imports enum, 0.3 MB
    SIG_BLOCK,
    SIG_DFL,
    SIGKILL,
    SIGSTOP,
    pthread_sigmask,
    signal,
    valid_signals,
)
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket

from joblet.supervisor import init
from joblet.supervisor.descriptors import FD_FIRST_OTHER
from joblet.supervisor.linux.clone import CLONE_NEWNS, NEW_NAMESPACES, clone
from joblet.supervisor.linux.mounts import MS_BIND, MS_NODEV, MS_NOSUID, MS_REMOUNT, enter, make_private, mount, umount
from joblet.supervisor.linux.privileges import (
    CAP_SYS_RESOURCE,
    RLIMIT_CORE,
    RLIMIT_NOFILE,
    Filter,
    drop_bounding_set,
    forbid_new_privileges,
    hard_limit,
    has_capability,
    limit,
)
from joblet.supervisor.linux.syscall import close_range, kernel_error, libc, words
from joblet.supervisor.removal import remove_tree

_REQUEST_BYTES = 8192
_FILTER_BYTES = 4096
_MAX_FDS = 6
_CGROUP = 5  # place of the cgroup's folder among the descriptors of a launch
_ANCILLARY_BYTES = CMSG_SPACE(_MAX_FDS * 4)
_OPEN_FILES_SOFT, _OPEN_FILES_HARD = 1024, 65536
_FD_CONTROL = 3


def main(state: str, tree: str) -> None:
    """Serve until the supervisor closes its end, which it does by dying at the latest."""
    control = _move_control()
    try:
        birth = _prepare(control, state, tree)
    except BaseException as error:
        control.send(words(error).encode(errors="replace"))
        return
    # What exists now stays for ever: a collection would write to every page of it, in each child anew.
    gc.disable()
    gc.collect()
    gc.freeze()
    control.send(b"ready")
    # The supervisor may die at any moment; what it had asked for before comes to nothing (see `init._check_wanted`).
    try:  # noqa: SIM105
        _serve(birth)
    except BrokenPipeError:
        pass


def _serve(birth: init.Birth) -> None:
    control = birth.control
    while True:
        packet, ancillary, _flags, _address = control.recvmsg(_REQUEST_BYTES, _ANCILLARY_BYTES, MSG_CMSG_CLOEXEC)
        if not packet:
            return
        kind, _, rest = packet.partition(b" ")
        if kind == b"launch":
            _launch(birth, rest, _descriptors(ancillary))
        else:
            token, _, path = rest.partition(b" ")
            _remove(control, token, path)


def _move_control() -> socket:
    """Only 0, 1, 2 and the socket stay; the numbers a child will put its own descriptors at are occupied."""
    close_range(_FD_CONTROL + 1)
    # None that is received later can then be among them.
    for fd in range(_FD_CONTROL + 1, FD_FIRST_OTHER):
        os.dup2(0, fd, False)
    control = socket(fileno=os.dup(_FD_CONTROL))
    os.dup2(0, _FD_CONTROL, False)
    return control


def _prepare(control: socket, state: str, tree: str) -> init.Birth:
    # A job must not find the terminal that the supervisor was started from behind /dev/tty.
    os.setsid()
    os.umask(0o022)
    os.setgroups(())
    # Children inherit all of this: done once instead of for each job.
    # Python ignores SIGPIPE, and nohup SIGHUP; a command is to find every signal as a login shell would.
    for number in valid_signals() - {SIGKILL, SIGSTOP}:
        signal(number, SIG_DFL)
    pthread_sigmask(SIG_BLOCK, valid_signals())
    limit(RLIMIT_CORE, 0, 0)
    open_files = (
        _OPEN_FILES_HARD if has_capability(CAP_SYS_RESOURCE) else min(_OPEN_FILES_HARD, hard_limit(RLIMIT_NOFILE))
    )
    limit(RLIMIT_NOFILE, min(_OPEN_FILES_SOFT, open_files), open_files)
    drop_bounding_set()
    forbid_new_privileges()
    proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _reset_oom_score()
    covers = init.proc_covers("/proc")
    _enter_tree(state.encode(), tree.encode())
    Filter(control.recv(_FILTER_BYTES)).take()
    last = Filter(control.recv(_FILTER_BYTES))
    _rehearse()
    return init.Birth(control, proc_fd, covers, last)


def _reset_oom_score() -> None:
    """A command starts with 0, however precious the supervisor is."""
    oom_score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    # Not contextlib.suppress: the module would be copied for each job.
    try:  # noqa: SIM105
        os.write(oom_score, b"0")
    except PermissionError:
        pass  # lower than what a container's root was given: it stays above 0, which is no advantage
    os.close(oom_score)


def _rehearse() -> None:
    """
    Do once for all what the interpreter does on a first call: it fills its caches of attributes, which would cost
    each child the copy of the pages they lie on (800 kB for each init became 740).
    """
    for _ in range(16):
        init.Spec(b"id\0001\0001\0/\0record\0001\0true\0A=b\0")
        mount(b"tmp", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, init.TMP_OPTIONS)
        umount(b"/tmp")
        limit(RLIMIT_CORE, 0, 0)
        close_range(1 << 20)


def _enter_tree(state: bytes, tree: bytes) -> None:
    if libc.unshare(CLONE_NEWNS):
        raise kernel_error("unshare(CLONE_NEWNS)")
    make_private()
    mount(state, tree + init.STATE_AT, None, MS_BIND)
    mount(None, tree + init.STATE_AT, None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV)
    enter(tree)
    os.chdir(init.STATE_AT)


def _launch(birth: init.Birth, job_id: bytes, fds: "list[int]") -> None:
    try:
        pid, pidfd = clone(NEW_NAMESPACES, fds[_CGROUP] if len(fds) > _CGROUP else -1)
        if pid == 0:
            init.main(birth, fds)
    except OSError as error:
        birth.control.send(b"failed %s %d %s" % (job_id, error.errno or 0, words(error).encode(errors="replace")))
    else:
        _send(birth.control, b"launched %s %d" % (job_id, pid), pidfd)
    for fd in fds:
        os.close(fd)


def _remove(control: socket, token: bytes, path: bytes) -> None:
    """In a process of its own: a job may have left a million files, and the next launch shall not wait for them."""
    try:
        pid, pidfd = clone(0)
        if pid == 0:
            try:
                remove_tree(path)
            finally:
                os._exit(0)
    except OSError as error:
        control.send(b"kept %s %d %s" % (token, error.errno or 0, words(error).encode(errors="replace")))
    else:
        _send(control, b"removing " + token, pidfd)


def _send(control: socket, packet: bytes, fd: int) -> None:
    control.sendmsg((packet,), ((SOL_SOCKET, SCM_RIGHTS, fd.to_bytes(4, sys.byteorder)),))
    os.close(fd)


def _descriptors(ancillary: "list[tuple[int, int, bytes]]") -> "list[int]":
    found = []
    for _level, _kind, data in ancillary:
        for at in range(0, len(data), 4):
            found.append(int.from_bytes(data[at : at + 4], sys.byteorder))
    return found
