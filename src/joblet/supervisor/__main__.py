"""
Entry point of the supervisor: `python -I -S …/supervisor/__main__.py --state DIR`.

Started by `joblet serve` when none answers, or by a service of its own with --stay. It runs on
the standard library alone, so that the part which runs as root stays small.

Runs in: supervisor. May not: import outside the standard library.
"""

import argparse
import contextlib
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # -I -S: nothing else puts `joblet` there

from joblet import servicemanager
from joblet.logs import options as log_options
from joblet.logs.calls import REAL, Calls
from joblet.logs.system import AsyncLogSystem
from joblet.serverlog import InLines
from joblet.statefolder import StateFolder
from joblet.supervisor.launcher import Zygote, ZygoteDied
from joblet.supervisor.linux import tree
from joblet.supervisor.linux.cgroups.tree import Cgroups, CgroupsUnavailable, open_slice
from joblet.supervisor.linux.pidfd import WALL
from joblet.supervisor.loop import Loop
from joblet.supervisor.recovery import recover
from joblet.supervisor.supervisor import Broken, RestartNeeded, Settings, Supervisor

log = logging.getLogger("joblet.supervisor")
WANTED_DESCRIPTORS: Final = 1_048_576  # a job needs eight


class CannotStart(Exception):
    """Words for whoever started us."""


def main(calls: Calls = REAL) -> int:
    """
    Run until told to end. Returns the exit status.

    Args:
        calls: What logs pass through; others in tests.
    """
    options = _options(sys.argv[1:])
    _log_to_stderr()
    ready = _Ready(options.ready_fd)
    try:
        folder = StateFolder(Path(options.state).resolve())
        folder.create()
        _raise_descriptor_limit()
        lock = _lock(folder.supervisor_lock) if options.lock_fd < 0 else _take_over_lock(options.lock_fd)
        return _run(folder, options, ready, lock, calls)
    except (CannotStart, OSError) as error:
        log.error("supervisor cannot start", {"why": error})
        ready.tell(str(error))
        return 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="joblet supervisor", description="Runs the jobs of one state folder.")
    parser.add_argument("--state", required=True, metavar="DIR")
    parser.add_argument("--cgroups", choices=("required", "auto", "off"), default="auto")
    parser.add_argument("--slice", default="/sys/fs/cgroup/joblet.slice", metavar="DIR")
    parser.add_argument("--cleanup-timeout", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--pids-max", type=int, default=4096, metavar="N")
    log_options.add_arguments(parser)
    parser.add_argument("--stay", action="store_true", help="do not end when no server and no job is left")
    parser.add_argument("--ready-fd", type=int, default=-1, metavar="FD", help="told 'ready', or why it cannot start")
    parser.add_argument("--lock-fd", type=int, default=-1, metavar="FD", help="the lock, held across a start in place")
    return parser.parse_args(arguments)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(InLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Ready:
    """Whoever started us waits for one answer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        if fd >= 0:
            os.set_inheritable(fd, False)

    def tell(self, words: str) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(self._fd, words.encode())
            os.close(self._fd)
            self._fd = -1


def _lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(fd, 32).decode(errors="replace").strip()
        os.close(fd)
        raise CannotStart(f"another supervisor (pid {owner}) runs for {path.parent}") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _raise_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (WANTED_DESCRIPTORS, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            continue
        return


def _run(folder: StateFolder, options: argparse.Namespace, ready: _Ready, lock: int, calls: Calls) -> int:
    settings = Settings(stay=options.stay, cleanup_timeout_s=options.cleanup_timeout, pids_max=options.pids_max)
    try:
        log_settings = log_options.log_settings(options, folder.spill)
    except ValueError as error:
        raise CannotStart(str(error)) from None
    cgroups, limits_enforced, no_cgroups = _cgroups(folder, options)
    zygote, not_isolated = _zygote(folder)
    broken = not_isolated or no_cgroups
    loop = Loop()
    logs = AsyncLogSystem(log_settings, calls=calls)
    supervisor = Supervisor(loop, folder, zygote, logs, cgroups, limits_enforced, broken, settings)
    found = recover(supervisor, cgroups, log_settings.policy)
    listener = _listen(folder)
    # From here on nothing forks in this process, so it may have more than one thread.
    logs.start()
    supervisor.adopt([job for job, _, _ in found])
    for job, status, pidfd in found:
        job.adopted(status, pidfd)
    supervisor.listen(listener)
    _end_on_signals(loop, supervisor)
    log.info(
        "supervising",
        {"state": folder.root, "takenOver": len(found), "limitsEnforced": limits_enforced, "pid": os.getpid()},
    )
    ready.tell("ready")
    servicemanager.notify(servicemanager.READY)
    try:
        loop.run()
    except RestartNeeded as error:
        log.error("supervisor starts over in place", {"why": error})
        _start_over(lock)
    folder.socket.unlink(missing_ok=True)
    logs.close()
    if zygote is not None:
        zygote.close()
    if cgroups is not None:
        cgroups.close()
    os.close(lock)
    return 0


def _start_over(lock: int) -> NoReturn:
    """
    Replace this process by a fresh supervisor that finds the jobs as a successor does, but stays their parent.

    The lock goes along: let go for a moment, it would be taken by the supervisor that a waiting server starts.
    """
    argv = sys.orig_argv
    for option in ("--ready-fd", "--lock-fd"):
        if option in argv:
            at = argv.index(option)
            argv = argv[:at] + argv[at + 2 :]
    os.set_inheritable(lock, True)
    os.execv(sys.executable, [*argv, "--lock-fd", str(lock)])


def _take_over_lock(fd: int) -> int:
    os.set_inheritable(fd, False)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG | WALL) != (0, 0):
            pass  # the zygote that died, and inits that ended meanwhile: their status files tell how
    return fd


def _cgroups(folder: StateFolder, options: argparse.Namespace) -> tuple[Cgroups | None, str, Broken | None]:
    """The cgroups, or why limits are not enforced; where they are required, the words every job is refused with."""
    try:
        opened = open_slice(Path(options.slice), options.cgroups, state_folder=folder.root, pids_max=options.pids_max)
    except CgroupsUnavailable as error:
        log.error("jobs cannot be limited", {"why": error})
        return None, error.explanation, Broken("cgroup", error.words)
    if isinstance(opened, Cgroups):
        return opened, "yes", None
    return None, opened, None


def _zygote(folder: StateFolder) -> tuple[Zygote | None, Broken | None]:
    """The zygote; without privilege none, and the words every job is refused with."""
    try:
        tree.enter_private_mounts()
        tree.build(folder.tree)
        return Zygote.start(folder.root, folder.tree), None
    except OSError as error:
        words = (error.strerror or str(error)).lower()
    except (ZygoteDied, ValueError) as error:  # ValueError: no seccomp filter is known for this processor
        words = str(error)
    log.error("jobs cannot be isolated", {"why": words})
    return None, Broken("isolation", words)


def _listen(folder: StateFolder) -> socket.socket:
    folder.socket.unlink(missing_ok=True)
    folder_fd = os.open(folder.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(folder.socket_address(folder_fd))
    os.close(folder_fd)
    os.chmod(folder.socket, 0o600)
    listener.listen(64)
    return listener


def _end_on_signals(loop: Loop, supervisor: Supervisor) -> None:
    """SIGTERM and SIGINT end every job, then us; they wake the loop through a socket (signal.set_wakeup_fd)."""
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)

    def wake(_events: int, _keep: socket.socket = wakes) -> None:
        woken.recv(64)
        log.info("supervisor asked to end: stopping every job")
        supervisor.go_down()

    loop.watch(woken.fileno(), wake)


if __name__ == "__main__":
    sys.exit(main())
