"""`joblet demo` and `joblet down` on this machine's kernel, as an administrator types them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from joblet.admin import certs, serve
from joblet.admin.demo import start_server
from joblet.admin.down import down
from joblet.statefolder import StateFolder

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


@dataclass(frozen=True)
class Served:
    """A server of its own, and how `rnx` reaches it."""

    state: StateFolder
    environ: dict[str, str]

    def rnx(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "joblet.rnx.main", *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=60, check=True).stdout

    def pid(self, lock: Path) -> int:
        return int(lock.read_text())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    state = StateFolder(tmp_path / "state")
    certs.init(tmp_path / "certs", [], "tests", 1, force=False)
    start_server(serve.command(state.root, tmp_path / "certs", "127.0.0.1:0"), tmp_path / "ready", tmp_path / "log")
    environ = os.environ | {
        "JOBLET_SERVER": state.address.read_text().strip(),
        "JOBLET_CERT_PATH": str(tmp_path / "certs" / "client-cert.pem"),
        "JOBLET_KEY_PATH": str(tmp_path / "certs" / "client-key.pem"),
        "JOBLET_CA_PATH": str(tmp_path / "certs" / "ca-cert.pem"),
    }
    yield Served(state, environ)
    down(state)


# Ignores the polite end, and has a child in a session of its own.
STUBBORN = "trap '' TERM; setsid sleep 4321.{n} & sleep 4321.{n}"


@pytest.mark.parametrize("killed", ["nothing", "server", "supervisor", "both"])
def test_down_ends_everything_whatever_was_killed_before(served: Served, killed: str) -> None:
    mark = f"4321.{os.getpid()}"
    for _ in range(2):
        served.rnx("run", "sh", "-c", STUBBORN.format(n=os.getpid()))
    assert len(processes_that_name(mark)) >= 2
    if killed in ("server", "both"):
        os.kill(served.pid(served.state.server_lock), signal.SIGKILL)
    if killed in ("supervisor", "both"):
        os.kill(served.pid(served.state.supervisor_lock), signal.SIGKILL)

    done = joblet("down", "--state", str(served.state.root))

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^stopped job [0-9a-f-]{36}$", done.stdout, re.M)) == 2
    assert processes_that_name(mark) == []
    assert processes_that_name(str(served.state.root)) == []
    assert str(served.state.root) not in Path("/proc/self/mountinfo").read_text()
    assert list(served.state.work.iterdir()) == []
    again = joblet("down", "--state", str(served.state.root))
    assert (again.returncode, again.stdout) == (0, "nothing was running\n")


def test_a_served_folder_is_shown_in_the_arguments_of_every_process(served: Served) -> None:
    served.rnx("run", "sleep", "1000")

    shown = processes_that_name(str(served.state.root))

    assert served.pid(served.state.server_lock) > 0
    assert len(shown) >= 3, shown  # server, supervisor, zygote; the job's init as well
