"""
What a process may still do: capabilities, and the switches of prctl(2).

Runs in: zygote, the child (init). May not: import anything but ctypes.
Source: capabilities(7), capset(2), prctl(2); <linux/capability.h>, <linux/prctl.h> for the constants.
"""

import ctypes

from joblet.supervisor.linux.syscall import kernel_error, libc

CAP_KILL = 5
CAP_SYS_RESOURCE = 24

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

_prctl = libc.prctl
_capset = libc.capset
_header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
_header_ref = ctypes.byref(_header)
# effective, permitted, inheritable of capabilities 0-31, then the same of 32-63
_sets = (ctypes.c_uint32 * 6)()
_sets_ref = ctypes.byref(_sets)


def keep_capabilities(mask: int) -> None:
    """
    Give up every capability but those whose bits are set (all below 32), for good; nothing is inheritable.

    Source: capset(2).
    """
    _sets[0] = _sets[1] = mask
    _sets[2] = _sets[3] = _sets[4] = _sets[5] = 0
    if _capset(_header_ref, _sets_ref):
        raise kernel_error(f"capset({mask:#x})")


def has_capability(capability: int) -> bool:
    """
    Whether this process could use a capability (below 32); root of a container often lacks some.

    Source: capset(2), capget; the permitted set.
    """
    if libc.capget(_header_ref, _sets_ref):
        raise kernel_error("capget()")
    return bool(_sets[1] >> capability & 1)


def drop_bounding_set() -> None:
    """
    No program that we or our children execute can ever gain a capability, whatever its file says.

    Source: capabilities(7), "Capability bounding set"; the kernel answers EINVAL past the last it knows.
    """
    for capability in range(64):
        if _prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) < 0:
            return
        if _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise kernel_error(f"prctl(PR_CAPBSET_DROP, {capability})")


def forbid_new_privileges() -> None:
    """
    Set-user-ID programs run without their privilege from here on, also in children.

    Source: prctl(2), PR_SET_NO_NEW_PRIVS, Linux 3.5.
    """
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise kernel_error("prctl(PR_SET_NO_NEW_PRIVS)")


def hide() -> None:
    """
    Nobody without CAP_SYS_PTRACE may look into this process: no ptrace, no /proc/PID/{mem,root,fd,exe,environ}.

    Without it a fully restricted job opens /proc/1/mem and walks /proc/1/root, since init shares its user namespace.

    Source: prctl(2), PR_SET_DUMPABLE; ptrace(2), "Ptrace access mode checking".
    """
    if _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise kernel_error("prctl(PR_SET_DUMPABLE)")


_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2


class Filter:
    """
    A seccomp filter, ready to be taken.

    Args:
        instructions: From `seccomp.filter_for`.
    """

    __slots__ = ("_address", "_instructions", "_program")

    def __init__(self, instructions: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        # struct sock_fprog: a 16-bit count, padding, a pointer.
        self._program = (ctypes.c_uint64 * 2)(len(instructions) // 8, ctypes.addressof(self._instructions))
        self._address = ctypes.c_void_p(ctypes.addressof(self._program))

    def take(self) -> None:
        """
        Filter our own calls, and our children's, from here on; needs `forbid_new_privileges` before.

        Source: prctl(2), PR_SET_SECCOMP, Linux 3.5.
        """
        if _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._address, 0, 0):
            raise kernel_error("prctl(PR_SET_SECCOMP)")


RLIMIT_CORE = 4
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7

_setrlimit = libc.setrlimit
_limit = (ctypes.c_uint64 * 2)()
_limit_ref = ctypes.byref(_limit)


def limit(resource: int, soft: int, hard: int) -> None:
    """
    Set a resource limit of this process; its children inherit it.

    Not the resource module: it is a shared library of its own, one more to map for each job.

    Source: setrlimit(2).
    """
    _limit[0], _limit[1] = soft, hard
    if _setrlimit(resource, _limit_ref):
        raise kernel_error(f"setrlimit({resource}, {soft}, {hard})")


def hard_limit(resource: int) -> int:
    """
    How far a process may raise a limit without CAP_SYS_RESOURCE.

    Source: getrlimit(2).
    """
    if libc.getrlimit(resource, _limit_ref):
        raise kernel_error(f"getrlimit({resource})")
    return _limit[1]


_RUSAGE_CHILDREN = -1
_getrusage = libc.getrusage
_usage = (ctypes.c_long * 18)()
_usage_ref = ctypes.byref(_usage)


def children_usage() -> tuple[int, int, int]:
    """
    What every child that was waited for has used, with theirs: user us, system us, largest resident set in bytes.

    Source: getrusage(2), RUSAGE_CHILDREN.
    """
    if _getrusage(_RUSAGE_CHILDREN, _usage_ref):
        raise kernel_error("getrusage(RUSAGE_CHILDREN)")
    return _usage[0] * 1_000_000 + _usage[1], _usage[2] * 1_000_000 + _usage[3], _usage[4] * 1024
