"""
A process in namespaces of its own, made by clone3(2).

`os.fork` and then unshare(2) cannot do it: a PID namespace begins with the next child only, a cgroup
would have to be entered afterwards (and what was used before is not accounted), and the job would be
our child instead of the supervisor's.

Runs in: zygote. May not: import anything but os and ctypes.
Source: clone3(2), Linux 5.7 for CLONE_INTO_CGROUP; <linux/sched.h> for the constants.
"""

import ctypes

from joblet.supervisor.linux.syscall import SYS_CLONE3, kernel_error, libc, syscall

CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWPID = 0x20000000
CLONE_INTO_CGROUP = 0x200000000

NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID

# struct clone_args, 11 fields of 64 bits, made once: an allocation for each job would touch more of our pages.
_FLAGS, _PIDFD, _EXIT_SIGNAL, _CGROUP, _FIELDS = 0, 1, 4, 10, 11
_arguments = (ctypes.c_uint64 * _FIELDS)()
_arguments_ref = ctypes.byref(_arguments)
_arguments_size = ctypes.c_size_t(ctypes.sizeof(_arguments))
_pidfd = ctypes.c_int(-1)
_arguments[_PIDFD] = ctypes.addressof(_pidfd)
_clone3 = ctypes.c_long(SYS_CLONE3)

_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
_before_fork.restype = _after_fork_parent.restype = _after_fork_child.restype = None


def clone(namespaces: int, cgroup_fd: int = -1) -> tuple[int, int]:
    """
    Fork a child that is our parent's child.

    Args:
        namespaces: CLONE_NEW* flags; 0 for none.
        cgroup_fd: Folder of the cgroup the child is born in; -1 for ours.

    Returns:
        (0, -1) in the child; (pid, pidfd) here, the pidfd close-on-exec and for the caller to close.

    Raises:
        OSError: There is no child. EBUSY: the cgroup may hold no process; EBADF: it is not a cgroup of version 2.
    """
    flags = namespaces | CLONE_PARENT | CLONE_PIDFD
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
        _arguments[_CGROUP] = cgroup_fd
    else:
        _arguments[_CGROUP] = 0
    _arguments[_FLAGS] = flags
    # With CLONE_PARENT the kernel takes our own exit signal for the child's and refuses any other value.
    _arguments[_EXIT_SIGNAL] = 0
    _before_fork()
    pid: int = syscall(_clone3, _arguments_ref, _arguments_size)
    if pid == 0:
        _after_fork_child()
        return 0, -1
    error = kernel_error(f"clone3(flags={flags:#x}, cgroup={cgroup_fd})") if pid < 0 else None
    _after_fork_parent()
    if error is not None:
        raise error
    return pid, _pidfd.value


def enter_cgroup_namespace() -> None:
    """
    Make the cgroup this process is in the root of what it and its children see.

    Not one of clone3's flags: the namespace would be rooted where the caller is (copy_cgroup_ns looks at `current`),
    and with CLONE_INTO_CGROUP the child is elsewhere: the job would read a path out of its own root.

    Source: cgroup_namespaces(7).
    """
    if libc.unshare(CLONE_NEWCGROUP):
        raise kernel_error("unshare(CLONE_NEWCGROUP)")
