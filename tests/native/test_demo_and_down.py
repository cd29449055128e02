"""`joblet demo`, `joblet serve` and `joblet down` on this machine's kernel, as an administrator types them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from real_server import RealServer, real_server

pytestmark = pytest.mark.native


def joblet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "joblet.admin.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def processes_that_name(text: str) -> list[str]:
    """Arguments of every process on this machine with this text among them; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found


def test_the_demo_runs_a_real_job_and_leaves_nothing_behind() -> None:
    done = joblet("demo")

    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^Hello from job [0-9a-f]{8}: I am process \d+ here, and my folder is /work\.$", done.stdout, re.M
    )
    assert "Status: COMPLETED\n" in done.stdout
    assert done.stdout.endswith("The job COMPLETED with exit code 0; nothing of it is left on this machine.\n")
    typed = [line.split()[1:3] for line in done.stdout.splitlines() if line.startswith("$ ")]
    assert [words[1] for words in typed if words[0] == "rnx"] == ["run", "status", "list"]
    folder = re.search(r"/tmp/joblet-demo-\w+", done.stdout)
    assert folder is not None
    assert not Path(folder[0]).exists()
    assert processes_that_name(folder[0]) == []


def rnx(server: RealServer, *arguments: str) -> str:
    command = [sys.executable, "-m", "joblet.rnx.main", *arguments]
    environ = {**os.environ, **server.client_environ}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout


# Ignores the polite end, and has a child in a session of its own.
STUBBORN = "trap '' TERM; setsid sleep 4321.{n} & sleep 4321.{n}"


@pytest.mark.parametrize("killed", ["nothing", "server", "supervisor", "both"])
def test_down_ends_everything_whatever_was_killed_before(server: RealServer, killed: str) -> None:
    mark = f"4321.{os.getpid()}"
    state = server.state
    for _ in range(2):
        rnx(server, "run", "sh", "-c", STUBBORN.format(n=os.getpid()))
    assert len(processes_that_name(mark)) >= 2
    if killed in ("server", "both"):
        os.kill(server.pid, signal.SIGKILL)
    if killed in ("supervisor", "both"):
        os.kill(server.supervisor_pid, signal.SIGKILL)

    done = joblet("down", "--state", str(state.root))

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^stopped job [0-9a-f-]{36}$", done.stdout, re.M)) == 2
    assert processes_that_name(mark) == []
    assert processes_that_name(str(state.root)) == []
    assert str(state.root) not in Path("/proc/self/mountinfo").read_text()
    assert list(state.work.iterdir()) == []
    again = joblet("down", "--state", str(state.root))
    assert (again.returncode, again.stdout) == (0, "nothing was running\n")


def test_a_served_folder_is_shown_in_the_arguments_of_every_process(server: RealServer) -> None:
    """Of each outside a job: server, supervisor and zygote. A job's init is the first process of its own namespace."""
    rnx(server, "run", "sleep", "1000")
    children = Path(f"/proc/{server.supervisor_pid}/task/{server.supervisor_pid}/children").read_text().split()

    zygotes = [int(pid) for pid in children if not is_in_a_job(int(pid))]

    assert len(children) == 2
    assert len(zygotes) == 1
    for pid in (server.pid, server.supervisor_pid, *zygotes):
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert str(server.state.root) in arguments, arguments


def is_in_a_job(pid: int) -> bool:
    """Whether it is in a process namespace below ours."""
    return namespaces_of(pid) > namespaces_of(os.getpid())


def namespaces_of(pid: int) -> int:
    found = re.search(r"^NSpid:\s*(.+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found is not None
    return len(found[1].split())


def test_a_server_may_open_as_many_files_as_its_hard_limit_has_room_for(tmp_path: Path) -> None:
    """A shell's soft limit of 1,024 would be used up by as many idle clients."""
    with real_server(tmp_path, {"isolation": {"cgroups": "off"}}, wrapper=("prlimit", "--nofile=64:4096")) as server:
        limits = Path(f"/proc/{server.pid}/limits").read_text().splitlines()

    (files,) = [line.split()[3:5] for line in limits if line.startswith("Max open files")]
    assert files == ["4096", "4096"]
