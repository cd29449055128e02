"""
Which system calls a job is refused: one table, and the assembler that makes a kernel filter of it.

A job has no capability, so the kernel refuses most of these anyway. The filter is the second wall: a
flaw behind one of these calls is out of a job's reach. It is a deny-list, so programs that use new
harmless calls keep working.

There are two filters. The zygote takes the first for itself and every child, once: what neither it nor
init ever calls. Each init takes the second, small one, when its own mounting is done: a filter of
every row cost each launch the time in which the kernel evaluates it for each of its 470 calls.

Runs in: supervisor (the zygote is sent the finished filters). May not: import outside the standard library.
Source: seccomp(2), bpf(4) of the BSDs for the machine; <linux/seccomp.h>, <linux/filter.h>, <linux/audit.h>.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Taker(Enum):
    """Who takes the filter that a call is in."""

    ZYGOTE = "nothing of ours calls it"
    INIT = "the zygote or init calls it before the command is started"


@dataclass(frozen=True, slots=True)
class Denied:
    """
    One refused call.

    Args:
        x86_64, aarch64: Its number there; -1 where it does not exist.
        code: The errno it is answered with.
    """

    name: str
    x86_64: int
    aarch64: int
    reason: str
    taker: Taker = Taker.ZYGOTE
    code: int = errno.EPERM


_Z, _I = Taker.ZYGOTE, Taker.INIT

DENIED: Final[Sequence[Denied]] = (
    Denied("mount", 165, 40, "would change what the job's tree hides", _I),
    Denied("umount2", 166, 39, "would uncover what is masked in /proc", _I),
    Denied("pivot_root", 155, 41, "would leave the job's tree", _I),
    Denied("chroot", 161, 51, "the first step of the classic way out of a tree"),
    Denied("open_tree", 428, 428, "new mount API", _I),
    Denied("move_mount", 429, 429, "new mount API", _I),
    Denied("fsopen", 430, 430, "new mount API; CVE-2022-0185 was behind it"),
    Denied("fsconfig", 431, 431, "new mount API; CVE-2022-0185 was behind it"),
    Denied("fsmount", 432, 432, "new mount API"),
    Denied("fspick", 433, 433, "new mount API"),
    Denied("mount_setattr", 442, 442, "would make a read-only mount writable", _I),
    Denied("open_tree_attr", 467, 467, "new mount API"),
    Denied(
        "unshare", 272, 97, "a user namespace gives every capability inside it, and so the kernel's whole surface", _I
    ),
    Denied("setns", 308, 268, "would enter another job's namespaces"),
    Denied(
        "clone3",
        435,
        435,
        "its flags are in memory a filter cannot read; ENOSYS makes libc use clone",
        _I,
        errno.ENOSYS,
    ),
    Denied("bpf", 321, 280, "loads programs into the kernel"),
    Denied("add_key", 248, 217, "keyrings are not namespaced"),
    Denied("request_key", 249, 218, "keyrings are not namespaced, and it starts a program of the host"),
    Denied("keyctl", 250, 219, "keyrings are not namespaced"),
    Denied("io_uring_setup", 425, 425, "does what this filter refuses without a system call"),
    Denied("io_uring_enter", 426, 426, "as io_uring_setup"),
    Denied("io_uring_register", 427, 427, "as io_uring_setup"),
    Denied("ptrace", 101, 117, "would look into other processes; a tracer can rewrite a call after it was filtered"),
    Denied("process_vm_readv", 310, 270, "reads another process's memory"),
    Denied("process_vm_writev", 311, 271, "writes another process's memory"),
    Denied("process_madvise", 440, 440, "acts on another process's memory"),
    Denied("pidfd_getfd", 438, 438, "takes another process's descriptors"),
    Denied("kcmp", 312, 272, "compares kernel addresses of two processes"),
    Denied("kexec_load", 246, 104, "replaces the running kernel"),
    Denied("kexec_file_load", 320, 294, "replaces the running kernel"),
    Denied("init_module", 175, 105, "loads code into the kernel"),
    Denied("finit_module", 313, 273, "loads code into the kernel"),
    Denied("delete_module", 176, 106, "removes code from the kernel"),
    Denied("create_module", 174, -1, "loads code into the kernel"),
    Denied("perf_event_open", 298, 241, "sees other jobs through counters, and has a long list of CVEs"),
    Denied("userfaultfd", 323, 282, "stops the kernel in the middle of a copy, which exploits of races need"),
    Denied("reboot", 169, 142, "ends the machine, or this PID namespace unnoticed"),
    Denied("swapon", 167, 224, "changes the machine's memory"),
    Denied("swapoff", 168, 225, "changes the machine's memory"),
    Denied("open_by_handle_at", 304, 265, "opens any file of a file system by number (the 'shocker' escape)"),
    Denied("name_to_handle_at", 303, 264, "tells the numbers that open_by_handle_at takes"),
    Denied("quotactl", 179, 60, "changes quotas of the host's file systems"),
    Denied("quotactl_fd", 443, 443, "changes quotas of the host's file systems"),
    Denied("acct", 163, 89, "turns the machine's process accounting on or off"),
    Denied("settimeofday", 164, 170, "the clock is the machine's"),
    Denied("clock_settime", 227, 112, "the clock is the machine's"),
    Denied("clock_adjtime", 305, 266, "the clock is the machine's"),
    Denied("adjtimex", 159, 171, "the clock is the machine's"),
    Denied("sethostname", 170, 161, "the name is the job's id", _I),
    Denied("setdomainname", 171, 162, "as sethostname"),
    Denied("syslog", 103, 116, "the kernel's log is the machine's"),
    Denied("lookup_dcookie", 212, 18, "a profiler's call that shows paths of the host"),
    Denied("move_pages", 279, 239, "acts on another process's memory"),
    Denied("migrate_pages", 256, 238, "acts on another process's memory"),
    Denied("vhangup", 153, 58, "hangs up a terminal"),
    Denied("iopl", 172, -1, "direct access to hardware"),
    Denied("ioperm", 173, -1, "direct access to hardware"),
    Denied("modify_ldt", 154, -1, "for 16-bit code; CVE-2015-5157"),
    Denied("uselib", 134, -1, "obsolete; CVE-2004-1235"),
    Denied("ustat", 136, -1, "obsolete; shows the host's devices"),
    Denied("sysfs", 139, -1, "obsolete; lists the kernel's file systems"),
    Denied("_sysctl", 156, -1, "obsolete way into /proc/sys"),
    Denied("nfsservctl", 180, 42, "obsolete; the kernel's NFS server"),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """
    One call that is refused for some arguments only. Arguments are compared in their lower 32 bits.

    Args:
        argument: Its index.
        bits: Refused when any of these bits is set; 0 for not this way.
        values: Refused when it is one of these.
        allowed: Refused when it is none of these; empty for not this way.
    """

    name: str
    x86_64: int
    aarch64: int
    reason: str
    argument: int
    bits: int = 0
    values: tuple[int, ...] = ()
    allowed: tuple[int, ...] = ()
    taker: Taker = Taker.ZYGOTE


CHECKED: Final[Sequence[Checked]] = (
    # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME's bit is part of the exit signal in this call.
    Checked("clone", 56, 220, "makes namespaces, as unshare", argument=0, bits=0x7E020000, taker=_I),
    Checked("ioctl", 16, 29, "TIOCSTI and TIOCLINUX type into a terminal", argument=1, values=(0x5412, 0x541C)),
    Checked(
        "personality",
        135,
        92,
        "READ_IMPLIES_EXEC and the like weaken a process",
        argument=0,
        allowed=(0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xFFFFFFFF),
    ),
    Checked(
        "socket",
        41,
        198,
        "AF_ALG and AF_VSOCK lead past the network, to the kernel and the hypervisor",
        argument=0,
        values=(38, 40),
    ),
)

_LD_W_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; both architectures are little-endian
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT: Final = 0x40000000
_INSTRUCTION: Final = struct.Struct("=HBBI")
_LEAF: Final = 3


def filter_for(taker: Taker, machine: str = os.uname().machine) -> bytes:
    """
    The filter's instructions, an array of struct sock_filter.

    Another architecture's calls (32-bit ones on x86_64) have other numbers, so they kill the process;
    x32's are refused.

    Raises:
        ValueError: No numbers are known for this machine.
    """
    if machine not in _AUDIT_ARCH:
        raise ValueError(f"no system call numbers are known for {machine}; known: {', '.join(sorted(_AUDIT_ARCH))}")
    denied: dict[int, Denied | Checked] = {}
    rows: list[Denied | Checked] = [*DENIED, *CHECKED]
    for row in rows:
        number = getattr(row, machine)
        if row.taker is taker and number >= 0:
            denied[number] = row
    code = _Assembler()
    code.load(_ARCH)
    code.unless(_JEQ, _AUDIT_ARCH[machine], lambda: code.give(_KILL))
    code.load(_NR)
    if machine == "x86_64":
        code.when(_JGE, _X32_BIT, lambda: code.give(_ERRNO | errno.ENOSYS))
    _search(code, sorted(denied), denied)
    return code.bytes()


def _search(code: "_Assembler", numbers: Sequence[int], rows: dict[int, Denied | Checked]) -> None:
    """Halve the numbers till few are left: a straight list would make each evaluation ten times as long."""
    if len(numbers) > _LEAF:
        middle = len(numbers) // 2
        code.unless(_JGE, numbers[middle], lambda: _search(code, numbers[:middle], rows))
        _search(code, numbers[middle:], rows)
        return
    for number in numbers:
        row = rows[number]
        code.when(_JEQ, number, lambda row=row: _refuse(code, row))  # type: ignore[misc]
    code.give(_ALLOW)


def _refuse(code: "_Assembler", row: Denied | Checked) -> None:
    if isinstance(row, Denied):
        code.give(_ERRNO | row.code)
        return
    refusal = _ERRNO | errno.EPERM
    code.load(_ARGS + 8 * row.argument)
    if row.bits:
        code.when(_JSET, row.bits, lambda: code.give(refusal))
    for value in row.values:
        code.when(_JEQ, value, lambda: code.give(refusal))
    for value in row.allowed:
        code.when(_JEQ, value, lambda: code.give(_ALLOW))
    code.give(refusal if row.allowed else _ALLOW)


class _Assembler:
    """Writes instructions in order; a branch is written in place and jumped over."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []

    def load(self, offset: int) -> None:
        self._code.append((_LD_W_ABS, 0, 0, offset))

    def give(self, result: int) -> None:
        self._code.append((_RET, 0, 0, result))

    def when(self, test: int, value: int, branch: Callable[[], None]) -> None:
        """Run `branch`, which must end in a result, when the test holds."""
        self._branch(test, value, branch, skip_if_true=False)

    def unless(self, test: int, value: int, branch: Callable[[], None]) -> None:
        """Run `branch`, which must end in a result, when the test does not hold."""
        self._branch(test, value, branch, skip_if_true=True)

    def _branch(self, test: int, value: int, branch: Callable[[], None], *, skip_if_true: bool) -> None:
        at = len(self._code)
        self._code.append((test, 0, 0, value))
        branch()
        distance = len(self._code) - at - 1
        assert distance <= 0xFF, "a branch is longer than a jump can be"
        self._code[at] = (test, distance if skip_if_true else 0, 0 if skip_if_true else distance, value)

    def bytes(self) -> bytes:
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in self._code)


def names(rows: Iterable[Denied | Checked] = (*DENIED, *CHECKED)) -> list[str]:
    """The calls of the table, for tests and documentation."""
    return [row.name for row in rows]
