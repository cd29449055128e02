"""
A launchpad per test module, and what the tests of isolation ask of it.

Runs in: pytest, as root. May not: enter a namespace; leave a process, a mount or a file behind.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PYTHON = "/usr/bin/python3"
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
FIRST_UID = 1_900_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """
    How one job went.

    Args:
        refused: The zygote could not even make a process: its words.
        failed: The set-up failed: its words.
        init_status: How its init ended: 9 when it was released by SIGKILL.
    """

    output: bytes = b""
    wait_status: int | None = None
    failure: str = ""
    failed: str | None = None
    refused: str | None = None
    stopping_ns: int | None = None
    cpu_usec: int | None = None
    init_status: int = 0

    @property
    def exit_code(self) -> int:
        """Of the command; -n after signal n."""
        assert self.wait_status is not None, self
        return os.waitstatus_to_exitcode(self.wait_status)

    @property
    def text(self) -> str:
        """What it printed."""
        return self.output.decode().strip()


class Launchpad:
    """The other process's side of the conversation."""

    def __init__(self, process: "subprocess.Popen[str]", state: Path) -> None:
        self._process = process
        self.state = state
        self._uid = FIRST_UID

    def ask(self, call: str, argument: Any = None) -> dict[str, Any]:
        """One call of `launchpad.Pad`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([call, argument]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer

    def a_job(self, *argv: str, **changes: Any) -> dict[str, Any]:
        """A job with defaults for all that does not matter."""
        self._uid += 1
        job = {"job_id": str(uuid.uuid4()), "argv": argv, "environment": ENVIRONMENT, "uid": self._uid}
        return {**job, "work_dir": "", "nproc_max": 64, **changes}

    def start(self, *argv: str, **changes: Any) -> str:
        """Launch a job that must come to run; its id."""
        job = self.a_job(*argv, **changes)
        answer = self.ask("start", job)
        assert answer.get("running_ns"), answer
        job_id: str = job["job_id"]
        return job_id

    def finish(self, job_id: str) -> Run:
        """Wait for its end, and release it."""
        answer = self.ask("finish", job_id)
        answer["output"] = answer.pop("output").encode("latin-1")
        answer["failure"] = answer.get("failure") or ""
        answer.pop("running_ns", None)
        return Run(**answer)

    def run(self, *argv: str, **changes: Any) -> Run:
        """A whole life."""
        job = self.a_job(*argv, **changes)
        answer = self.ask("start", job)
        if "refused" in answer:
            return Run(refused=answer["refused"])
        return self.finish(job["job_id"])

    def shell(self, script: str, **changes: Any) -> Run:
        """A job that runs a shell script."""
        return self.run("sh", "-c", script, **changes)

    def python(self, program: str, **changes: Any) -> Run:
        """A job that runs a Python program; `libc` is there for raw system calls."""
        prelude = "import ctypes, errno, os, signal, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        return self.run(PYTHON, "-I", "-S", "-c", prelude + program, **changes)


@contextmanager
def opened(without: str = "", cgroups_mode: str = "auto") -> Iterator[tuple[Launchpad, dict[str, Any]]]:
    """
    A launchpad, and the first thing it said.

    Args:
        without: A folder its template tree lacks.
        cgroups_mode: With "required" each job is in a group with limits, else in its parent's.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with tempfile.TemporaryDirectory(prefix="joblet-isolation-") as folder:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("launchpad.py")), folder, without, cgroups_mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Launchpad(process, Path(folder)), json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def pad(cgroups_mode: str) -> Iterator[Launchpad]:
    """One for all tests of a module; each test checks that nothing of its job is left through it."""
    with opened(cgroups_mode=cgroups_mode) as (launchpad, hello):
        assert hello == {"ready": True}
        yield launchpad


@pytest.fixture
def open_pad(cgroups_mode: str) -> Any:
    """For tests that need a launchpad of a special kind."""
    return functools.partial(opened, cgroups_mode=cgroups_mode)
