"""
`rnx` on one computer, the server on another.

Runs in: pytest on the machine's host.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

from remote import Remote


def rnx(*arguments: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`rnx`, as a user of this computer runs it."""
    command = [sys.executable, "-m", "joblet.rnx.main", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_job_on_another_computer_gives_its_output_and_its_exit_code(remote: Remote) -> None:
    done = rnx("run", "--follow", "sh", "-c", "echo there; exit 3", environ=remote.environ())

    assert done.stdout.splitlines()[-1] == "there"
    assert done.returncode == 3


def test_a_viewer_on_another_computer_may_look_but_not_run(remote: Remote) -> None:
    listed = rnx("list", environ=remote.environ("viewer-client"))
    refused = rnx("run", "true", environ=remote.environ("viewer-client"))

    assert listed.returncode == 0
    assert refused.returncode == 1
    assert refused.stderr == "Error: role viewer is not allowed to perform operation run_job\n"
