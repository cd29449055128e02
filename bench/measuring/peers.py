"""
What a launch is measured against: bwrap with what a job gets, a scope of systemd's, and a plain spawn of anything.

Runs in: the contributor's terminal, as root.
"""

import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from joblet.supervisor import init
from joblet.supervisor.linux import tree
from joblet.supervisor.linux.cgroups.host import CGROUP_ROOT

ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin"}
DEADLINE_S: Final = 10


def bwrap(work: Path) -> tuple[list[str], list[str]]:
    """
    Command lines that run `true` in a sandbox.

    Args:
        work: An empty folder, the sandbox's own.

    Returns:
        (with a comparable tree: the same binds, masks, file systems and namespaces as a job's, with the least that
        isolates).
    """
    least = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL"]
    least += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev", "/dev"]
    for name in tree.SYSTEM:
        path = Path("/") / name
        if path.is_symlink():
            least += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            least += ["--ro-bind", str(path), str(path)]
    least += ["--tmpfs", "/tmp", "--bind", str(work), "/work", "--chdir", "/work"]
    comparable = [*least, "--unshare-cgroup", "--hostname", "bench", "--new-session", "--tmpfs", "/dev/shm"]
    for source, target, _ in init.proc_covers("/proc"):
        # bwrap covers these two itself, where they can be written.
        if target not in (b"/proc/bus", b"/proc/irq") and [target.decode()] != comparable[-1:]:
            host = str(work) if source == init.EMPTY_FOLDER else source.decode()
            comparable += ["--ro-bind", host, target.decode()]
    for name in tree.FOLDERS:
        comparable += ["--dir", f"/{name}"]
    return [*comparable, "true"], [*least, "true"]


def spawn(argv: list[str]) -> float:
    """Seconds from the fork of a program to its end."""
    began = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, ENVIRONMENT)
    _, status = os.waitpid(pid, 0)
    assert status == 0, argv
    return time.perf_counter() - began


def spawn_in_scope(properties: Sequence[str], argv: list[str]) -> float:
    """
    Seconds from the fork of systemd-run to the end of the program, which takes its place.

    That systemd then removes the scope is waited for and not counted: it would take its time from the next candidate.

    Args:
        properties: Limits, as systemd.resource-control(5) writes them.
    """
    scope = f"joblet-bench-{uuid.uuid4()}.scope"
    options = ["--scope", "--quiet", "--collect", f"--unit={scope}", "--slice=system.slice"]
    seconds = spawn(["systemd-run", *options, *(f"--property={each}" for each in properties), *argv])
    deadline = time.monotonic() + DEADLINE_S
    while (CGROUP_ROOT / "system.slice" / scope).exists():
        assert time.monotonic() < deadline, f"systemd does not remove {scope}"
        time.sleep(0.001)
    return seconds


def spawn_many(argv: list[str], count: int, in_flight: int) -> float:
    """Seconds for so many runs of a program, so many of them at any time. This process may have no other child."""
    began = time.perf_counter()
    started = ended = 0
    while ended < count:
        while started < count and started - ended < in_flight:
            os.posix_spawnp(argv[0], argv, ENVIRONMENT)
            started += 1
        _, status = os.wait()
        assert status == 0, argv
        ended += 1
    return time.perf_counter() - began
