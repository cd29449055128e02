"""
The first process of a job: sets up its world, starts the command, reaps, and tells the end.

    set_up ──► place descriptors ─► record ─► still wanted? ─► mounts ─► name ─► privileges
    run    ──► starting ─► start the command ─► last privileges ─► PID 1 loop ─► kill the rest ─► exited ─► wait

It never exits by itself once the command has been started: it holds the log's pipe and memory until
the supervisor, or its successor, has all of it on disk and kills it.

Runs in: the child, from clone3 on. May not: import anything but os, _signal and our own doors to the
kernel; return to the zygote's loop; write to any descriptor of the zygote.
"""

import errno
import os
import time
from _signal import (  # type: ignore[import-not-found]  # signal itself imports enum, 0.3 MB
    SIGCHLD,
    SIGKILL,
    SIGTERM,
    sigwaitinfo,
)
from _socket import MSG_DONTWAIT, MSG_PEEK, socket

from joblet.supervisor.descriptors import (
    FD_EVENT,
    FD_FIRST_OTHER,
    FD_LOG_MEMORY,
    FD_LOG_READ,
    FD_LOG_WRITE,
    FD_OOM_SCORE,
    FD_STATUS,
)
from joblet.supervisor.linux.clone import enter_cgroup_namespace
from joblet.supervisor.linux.mounts import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
    mount,
    umount,
)
from joblet.supervisor.linux.privileges import (
    CAP_KILL,
    CAP_SYS_RESOURCE,
    RLIMIT_NPROC,
    Filter,
    children_usage,
    has_capability,
    hide,
    keep_capabilities,
    limit,
)
from joblet.supervisor.linux.syscall import close_range, sethostname, words

DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
NOT_FOUND = 127
NOT_EXECUTABLE = 126
OOM_SCORE_OF_INIT = b"-1000"
TMP_OPTIONS = b"mode=1777,size=1g,nr_inodes=256k"
SHM_OPTIONS = b"mode=1777,size=256m,nr_inodes=16k"
PTS_OPTIONS = b"newinstance,ptmxmode=0666,mode=0620"
EMPTY_FOLDER = b"/sys"
STATE_AT = b"/proc"

# Masked: what tells about the machine or acts on it. Most of it is root's alone, and a job's uid is not root's; the
# mask holds should a job ever be given more.
MASKED_FILES = (
    b"kcore",
    b"keys",
    b"key-users",
    b"kmsg",
    b"kpagecgroup",
    b"kpagecount",
    b"kpageflags",
    b"latency_stats",
    b"sched_debug",
    b"sysrq-trigger",
    b"timer_list",
    b"timer_stats",
)
MASKED_FOLDERS = (b"acpi", b"scsi")
READ_ONLY_FOLDERS = (b"bus", b"fs", b"irq", b"sys")

# A record may be longer, but is not written here; a command's name of 100 KB need not be repeated in its end.
_LONGEST_LINE = 3000
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_RETRY_S = 0.2
_CHILD_OR_STOP = (SIGCHLD, SIGTERM)
_NO_SIGNALS = ()
_KILL = 1 << CAP_KILL
# Descriptors of ours are close-on-exec, so these are all the command has.
_FILE_ACTIONS = (
    (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0),
    (os.POSIX_SPAWN_DUP2, FD_LOG_WRITE, 1),
    (os.POSIX_SPAWN_DUP2, FD_LOG_WRITE, 2),
)


def proc_covers(proc: str) -> "tuple[tuple[bytes, bytes, int], ...]":
    """
    The (source, target, flags) to mount over a job's /proc, of what this kernel has.

    Args:
        proc: A /proc to look at; the kernel's build decides what is in it, so it is looked at once.
    """
    there = {os.fsencode(name) for name in os.listdir(proc)}
    covers = [(b"/dev/null", b"/proc/" + name, MS_BIND) for name in MASKED_FILES if name in there]
    covers += [(EMPTY_FOLDER, b"/proc/" + name, MS_BIND) for name in MASKED_FOLDERS if name in there]
    for name in READ_ONLY_FOLDERS:
        if name in there:
            path = b"/proc/" + name
            covers.append((path, path, MS_BIND))
            covers.append((path, path, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC))
    return tuple(covers)


class Spec:
    """What the supervisor wants; see `launcher._encode`."""

    __slots__ = ("argv", "environment", "job_id", "nproc_max", "record", "uid", "work_dir")

    def __init__(self, data: bytes) -> None:
        fields = data.split(b"\0")
        self.job_id, uid, nproc_max, self.work_dir, self.record, count = fields[:6]
        self.uid = int(uid)
        self.nproc_max = int(nproc_max)
        end = 6 + int(count)
        self.argv = fields[6:end]
        # The last field is what follows the last NUL: nothing.
        self.environment = {}
        for field in fields[end:-1]:
            name, _, value = field.partition(b"=")
            self.environment[name] = value


class CannotExecute(Exception):
    """
    The command, not the job's world, is what is wrong: the job ends with `code`, its reason in its log.
    """

    def __init__(self, code: int, reason: bytes) -> None:
        self.code = code
        self.reason = reason


class Birth:
    """
    What the zygote hands to each child, made once.

    Args:
        control: Its socket to the supervisor; its other end closes when the supervisor dies.
        proc_fd: The host's /proc: the one place where a process finds out its number outside its namespace.
        covers: From `proc_covers`.
    """

    __slots__ = ("control", "covers", "filter", "oom_capability", "proc_fd")

    def __init__(
        self, control: socket, proc_fd: int, covers: "tuple[tuple[bytes, bytes, int], ...]", last: Filter
    ) -> None:
        self.control = control
        self.proc_fd = proc_fd
        self.covers = covers
        self.filter = last
        # Without it (root in a container) the kernel's choice stands, and that is rarely the small init.
        self.oom_capability = 1 << CAP_SYS_RESOURCE if has_capability(CAP_SYS_RESOURCE) else 0


def main(birth: Birth, fds: "list[int]") -> None:
    """Live as a job's init. Never returns."""
    recorded = False
    try:
        spec = _place_descriptors(birth, fds)
        recorded = True
        _check_wanted(birth)
        enter_cgroup_namespace()
        close_range(FD_FIRST_OTHER)
        _mount_all(birth, spec)
        sethostname(spec.job_id.partition(b"-")[0])
        _start_and_serve(birth, spec)
    except BaseException as error:
        number = getattr(error, "errno", None) or errno.EIO
        if recorded:
            _append(b"failed %d %s" % (number, words(error).encode(errors="replace")))
            number = 1
        os._exit(number)


def _place_descriptors(birth: Birth, fds: "list[int]") -> Spec:
    """First of all, since only a job with a status file can tell what went wrong."""
    spec_fd, log_read, log_write, log_memory, event = fds[:5]
    spec = Spec(os.pread(spec_fd, os.fstat(spec_fd).st_size, 0))
    # The zygote keeps these numbers occupied, so none of ours can be among the numbers received.
    os.dup2(log_read, FD_LOG_READ, False)
    os.dup2(log_memory, FD_LOG_MEMORY, False)
    os.dup2(event, FD_EVENT, False)
    os.dup2(log_write, FD_LOG_WRITE, False)
    # Standard output and error were the zygote's: a terminal's or a pipe's other end would wait for us to end.
    os.dup2(0, 1, False)
    os.dup2(0, 2, False)
    # O_EXCL: two jobs with one id must not share a record.
    status = os.open(b"run/" + spec.job_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(status, FD_STATUS, False)
    pid = os.readlink("self", dir_fd=birth.proc_fd)
    os.write(FD_STATUS, b"record %s %s\n" % (pid.encode(), spec.record))
    if birth.oom_capability:
        oom_score = os.open(pid + "/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC, dir_fd=birth.proc_fd)
        os.dup2(oom_score, FD_OOM_SCORE, False)
    return spec


def _check_wanted(birth: Birth) -> None:
    """
    Go no further for a supervisor that is dead.

    After the record, so that each job either is found by the successor through it, or never runs.
    """
    try:
        if not birth.control.recv(1, MSG_PEEK | MSG_DONTWAIT):
            raise OSError(errno.ESRCH, "the supervisor was killed while the job was being set up")
    except BlockingIOError:
        pass


def _mount_all(birth: Birth, spec: Spec) -> None:
    # The working directory is the state folder, mounted on STATE_AT: clone3 moved it into our copy of the mounts.
    work = b"work/" + spec.job_id
    os.mkdir(work, 0o700)
    os.chown(work, spec.uid, spec.uid)
    mount(work, b"/work", None, MS_BIND)
    # Gone before anything of the job runs: no process can be asked to unmount what is not there.
    os.chdir("/")
    umount(STATE_AT)
    quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount(b"proc", b"/proc", b"proc", quiet)
    for source, target, flags in birth.covers:
        mount(source, target, None, flags)
    mount(b"tmp", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, TMP_OPTIONS)
    mount(b"shm", b"/dev/shm", b"tmpfs", quiet, SHM_OPTIONS)
    mount(b"pts", b"/dev/pts", b"devpts", MS_NOSUID | MS_NOEXEC, PTS_OPTIONS)


def _start_and_serve(birth: Birth, spec: Spec) -> None:
    unable = None
    try:
        # With all capabilities still: its own work folder is closed to root without CAP_DAC_OVERRIDE.
        os.chdir(spec.work_dir or b"/work")
    except OSError as error:
        unable = CannotExecute(NOT_EXECUTABLE, b"cannot start in " + spec.work_dir + b": " + _reason(error))
    limit(RLIMIT_NPROC, spec.nproc_max, spec.nproc_max)
    # Real ids only: posix_spawn's resetids makes them the command's effective ones, and exec then the saved ones,
    # so that all are the job's and exec leaves it no capability. A child of fork could set them itself, but costs
    # 1 ms more than posix_spawn.
    os.setresgid(spec.uid, 0, 0)
    os.setresuid(spec.uid, 0, 0)
    # The second one, CAP_SYS_RESOURCE, is for the lowered oom_score_adj below, which the command must not inherit.
    keep_capabilities(_KILL | birth.oom_capability)
    hide()
    birth.filter.take()
    started_ns = time.time_ns()
    # Not told: only a successor that finds no init any more wants to know.
    _write(b"starting %d" % started_ns)
    command = 0
    if unable is None:
        try:
            command = _spawn(spec)
        except CannotExecute as error:
            unable = error
    # While the real id was the job's, the command could have sent us signals; PID 1 takes none that it does not wait
    # for, and the loop below looks who sent SIGTERM.
    os.setresuid(0, 0, 0)
    os.setresgid(0, 0, 0)
    if birth.oom_capability:
        os.write(FD_OOM_SCORE, OOM_SCORE_OF_INIT)
        keep_capabilities(_KILL)
    _append(b"running %d" % started_ns)
    failure = b""
    if unable is not None:
        failure = b" " + unable.reason
        os.write(FD_LOG_WRITE, b"joblet: " + unable.reason + b"\n")
    # Ours would keep the log from ever ending.
    os.close(FD_LOG_WRITE)
    if birth.oom_capability:
        os.close(FD_OOM_SCORE)
    # A job with 100,000 arguments would keep them here for its whole life.
    del spec.argv, spec.environment
    status = unable.code << 8 if unable is not None else _serve(command)
    _kill_the_rest()
    user_us, system_us, max_rss_bytes = children_usage()
    _append(b"exited %d %d %d %d %d%s" % (status, user_us, system_us, max_rss_bytes, time.time_ns(), failure))
    while True:
        sigwaitinfo(_CHILD_OR_STOP)


def _spawn(spec: Spec) -> int:
    """Start the command, looked up as execvp(3) does, in the job's own PATH and tree."""
    name = spec.argv[0]
    if b"/" in name:
        candidates = [name]
    else:
        folders = spec.environment.get(b"PATH", DEFAULT_PATH).split(b":")
        candidates = [(folder or b".") + b"/" + name for folder in folders]
    refusal = None
    for path in candidates:
        # With the real ids, so with the job's eyes. Each vain posix_spawn would cost a process.
        if not os.access(path, os.F_OK):
            continue
        try:
            return os.posix_spawn(
                path,
                spec.argv,
                spec.environment,
                file_actions=_FILE_ACTIONS,
                resetids=True,
                setsid=True,
                setsigmask=_NO_SIGNALS,
            )
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOMEM):
                raise
            if error.errno == errno.ENOENT:
                refusal = refusal or b"its interpreter was not found"
            elif error.errno in (errno.EACCES, errno.ENOTDIR):
                refusal = refusal or _reason(error)
            else:
                refusal = _reason(error)
                break
    if refusal is None:
        raise CannotExecute(NOT_FOUND, b"command not found: " + name)
    raise CannotExecute(NOT_EXECUTABLE, b"cannot execute " + name + b": " + refusal)


def _reason(error: OSError) -> bytes:
    reason = error.strerror or str(error)
    return (reason[0].lower() + reason[1:]).encode()


def _serve(command: int) -> int:
    """
    Be PID 1 until the command has ended.

    Returns:
        Its wait status.
    """
    while True:
        info = sigwaitinfo(_CHILD_OR_STOP)
        if info.si_signo == SIGTERM:
            # 0: a process outside the namespace, and only the supervisor knows of us there.
            if info.si_pid == 0:
                os.killpg(command, SIGTERM)
                # Not before: the supervisor counts the grace from this line on.
                _append(b"stopping %d" % time.time_ns())
            continue
        # One SIGCHLD may stand for many children.
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == command:
                # Not later: there may be no child left, and its number is free for the next process.
                return status
            if pid == 0:
                break


def _kill_the_rest() -> None:
    """
    End every other process of the namespace.

    Once is enough: fork(2) fails in a process that has a SIGKILL waiting, so none escapes by being born meanwhile.
    """
    try:
        os.kill(-1, SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _append(line: bytes) -> None:
    """A line, and word to the supervisor that it is there."""
    _write(line)
    os.eventfd_write(FD_EVENT, 1)


def _write(line: bytes) -> None:
    """
    One write, so that a line is whole or, for a reader, not there yet.

    A full disk takes less or nothing: an end that is not told would be a job that never ends, so it is tried again.
    """
    left = line[:_LONGEST_LINE].replace(b"\n", b" ") + b"\n"
    while left:
        try:
            left = left[os.write(FD_STATUS, left) :]
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            time.sleep(_RETRY_S)
