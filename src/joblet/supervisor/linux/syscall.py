"""
The door to the kernel: libc through ctypes, and one way to say that a call was refused.

Runs in: supervisor, zygote, the child (init). May not: import anything but os and ctypes: every page
of the zygote's memory is copied for every job.
Source: syscall(2); <asm/unistd.h> for the numbers that differ by architecture.
"""

import ctypes
import os

MACHINE = os.uname().machine

# Not CDLL: it would release the interpreter lock around each call, and a forked child would have to take it again.
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
syscall = libc.syscall
_sethostname = libc.sethostname

# Since Linux 5.1 a new call has the same number everywhere.
SYS_CLONE3 = 435
SYS_CLOSE_RANGE = 436
SYS_PIDFD_GETFD = 438
SYS_MOUNT_SETATTR = 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(MACHINE, -1)


def kernel_error(call: str) -> OSError:
    """The error of the libc call that has just failed, which names the call."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), call)


def words(error: BaseException) -> str:
    """What happened, beginning with the kernel's words: "operation not permitted: mount(proc, /proc)"."""
    if not isinstance(error, OSError) or not error.strerror:
        return f"{type(error).__name__}: {error}"
    what = error.filename
    if isinstance(what, bytes):
        what = os.fsdecode(what)
    reason = error.strerror[0].lower() + error.strerror[1:]
    return f"{reason}: {what}" if what else reason


def close_range(first_fd: int, last_fd: int = 0x7FFFFFFF) -> None:
    """
    Close every descriptor from `first_fd` to `last_fd`, open or not.

    Source: close_range(2), Linux 5.9.
    """
    if syscall(SYS_CLOSE_RANGE, first_fd, last_fd, 0):
        raise kernel_error(f"close_range({first_fd}, {last_fd})")


def sethostname(name: bytes) -> None:
    """
    Name this UTS namespace.

    Source: sethostname(2).
    """
    if _sethostname(name, len(name)):
        raise kernel_error(f"sethostname({name.decode()})")
