"""
Examines the machine for `joblet doctor`: the kernel, its namespaces and calls, cgroups.

Runs in: an administrator's terminal; what changes a process (unshare) happens in a child. May not: change the machine.
Source: docs/contributors.md, "The processes"; versions from the manual pages of the calls.
"""

import errno
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from joblet.admin.finding import Finding, fail, ok, warn
from joblet.supervisor.linux.syscall import SYS_PIVOT_ROOT

# mount_setattr is of 5.12 and jobs cannot do without; cgroup.kill is of 5.14.
NEEDED_KERNEL: Final = (5, 12)
WANTED_KERNEL: Final = (5, 14)

# Each call is made so that a kernel which knows it answers with this error, and nothing happens.
PROBES: Final[Mapping[str, tuple[int, int]]] = {
    "pivot_root": (SYS_PIVOT_ROOT, errno.ENOENT),
    "pidfd_open": (434, errno.EINVAL),
    "clone3": (435, errno.EINVAL),
    "close_range": (436, errno.EINVAL),
    "pidfd_getfd": (438, errno.EBADF),
    "mount_setattr": (442, errno.EINVAL),
}

# The kernel asks who calls before it looks at anything else: nothing can be said of these for anybody but root.
ONLY_FOR_ROOT: Final = frozenset({"pivot_root"})

NAMESPACES: Final[Mapping[str, int]] = {
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "UTS": 0x4000000,
    "IPC": 0x8000000,
    "PID": 0x20000000,
}

# A fresh interpreter: unshare cannot be taken back. It prints NAME ERRNO lines.
_CHILD: Final = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
def tell(name, result):
    print(name, ctypes.get_errno() if result < 0 else 0)
arguments = dict(pivot_root=(b"", b""), pidfd_open=(0, 0), clone3=(0, 0),
    close_range=(2, 1, 0), pidfd_getfd=(-1, 0, 0), mount_setattr=(-1, b"x", 0, 0, 0))
for word in sys.argv[1:]:
    kind, name, number = word.split(":")
    if kind == "call":
        values = [ctypes.c_char_p(v) if isinstance(v, bytes) else ctypes.c_long(v) for v in arguments[name]]
        libc.syscall.restype = ctypes.c_long
        tell(word, libc.syscall(ctypes.c_long(int(number)), *values))
    else:
        tell(word, libc.unshare(int(number)))
"""


def examine(state: Path, cgroups_mode: str) -> Iterator[Finding]:
    """Everything about this machine."""
    yield from system(sys.platform, platform.release(), platform.python_version())
    if not sys.platform.startswith("linux"):
        return
    yield from user(os.geteuid())
    answers = ask_kernel()
    yield from calls(answers, os.geteuid())
    yield from namespaces(answers, os.geteuid())
    yield from seccomp(Path("/proc/sys/kernel/seccomp/actions_avail"))
    yield from cgroups(state, cgroups_mode)


def system(operating_system: str, kernel: str, python: str) -> Iterator[Finding]:
    """Linux, new enough; pure."""
    if not operating_system.startswith("linux"):
        yield fail("system", f"this is {operating_system}: jobs need Linux", "run joblet serve on a Linux machine")
        return
    found = re.match(r"(\d+)\.(\d+)", kernel)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < NEEDED_KERNEL:
        yield fail("kernel", f"Linux {kernel} is too old: 5.12 or newer is needed", "upgrade the kernel")
    elif version < WANTED_KERNEL:
        yield warn("kernel", f"Linux {kernel} cannot kill a whole cgroup at once", "upgrade to 5.14 or newer")
    else:
        yield ok("kernel", f"Linux {kernel}")
    yield ok("Python", python)


def user(uid: int) -> Iterator[Finding]:
    """Root; pure."""
    if uid != 0:
        yield fail("user", f"user {uid} is not root: jobs cannot be isolated", "run it with sudo")
    else:
        yield ok("user", "root")


def ask_kernel() -> Mapping[str, int]:
    """The errno of each probe, 0 for success; empty when the child could not be run."""
    words = [f"call:{name}:{number}" for name, (number, _) in PROBES.items()]
    words += [f"unshare:{name}:{flag}" for name, flag in NAMESPACES.items()]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _CHILD, *words], capture_output=True, text=True, check=False, timeout=30
    )
    answers = {}
    for line in done.stdout.splitlines():
        word, _, number = line.rpartition(" ")
        kind, name, _ = word.split(":")
        answers[f"{kind}:{name}"] = int(number)
    return answers


def calls(answers: Mapping[str, int], uid: int) -> Iterator[Finding]:
    """The system calls a launch needs; pure."""
    missing = []
    asked = [name for name in PROBES if uid == 0 or name not in ONLY_FOR_ROOT]
    for name in asked:
        _, expected = PROBES[name]
        got = answers.get(f"call:{name}", errno.ENOSYS)
        if got in (errno.ENOSYS, errno.EPERM) and got != expected:
            missing.append(f"{name} ({os.strerror(got).lower()})")
    if missing:
        yield fail(
            "system calls",
            f"refused here: {', '.join(missing)}",
            "upgrade the kernel, or allow them in the container this runs in (its seccomp profile)",
        )
    else:
        yield ok("system calls", ", ".join(asked))


def namespaces(answers: Mapping[str, int], uid: int) -> Iterator[Finding]:
    """The namespaces a job gets; pure."""
    refused = {name: answers.get(f"unshare:{name}", errno.ENOSYS) for name in NAMESPACES}
    refused = {name: number for name, number in refused.items() if number}
    if not refused:
        yield ok("namespaces", ", ".join(NAMESPACES))
        return
    why = ", ".join(f"{name} ({os.strerror(number).lower()})" for name, number in refused.items())
    if uid != 0:
        mend = "run it with sudo"
    elif set(refused.values()) == {errno.ENOSPC}:
        mend = "raise the limits: sysctl user | grep namespaces"
    else:
        mend = "this looks like a container: run it with --privileged, or on the machine itself"
    yield fail("namespaces", f"cannot be made: {why}", mend)


def seccomp(actions: Path) -> Iterator[Finding]:
    """System calls can be filtered."""
    try:
        available = actions.read_text().split()
    except OSError:
        available = []
    if "errno" in available:
        yield ok("seccomp", "available")
    else:
        yield fail(
            "seccomp", f"the kernel cannot filter system calls ({actions})", "use a kernel with CONFIG_SECCOMP_FILTER"
        )


def cgroups(state: Path, mode: str) -> Iterator[Finding]:
    """Limits can be enforced; how much that matters is for `isolation.cgroups` to say."""
    from joblet.supervisor.linux.cgroups.host import Severity, findings, gather

    if mode == "off":
        yield warn("cgroups", "switched off: no limit is enforced", "set isolation.cgroups to auto or required")
        return
    for found in findings(gather(state_folder=_existing(state))):
        match found.severity:
            case Severity.GOOD:
                yield ok("cgroups", found.what)
            case Severity.ERROR if mode == "required":
                yield fail("cgroups", found.what, found.remedy)
            case _:
                yield warn("cgroups", found.what, found.remedy)


def _existing(folder: Path) -> Path:
    """The folder, or the one it will be made in."""
    return next(level for level in (folder, *folder.parents) if level.exists())
