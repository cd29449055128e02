"""
`rnx` in a process of its own, for what only a process has: signals, a terminal, a closed pipe.

Runs in: tests.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRAM = (sys.executable, "-c", "from joblet.rnx.main import main; main()")
DEADLINE_S = 20.0


def environment(address: str, certificates: Path, kind: str = "admin") -> Mapping[str, str]:
    """The variables with which a client of this kind reaches this server."""
    return {
        "JOBLET_SERVER": address,
        "JOBLET_CERT_PATH": str(certificates / f"{kind}-cert.pem"),
        "JOBLET_KEY_PATH": str(certificates / f"{kind}-key.pem"),
        "JOBLET_CA_PATH": str(certificates / "ca-cert.pem"),
    }


def start(*arguments: str, environ: Mapping[str, str], stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    """Begin; the caller waits."""
    return subprocess.Popen(
        [*PROGRAM, *arguments], env={**os.environ, **environ}, stdout=stdout, stderr=subprocess.PIPE, bufsize=0
    )


def run(*arguments: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """Run to its end."""
    process = start(*arguments, environ=environ)
    out, err = process.communicate(timeout=DEADLINE_S)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
