"""
The layout of a server's state folder: the one place that knows its file names.

Runs in: server loop, supervisor, command lines. May not: import outside the standard library.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

UNIX_PATH_MAX = 107  # <linux/un.h>, less the closing NUL


def is_plain_name(text: str) -> bool:
    """Whether files can be named after it without leaving their folder."""
    return bool(text) and not text.startswith(".") and "/" not in text and "\0" not in text


@dataclass(frozen=True, slots=True)
class StateFolder:
    """
    Everything one server keeps, below one folder that only root may enter.

    Args:
        root: Absolute path of the folder.
    """

    root: Path

    @property
    def database(self) -> Path:
        """SQLite: jobs and workflows, and, later, volumes and networks."""
        return self.root / "joblet.db"

    @property
    def secrets_key(self) -> Path:
        """What secrets in the database are sealed with."""
        return self.root / "secrets.key"

    @property
    def logs(self) -> Path:
        """A log per job, and what is known about it beside it."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """A status file per job that has not been forgotten, written by the job's init."""
        return self.root / "run"

    @property
    def work(self) -> Path:
        """A work folder per job under way."""
        return self.root / "work"

    @property
    def spill(self) -> Path:
        """Output of jobs that waits for the logs' disk, where the configuration says so."""
        return self.root / "spill"

    @property
    def tree(self) -> Path:
        """Where the supervisor mounts the template of the jobs' file tree, in a mount namespace of its own."""
        return self.root / "tree"

    @property
    def socket(self) -> Path:
        """Where the supervisor listens."""
        return self.root / "supervisor.sock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the one supervisor."""
        return self.root / "supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor writes to its standard outputs, whether or not a server listens."""
        return self.root / "supervisor.log"

    @property
    def server_lock(self) -> Path:
        """Held by the one server; holds its process id."""
        return self.root / "server.lock"

    @property
    def address(self) -> Path:
        """HOST:PORT the server listens on, for scripts that asked for port 0."""
        return self.root / "address"

    def log(self, job_id: str) -> Path:
        """The log of one job."""
        return self.logs / f"{job_id}.log"

    def log_archive(self, job_id: str) -> Path:
        """The same log compressed: instead of it, or not yet instead of it."""
        return self.logs / f"{job_id}.log.z"

    def log_kept(self, job_id: str) -> Path:
        """Where the log begins now, once its beginning was removed."""
        return self.logs / f"{job_id}.kept"

    def log_times(self, job_id: str) -> Path:
        """How long the log was when."""
        return self.logs / f"{job_id}.times"

    def status(self, job_id: str) -> Path:
        """The status file of one job."""
        return self.run / job_id

    def work_of(self, job_id: str) -> Path:
        """The work folder of one job."""
        return self.work / job_id

    def create(self) -> int:
        """
        Make what is missing, for its owner's eyes only.

        An existing folder of ours that others may enter is closed to them, if it is empty or has been a state
        folder before: somebody may have named /tmp, and a machine does not work with that closed.

        Returns:
            The permissions the folder had before.

        Raises:
            OSError: With the path that cannot be made.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.root.stat()
        before = stat.S_IMODE(found.st_mode)
        if before & 0o077 and found.st_uid == os.geteuid() and (self.database.exists() or not os.listdir(self.root)):
            self.root.chmod(0o700)
        for folder in (self.logs, self.run, self.work, self.tree):
            folder.mkdir(mode=0o700, exist_ok=True)
        return before

    def socket_address(self, folder_fd: int) -> str:
        """
        An address for bind and connect that always fits, given an open descriptor of the folder.

        A state folder may lie deeper than the 107 bytes that a unix socket's address can hold.
        """
        direct = str(self.socket)
        if len(direct.encode()) <= UNIX_PATH_MAX:
            return direct
        return f"/proc/self/fd/{folder_fd}/{self.socket.name}"
