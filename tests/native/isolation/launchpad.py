"""
A process that launches jobs for the isolation tests, as the supervisor does, and tells how they went.

It talks in lines of JSON over its standard input and output. It exists because a mount namespace of
one's own cannot be left again: pytest must not enter one.

Runs in: a process of its own, started by `conftest.py`. May not: outlive its standard input.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from joblet.domain.limits import MIB, Limits
from joblet.supervisor.launcher import Launched, LaunchFailed, LaunchRequest, Zygote, ZygoteDied
from joblet.supervisor.linux import tree
from joblet.supervisor.linux.cgroups.host import CGROUP_ROOT, SLICE
from joblet.supervisor.linux.cgroups.tree import Cgroup, CgroupError, Cgroups, open_slice
from joblet.supervisor.linux.mounts import MS_BIND, MS_REMOUNT, mount
from joblet.supervisor.status import read_status, reattach

WALL = 0x40000000
DEADLINE_S = 30
LIMITS = Limits(cpu_max_percent=100, cpu_cores="", memory_max_bytes=512 * MIB, io_max_bytes_per_s=0)


class Pad:
    """One zygote and its jobs; with `limited` each in a group of its own."""

    def __init__(self, state: Path, without: str, *, limited: bool) -> None:
        self.state = state
        self.cgroups: Cgroups | None = None
        self.groups: dict[str, Cgroup] = {}
        if limited:
            opened = open_slice(CGROUP_ROOT / SLICE, "required", state_folder=state)
            assert isinstance(opened, Cgroups)
            self.cgroups = opened
        os.umask(0o077)  # as joblet-supervisor.service has it
        for name in ("run", "work", "tree"):
            (state / name).mkdir()
        tree.enter_private_mounts()
        tree.build(state / "tree")
        if without:
            place = state / "tree" / without
            mount(None, os.fsencode(place.parent), None, MS_BIND | MS_REMOUNT)
            place.rmdir()
        self.zygote = Zygote.start(state, state / "tree")
        self.jobs: dict[str, tuple[int, int, int, int]] = {}
        self.launched: dict[str, Launched] = {}

    def start(self, job: dict[str, Any]) -> dict[str, Any]:
        """Launch one and wait until its command runs or could not."""
        job_id = job["job_id"]
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        memory = os.memfd_create("log", os.MFD_CLOEXEC)
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        cgroup = self._cgroup(job)
        self.zygote.launch(
            LaunchRequest(
                job_id=job_id,
                argv=job["argv"],
                environment=job["environment"],
                uid=job["uid"],
                record=b'{"job": 1}',
                log_read_fd=log_read,
                log_write_fd=log_write,
                log_memfd=memory,
                event_fd=event,
                cgroup_fd=cgroup,
                work_dir=job["work_dir"],
                nproc_max=job["nproc_max"],
            )
        )
        if cgroup >= 0:
            os.close(cgroup)
        _wait(self.zygote.fd)
        (reply,) = self.zygote.replies()
        if isinstance(reply, LaunchFailed):
            for fd in (log_read, memory, event):
                os.close(fd)
            self.remove_group(job_id)
            return {"refused": reply.words}
        self.jobs[job_id] = (reply.pidfd, log_read, memory, event)
        self.launched[job_id] = reply
        return {"pid": reply.pid, **self._await(job_id, "running_ns")}

    def _cgroup(self, job: dict[str, Any]) -> int:
        """The descriptor of what it is to be born in, for the caller to close; -1 for none."""
        if "cgroup" in job:
            return os.open(job["cgroup"], os.O_RDONLY | os.O_DIRECTORY)
        if self.cgroups is None:
            return -1
        group = self.groups[job["job_id"]] = self.cgroups.create(job["job_id"], LIMITS, self.state)
        return os.dup(group.fd)

    def remove_group(self, job_id: str) -> None:
        group = self.groups.pop(job_id, None)
        assert group is None or group.remove(), "its group cannot be removed: a process of it is left"

    def finish(self, job_id: str) -> dict[str, Any]:
        """Wait for the command's end, release its init, and hand over what it printed."""
        told = self._await(job_id, "exited")
        pidfd, log_read, memory, event = self.jobs.pop(job_id)
        _send(pidfd, signal.SIGKILL)
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | WALL)
        assert info is not None
        output = bytearray()
        while data := os.read(log_read, 1 << 20):
            output += data
        for fd in (pidfd, log_read, memory, event):
            os.close(fd)
        (self.state / "run" / job_id).unlink(missing_ok=True)
        self.remove(job_id)
        self.remove_group(job_id)
        return {**told, "output": output.decode("latin-1"), "init_status": info.si_status}

    def remove(self, job_id: str) -> None:
        """As the supervisor does when a job has left files."""
        gone: list[bool] = []
        self.zygote.remove_tree(self.state / "work" / job_id, lambda: gone.append(True))
        while not gone:
            _wait(self.zygote.fd)
            self.zygote.replies()

    def terminate(self, job_id: str) -> dict[str, Any]:
        """Ask it to stop, as StopJob does first."""
        _send(self.jobs[job_id][0], signal.SIGTERM)
        return {}

    def kill(self, job_id: str) -> dict[str, Any]:
        """End its init."""
        _send(self.jobs[job_id][0], signal.SIGKILL)
        return {}

    def read(self, job_id: str) -> dict[str, Any]:
        """What it prints next."""
        _wait(self.jobs[job_id][1])
        return {"output": os.read(self.jobs[job_id][1], 1 << 20).decode("latin-1")}

    def occupy(self, job_id: str) -> dict[str, Any]:
        """Put a file where its status file would be."""
        (self.state / "run" / job_id).touch()
        return {}

    def reattach(self, job_id: str) -> dict[str, Any]:
        """What a successor finds."""
        status = read_status(self.state / "run" / job_id)
        assert status is not None
        found = reattach(status)
        if found is None:
            return {"found": False}
        ours = self.jobs[job_id]
        same = [
            os.fstat(mine).st_ino == os.fstat(theirs).st_ino for mine, theirs in zip(ours[1:3], found[1:3], strict=True)
        ]
        os.eventfd_write(found[3], 1000)
        told = os.eventfd_read(ours[3])
        for fd in found:
            os.close(fd)
        return {"found": True, "same": all(same) and told >= 1000, "record": status.record.decode(), "pid": status.pid}

    def abandon(self, job: dict[str, Any]) -> dict[str, Any]:
        """Die, as far as the zygote can see, right after asking for a job."""
        job_id = job["job_id"]
        log_read, log_write = os.pipe2(os.O_CLOEXEC)
        memory = os.memfd_create("log", os.MFD_CLOEXEC)
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        os.kill(self.zygote.pid, signal.SIGSTOP)
        self.zygote.launch(
            LaunchRequest(
                job_id, job["argv"], job["environment"], job["uid"], b"{}", log_read, log_write, memory, event
            )
        )
        os.kill(self.zygote.pid, signal.SIGCONT)
        self.zygote.close()
        _wait(event)
        output = os.read(log_read, 100)  # b"" only once init has ended
        status = read_status(self.state / "run" / job_id)
        assert status is not None
        return {"output": output.decode(), "failed": status.failed, "running_ns": status.running_ns}

    def leftovers(self) -> dict[str, Any]:
        """What is there of jobs that are over."""
        files = [name for folder in ("run", "work") for name in os.listdir(self.state / folder)]
        files += self.groups
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return {"files": files, "children": [int(pid) for pid in children if int(pid) != self.zygote.pid]}

    def zygote_status(self) -> dict[str, Any]:
        """The zygote seen from outside."""
        proc = Path(f"/proc/{self.zygote.pid}")
        rollup = dict(line.split(":", 1) for line in (proc / "smaps_rollup").read_text().splitlines()[1:])
        return {
            "anonymous_kb": int(rollup["Anonymous"].split()[0]),
            "threads": len(os.listdir(proc / "task")),
            "fds": sorted(os.readlink(proc / "fd" / fd) for fd in os.listdir(proc / "fd")),
            "argv": (proc / "cmdline").read_bytes().decode().split("\0"),
        }

    def memory(self, job_id: str) -> dict[str, Any]:
        """What an init costs: proportional set size in kB."""
        rollup = Path(f"/proc/{self.launched[job_id].pid}/smaps_rollup").read_text().splitlines()[1:]
        return {line.split(":")[0]: int(line.split()[1]) for line in rollup}

    def _await(self, job_id: str, what: str) -> dict[str, Any]:
        pidfd, _, _, event = self.jobs[job_id]
        while True:
            status = read_status(self.state / "run" / job_id)
            gone = bool(select.select([pidfd], [], [], 0)[0])
            if status is not None and (getattr(status, what) is not None or status.failed is not None or gone):
                exited = status.exited
                return {
                    "failed": status.failed,
                    "running_ns": status.running_ns,
                    "stopping_ns": status.stopping_ns,
                    "wait_status": None if exited is None else exited.wait_status,
                    "failure": None if exited is None else exited.failure,
                    "cpu_usec": None if exited is None else exited.cpu_usec,
                }
            if gone:
                return {"failed": None, "wait_status": None}
            _wait(event, pidfd)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(event)


def _wait(*fds: int) -> None:
    if not select.select(fds, [], [], DEADLINE_S)[0]:
        raise TimeoutError(f"nothing happened in {DEADLINE_S} s")


def _send(pidfd: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(state: Path, without: str, cgroups_mode: str) -> None:
    """Serve until the tests have no more to ask."""
    try:
        pad = Pad(state, without, limited=cgroups_mode == "required")
    except (OSError, ZygoteDied, CgroupError) as error:
        _tell({"broken": str(error)})
        return
    _tell({"ready": True})
    for line in sys.stdin:
        call, argument = json.loads(line)
        method = getattr(pad, call)
        try:
            answer = method() if argument is None else method(argument)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        _tell(answer)
    for pidfd, *_ in pad.jobs.values():
        _send(pidfd, signal.SIGKILL)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | WALL)
    pad.zygote.close()
    for job_id in list(pad.groups):
        pad.remove_group(job_id)
    if pad.cgroups is not None:
        pad.cgroups.close()
    shutil.rmtree(state / "work", ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
