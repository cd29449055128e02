"""
Processes by descriptor: what the standard library's `os.pidfd_open` and `signal.pidfd_send_signal` leave out.

Runs in: supervisor. May not: import outside the standard library.
"""

from ctypes import c_int, c_long, c_uint
from typing import Final

from joblet.supervisor.linux.syscall import SYS_PIDFD_GETFD, kernel_error, syscall

# <linux/wait.h> __WALL: without it, waiting does not see a child that was made with exit signal 0, as a job's init is.
WALL: Final = 0x40000000


def pidfd_getfd(pidfd: int, target_fd: int) -> int:
    """
    Copy a descriptor out of another process.

    A new supervisor takes a running job's log pipe back this way: the job's init keeps the read end open for it.

    Args:
        pidfd: The process that holds the descriptor.
        target_fd: Its number over there, not here.

    Returns:
        A new descriptor, close-on-exec, for the caller to close.

    Raises:
        ProcessLookupError: The process is gone, and unread output with it; the status file still tells its end.
        PermissionError: We may not trace it (PTRACE_MODE_ATTACH_REALCREDS).
        OSError: EBADF: it has no such descriptor (a process that is about to be gone has none).

    Source: pidfd_getfd(2), Linux 5.6.
    """
    fd: int = syscall(c_long(SYS_PIDFD_GETFD), c_int(pidfd), c_int(target_fd), c_uint(0))
    if fd < 0:
        raise kernel_error(f"pidfd_getfd(pidfd={pidfd}, target_fd={target_fd})")
    return fd
