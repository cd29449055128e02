"""
The test machine as its users have it: another computer, reached over a network.

Runs in: pytest on the machine's host, where the machine can be reached (`nox -s integration`).
"""

from pathlib import Path
from typing import Final

from machine import Machine

from joblet.client import Credentials, JobletClient

FILES: Final = ("ca-cert.pem", "client-cert.pem", "client-key.pem", "viewer-client-cert.pem", "viewer-client-key.pem")


class Remote:
    """
    A machine with Joblet on it.

    Args:
        machine: It runs.
        certificates: Of its users, on this side.
    """

    def __init__(self, machine: Machine, certificates: Path) -> None:
        self.machine = machine
        self.address = f"{machine.address()}:50051"
        self.certificates = certificates

    def environ(self, role: str = "client") -> dict[str, str]:
        """With which `rnx` reaches it."""
        return {
            "JOBLET_SERVER": self.address,
            "JOBLET_CERT_PATH": str(self.certificates / f"{role}-cert.pem"),
            "JOBLET_KEY_PATH": str(self.certificates / f"{role}-key.pem"),
            "JOBLET_CA_PATH": str(self.certificates / "ca-cert.pem"),
        }

    def connected(self) -> JobletClient:
        """An administrator's connection."""
        return JobletClient(self.address, Credentials.from_environment(self.environ()))
