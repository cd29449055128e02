"""
`joblet demo`: one real job on a server of its own, shown as a user would see it, and nothing left behind.

Certificates in a temporary folder, a server on loopback with a port of the kernel's choice, then `rnx` as a
user would type it. The exit status is 0 only when the job COMPLETED with exit code 0.

Runs in: a terminal, with the server and `rnx` as processes of their own. May not: use a port or folder that
others could use.
Source: docs/contributors.md, "What others rely on".
"""

import argparse
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from joblet.admin import certs, serve
from joblet.admin.down import down
from joblet.complaint import Complaint
from joblet.pki import names
from joblet.servicemanager import READY
from joblet.statefolder import StateFolder

READY_WAIT_S: Final = 60.0
CALL_WAIT_S: Final = 60.0

SCRIPT: Final = 'echo "Hello from job $(hostname): I am process $$ here, and my folder is $(pwd)."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    if os.geteuid() != 0:
        raise Complaint("a job gets namespaces and a user of its own, which needs root", "sudo joblet demo")
    with tempfile.TemporaryDirectory(prefix="joblet-demo-") as name:
        # resolved: the state folder's whole name stands in the arguments of every process
        return _in_folder(Path(name).resolve())


def _in_folder(folder: Path) -> int:
    certificates, state = folder / "certs", StateFolder(folder / "state")
    _shown(f"joblet certs init --dir {certificates}")
    certs.init(certificates, ["127.0.0.1"], "Joblet demo", 1, force=False)

    command = serve.command(state.root, certificates, "127.0.0.1:0")
    _shown(f"joblet serve --certs {certificates} --state {state.root} --address 127.0.0.1:0 &")
    log = folder / "server.log"
    try:
        start_server(command, folder / "ready", log)
        job = _as_a_user(state.address.read_text().strip(), certificates)
    finally:
        _shown(f"joblet down --state {state.root}")
        for line in down(state):
            print(line, flush=True)
    good = job.get("status") == "COMPLETED" and job.get("exitCode") == 0
    print()
    if not good:
        print(log.read_text(errors="replace"), file=sys.stderr)
        raise Complaint(
            f"the job ended as {job.get('status')}, exit code {job.get('exitCode')}; the server's log stands above",
            "joblet doctor examines this machine",
        )
    print("The job COMPLETED with exit code 0; nothing of it is left on this machine.")
    return 0


def start_server(command: list[str], ready_socket: Path, log: Path) -> None:
    """
    Start the server, and wait until it says that it listens (as it says to systemd).

    Raises:
        Complaint: It ended instead, or says nothing; its own words are in the message.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, log.open("wb") as output:
        ready.bind(str(ready_socket))
        environ = {**os.environ, "NOTIFY_SOCKET": str(ready_socket)}
        server = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        pidfd = os.pidfd_open(server.pid)
        try:
            readable, _, _ = select.select([ready.fileno(), pidfd], [], [], READY_WAIT_S)
        finally:
            os.close(pidfd)
        if ready.fileno() in readable and READY in ready.recv(4096).decode().splitlines():
            # `down` ends it; that we do not wait for it must not count as a leak (Popen warns when it is collected).
            server.returncode = 0
            return
    server.send_signal(signal.SIGTERM)
    server.wait(timeout=CALL_WAIT_S)
    raise Complaint(
        f"the server did not start:\n{log.read_text(errors='replace').strip()}", "joblet doctor may know why"
    )


def _as_a_user(address: str, certificates: Path) -> Mapping[str, object]:
    """Run a job, look at it; returns what `rnx status` knows of it, empty when there is no job."""
    settings = {
        "JOBLET_SERVER": address,
        "JOBLET_CERT_PATH": str(certificates / names.CLIENT_CERTIFICATE),
        "JOBLET_KEY_PATH": str(certificates / names.CLIENT_KEY),
        "JOBLET_CA_PATH": str(certificates / names.CA_CERTIFICATE),
    }
    _shown("export " + " \\\n    ".join(f"{name}={value}" for name, value in settings.items()))
    environ = {**os.environ, **settings}
    _rnx(environ, "run", "--follow", "sh", "-c", SCRIPT)
    jobs = json.loads(_rnx_output(environ, "list", "--output", "json") or "[]")
    if not jobs:
        return {}
    job_id = str(jobs[-1]["id"])
    _rnx(environ, "status", job_id)
    _rnx(environ, "list")
    job: Mapping[str, object] = json.loads(_rnx_output(environ, "status", "--output", "json", job_id) or "{}")
    return job


def _rnx(environ: Mapping[str, str], *arguments: str) -> None:
    _shown(shlex.join(["rnx", *arguments]))
    subprocess.run([sys.executable, "-m", "joblet.rnx.main", *arguments], env=environ, check=False, timeout=CALL_WAIT_S)


def _rnx_output(environ: Mapping[str, str], *arguments: str) -> bytes:
    command = [sys.executable, "-m", "joblet.rnx.main", *arguments]
    return subprocess.run(command, env=environ, check=False, timeout=CALL_WAIT_S, stdout=subprocess.PIPE).stdout


def _shown(line: str) -> None:
    """As it would be typed; flushed, because the programs write to the same terminal."""
    print(f"\n$ {line}", flush=True)
