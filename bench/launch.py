"""
What a launch costs: from the request to the zygote until nothing of a job that runs `true` is left.

Peers, interleaved with it in one run: bwrap with a comparable tree (the same binds, masks, file
systems and namespaces as a job's), bwrap with the least that isolates, unshare, and a plain subprocess.

    sudo python bench/launch.py [--smoke] [--rounds N]

Where systemd runs the machine and the cgroup tree can be written, a job gets a group of its own with its limits in
force, made and removed inside the measured time. `systemd-run --scope` with the same limits then joins the peers: alone
(limits only), and around bwrap (limits and isolation, as a job has). `nox -s integration -- --bench` runs it there.

Runs in: the contributor's terminal, or a delegated service of the test machine; as root, in a mount namespace of its
own. May not: leave anything behind.
"""

import os
import platform
import select
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from measuring.peers import ENVIRONMENT, bwrap, spawn, spawn_in_scope
from measuring.report import judged, rounds_asked_for, show

from joblet.domain.limits import MIB, Limits
from joblet.supervisor.launcher import Launched, LaunchRequest, Zygote
from joblet.supervisor.linux import tree
from joblet.supervisor.linux.cgroups.host import CGROUP_ROOT, SLICE
from joblet.supervisor.linux.cgroups.pids import PIDS_MAX
from joblet.supervisor.linux.cgroups.tree import Cgroup, Cgroups, open_slice
from joblet.supervisor.linux.mounts import umount
from joblet.supervisor.status import read_status

WALL = 0x40000000  # <linux/wait.h> __WALL
TARGET = 0.7
DEADLINE_S = 10
WARM_UP = 5
SYSTEMD: Final = Path("/run/systemd/system")  # sd_booted(3)
# `true` meets none of them: what is timed is that they are put in force.
LIMITS: Final = Limits(cpu_max_percent=100, cpu_cores="", memory_max_bytes=64 * MIB, io_max_bytes_per_s=0)
SCOPE: Final = ("CPUQuota=100%", "MemoryMax=64M", "MemorySwapMax=0", f"TasksMax={PIDS_MAX}")


def launch(zygote: Zygote, state: Path, cgroups: Cgroups | None) -> float:
    """Seconds for one job, the clean-up of its files by the supervisor's hand not counted."""
    job_id = str(uuid.uuid4())
    status = state / "run" / job_id
    began = time.perf_counter()
    cgroup = None if cgroups is None else cgroups.create(job_id, LIMITS, state)
    log_read, log_write = os.pipe2(os.O_CLOEXEC)
    memory = os.memfd_create("log", os.MFD_CLOEXEC)
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    request = LaunchRequest(
        *(job_id, ["true"], ENVIRONMENT, 1_900_000_000, b"{}"),
        *(log_read, log_write, memory, event),
        cgroup_fd=-1 if cgroup is None else cgroup.fd,
    )
    zygote.launch(request)
    select.select([zygote.fd], [], [])
    (reply,) = zygote.replies()
    assert isinstance(reply, Launched), reply
    while True:
        # The count first, then the file: the other way round the last line may come between, and be waited for again.
        select.select([event], [], [], DEADLINE_S)
        os.eventfd_read(event)
        found = read_status(status)
        assert found is not None
        assert found.failed is None, found
        if found.exited is not None:
            break
    if cgroup is not None:
        # The supervisor tells them with every end.
        _ = cgroup.oom_kills(), cgroup.usage(), cgroup.limit_events()
    signal.pidfd_send_signal(reply.pidfd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, reply.pidfd, os.WEXITED | WALL)
    if cgroup is not None:
        _remove(cgroup)
    took = time.perf_counter() - began
    for fd in (log_read, memory, event, reply.pidfd):
        os.close(fd)
    status.unlink()
    (state / "work" / job_id).rmdir()
    return took


def _remove(cgroup: Cgroup) -> None:
    """As the supervisor does: what is still dying holds the group for a moment."""
    deadline = time.monotonic() + DEADLINE_S
    while not cgroup.remove():
        assert time.monotonic() < deadline, f"{cgroup.path} cannot be removed"
        time.sleep(0.001)


def _groups(state: Path) -> Cgroups | str:
    """Where jobs are limited as they are in an installed Joblet; else why they are not."""
    if not SYSTEMD.is_dir():
        return "systemd does not run this machine"
    return open_slice(CGROUP_ROOT / SLICE, "auto", state_folder=state)


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    rounds, judge = rounds_asked_for("what a launch costs", 200)
    state = Path(tempfile.mkdtemp(prefix="joblet-bench-", dir="/var/tmp"))
    for name in ("run", "work", "tree", "empty"):
        (state / name).mkdir()
    tree.enter_private_mounts()
    groups = _groups(state)
    comparable, least = bwrap(state / "empty")
    peers: dict[str, Callable[[], float]] = {
        "bwrap, comparable tree": lambda: spawn(comparable),
        "bwrap, least": lambda: spawn(least),
        "unshare": lambda: spawn(["unshare", "--fork", "--pid", "--mount", "--ipc", "--uts", "true"]),
        "subprocess": lambda: spawn(["true"]),
    }
    # The peers' mounts are the host's, as for us: the template is mounted only now, and seen by the zygote alone.
    tree.build(state / "tree")
    zygote = Zygote.start(state, state / "tree")
    try:
        print(f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        if isinstance(groups, str):
            print(f"no limits: {groups}")
            candidates = {"joblet": lambda: launch(zygote, state, None), **peers}
        else:
            limited = groups
            print(f"limits of jobs, in groups below {limited.path}, and of scopes: {' '.join(SCOPE)}")
            print("a job is timed until its group is removed, a scope until `true` has ended")
            candidates = {
                "joblet": lambda: launch(zygote, state, limited),
                "joblet, no limits": lambda: launch(zygote, state, None),
                "systemd-run --scope": lambda: spawn_in_scope(SCOPE, ["true"]),
                "systemd-run --scope bwrap, comparable": lambda: spawn_in_scope(SCOPE, comparable),
                **peers,
            }
        took: dict[str, list[float]] = {name: [] for name in candidates}
        for number in range(rounds + WARM_UP):
            for name, candidate in candidates.items():
                seconds = candidate()
                if number >= WARM_UP:
                    took[name].append(seconds * 1000)
    finally:
        zygote.close()
        if not isinstance(groups, str):
            groups.close()
        umount(os.fsencode(state / "tree"))
        shutil.rmtree(state)
    medians = show(f"{rounds} rounds, interleaved", "ms", took)
    judges = [name for name in ("bwrap, comparable tree", "systemd-run --scope") if name in medians]
    kept = [judged(f"joblet / {name}", medians["joblet"] / medians[name], at_most=TARGET) for name in judges]
    return int(judge and not all(kept))


if __name__ == "__main__":
    sys.exit(main())
