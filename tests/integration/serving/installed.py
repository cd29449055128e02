"""
Joblet as packaging/install.sh puts it on a machine: systemd's units, real limits, one administrator's connection.

    def test_a_job_says_hello(joblet: Installed) -> None:
        ended, output = joblet.run("echo", "hello", memory_max_bytes=64 * MIB)

Runs in: pytest in the test machine, as root.
"""

import os
import select
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from joblet.client import Credentials, JobletClient, JobLog, JobStatus

CERTIFICATES: Final = Path("/opt/joblet/certs")
CONFIG: Final = Path("/opt/joblet/joblet-config.yml")
STATE: Final = Path("/var/lib/joblet")
PROGRAMS: Final = Path("/opt/joblet/venv/bin")
SERVER, SUPERVISOR, PLACE = "joblet.service", "joblet-supervisor.service", "joblet-jobs.service"
SLICE: Final = Path("/sys/fs/cgroup/joblet.slice")
JOBS: Final = SLICE / PLACE / "jobs"
ENVIRON: Final = {
    "JOBLET_SERVER": "localhost:50051",
    "JOBLET_CERT_PATH": str(CERTIFICATES / "client-cert.pem"),
    "JOBLET_KEY_PATH": str(CERTIFICATES / "client-key.pem"),
    "JOBLET_CA_PATH": str(CERTIFICATES / "ca-cert.pem"),
}
DEADLINE_S: Final = 120.0
MIB: Final = 1024 * 1024


class Installed:
    """The server of this machine."""

    def __init__(self) -> None:
        self.client = JobletClient(
            ENVIRON["JOBLET_SERVER"], Credentials.from_environment(ENVIRON), patience_s=DEADLINE_S
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()

    # Jobs

    def start(self, *argv: str, **limits: Any) -> str:
        """Start a job; its id. The limits are those of `JobletClient.run_job`."""
        return self.client.run_job(argv[0], argv[1:], **limits).id

    def run(self, *argv: str, **limits: Any) -> tuple[JobStatus, bytes]:
        """Start a job, and wait for its end and its whole log."""
        job_id = self.start(*argv, **limits)
        ended = self.client.wait(job_id)
        return ended, self.log(job_id)

    def shell(self, script: str, **limits: Any) -> tuple[JobStatus, bytes]:
        """A job that runs a shell script."""
        return self.run("sh", "-c", script, **limits)

    def python(self, program: str, **limits: Any) -> tuple[JobStatus, bytes]:
        """A job that runs a Python program."""
        return self.run("python3", "-I", "-S", "-c", program, **limits)

    def log(self, job_id: str) -> bytes:
        """What it has printed by now."""
        with self.client.get_job_logs(job_id, follow=False) as chunks:
            return b"".join(chunks)

    def lines(self, job_id: str) -> Iterator[str]:
        """Its output, line by line as it comes: the way to wait until a job has got somewhere."""
        with self.client.get_job_logs(job_id) as chunks:
            yield from _lines(chunks)

    def until(self, job_id: str, line: str) -> None:
        """Wait until a job prints a line."""
        assert any(each == line for each in self.lines(job_id)), (
            f"{job_id} ended without {line!r}: {self.log(job_id)!r}"
        )

    def stop_all(self) -> None:
        """Stop whatever still runs: a job's status file is there until it has ended."""
        for file in (STATE / "run").iterdir():
            if not self.client.get_job_status(file.name).ended:
                self.client.stop_job(file.name)

    # The machine

    def cgroup(self, job_id: str) -> Path:
        """A job's control group."""
        return JOBS / job_id

    def rnx(self, *arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """`rnx`, as a user runs it."""
        return subprocess.run(
            [str(PROGRAMS / "rnx"), *arguments],
            env={**os.environ, **ENVIRON, **(environ or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def until_it_answers(self) -> None:
        """Wait for the units, started or restarted a moment ago."""
        systemctl("start", SUPERVISOR, SERVER)


def systemctl(*arguments: str) -> str:
    """What `systemctl` says; it must succeed. `start`, `stop` and `restart` return when that is done."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"systemctl {' '.join(arguments)}: {done.stderr}{done.stdout}"
    return done.stdout.strip()


def main_pid(unit: str) -> int:
    """Of a running service."""
    return int(systemctl("show", "--property=MainPID", "--value", unit))


def kill(pid: int) -> None:
    """SIGKILL to a process, and wait until it is gone."""
    pidfd = os.pidfd_open(pid)
    try:
        os.kill(pid, 9)
        assert select.select([pidfd], [], [], DEADLINE_S)[0], f"process {pid} outlives SIGKILL"
    finally:
        os.close(pidfd)


def counters(file: Path) -> dict[str, int]:
    """A flat keyed file of the kernel's, such as cpu.stat."""
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}


def _lines(chunks: JobLog) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
