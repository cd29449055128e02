"""
What a launch costs: from the request to the zygote until nothing of a job that runs `true` is left.

Peers, interleaved with it in one run: bwrap with a comparable tree (the same binds, masks, file
systems and namespaces as a job's), bwrap with the least that isolates, unshare, and a plain subprocess.

    sudo python bench/launch.py [--smoke] [--rounds N]

Runs in: the contributor's terminal, as root; in a mount namespace of its own. May not: leave anything behind.
"""

import os
import select
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from measuring.peers import ENVIRONMENT, bwrap, spawn
from measuring.report import judged, rounds_asked_for, show

from joblet.supervisor.launcher import Launched, LaunchRequest, Zygote
from joblet.supervisor.linux import tree
from joblet.supervisor.linux.mounts import umount
from joblet.supervisor.status import read_status

WALL = 0x40000000  # <linux/wait.h> __WALL
TARGET = 0.7
DEADLINE_S = 10


def launch(zygote: Zygote, state: Path) -> float:
    """Seconds for one job, its clean-up by the supervisor's hand not counted."""
    job_id = str(uuid.uuid4())
    status = state / "run" / job_id
    began = time.perf_counter()
    log_read, log_write = os.pipe2(os.O_CLOEXEC)
    memory = os.memfd_create("log", os.MFD_CLOEXEC)
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    zygote.launch(
        LaunchRequest(job_id, ["true"], ENVIRONMENT, 1_900_000_000, b"{}", log_read, log_write, memory, event)
    )
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
    signal.pidfd_send_signal(reply.pidfd, signal.SIGKILL)
    os.waitid(os.P_PIDFD, reply.pidfd, os.WEXITED | WALL)
    took = time.perf_counter() - began
    for fd in (log_read, memory, event, reply.pidfd):
        os.close(fd)
    status.unlink()
    (state / "work" / job_id).rmdir()
    return took


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    rounds, judge = rounds_asked_for("what a launch costs", 200)
    state = Path(tempfile.mkdtemp(prefix="joblet-bench-", dir="/var/tmp"))
    for name in ("run", "work", "tree", "empty"):
        (state / name).mkdir()
    tree.enter_private_mounts()
    comparable, least = bwrap(state / "empty")
    candidates: dict[str, Callable[[], float]] = {
        "bwrap, comparable tree": lambda: spawn(comparable),
        "bwrap, least": lambda: spawn(least),
        "unshare": lambda: spawn(["unshare", "--fork", "--pid", "--mount", "--ipc", "--uts", "true"]),
        "subprocess": lambda: spawn(["true"]),
    }
    # The peers' mounts are the host's, as for us: the template is mounted only now, and seen by the zygote alone.
    tree.build(state / "tree")
    zygote = Zygote.start(state, state / "tree")
    try:
        candidates = {"joblet": lambda: launch(zygote, state), **candidates}
        took: dict[str, list[float]] = {name: [] for name in candidates}
        for number in range(rounds + 5):
            for name, candidate in candidates.items():
                seconds = candidate()
                if number >= 5:
                    took[name].append(seconds * 1000)
    finally:
        zygote.close()
        umount(os.fsencode(state / "tree"))
        shutil.rmtree(state)
    medians = show(f"{rounds} rounds, interleaved", "ms", took)
    kept = judged("joblet / bwrap", medians["joblet"] / medians["bwrap, comparable tree"], at_most=TARGET)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
