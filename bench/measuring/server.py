"""
A whole Joblet for a benchmark: certificates, server, supervisor and zygote as a user has them, on loopback.

Runs in: the contributor's terminal, as root. May not: leave anything behind.
"""

import compileall
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joblet.admin import certs, serve
from joblet.admin.demo import start_server
from joblet.admin.down import down
from joblet.client import Credentials
from joblet.pki import names
from joblet.statefolder import StateFolder

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_JOBS: Final = 1000


@dataclass(frozen=True, slots=True)
class RunningServer:
    """
    A server that answers.

    Args:
        address: HOST:PORT.
        credentials: An administrator's.
    """

    address: str
    credentials: Credentials
    certificates: Path
    state: StateFolder

    @property
    def server_pid(self) -> int:
        """Of `joblet serve`."""
        return int(self.state.server_lock.read_text())

    @property
    def supervisor_pid(self) -> int:
        """Of the supervisor, the parent of the zygote and of every init."""
        return int(self.state.supervisor_lock.read_text())


@contextlib.contextmanager
def a_server() -> Iterator[RunningServer]:
    """Start it in a folder of its own; take it down with all its jobs, and remove the folder."""
    # As an installed package is: without bytecode (PYTHONDONTWRITEBYTECODE and an editable install) we would time that.
    compileall.compile_dir(ROOT / "src" / "joblet", quiet=1)
    # Not /tmp: it is often in memory, and a job is durable on the disk.
    with tempfile.TemporaryDirectory(prefix="joblet-bench-", dir="/var/tmp") as name:
        folder = Path(name).resolve()
        certificates, state = folder / "certs", StateFolder(folder / "state")
        certs.init(certificates, ["127.0.0.1"], "Joblet benchmark", 1, force=False)
        config = folder / "config.yml"
        config.write_text(f"joblet:\n  maxConcurrentJobs: {MAX_JOBS}\n")
        command = serve.command(state.root, certificates, "127.0.0.1:0", config)
        try:
            start_server(command, folder / "ready", folder / "server.log")
            credentials = Credentials.from_files(
                certificates / names.CLIENT_CERTIFICATE,
                certificates / names.CLIENT_KEY,
                certificates / names.CA_CERTIFICATE,
            )
            yield RunningServer(state.address.read_text().strip(), credentials, certificates, state)
        finally:
            for _ in down(state):
                pass
