"""
Which connections are told how far a job's log has come.

Runs in: supervisor. May not: block, import outside the standard library.
"""

from joblet.engine.protocol import LogSize
from joblet.supervisor.connection import Connection


class Watchers:
    """Connections by the job whose log they watch."""

    def __init__(self) -> None:
        self._of: dict[str, set[Connection]] = {}

    def add(self, connection: Connection, job_id: str) -> None:
        """From now on; watching again is watching once."""
        self._of.setdefault(job_id, set()).add(connection)

    def remove(self, connection: Connection, job_id: str) -> None:
        """No more; harmless when it does not watch."""
        watchers = self._of.get(job_id)
        if watchers is not None:
            watchers.discard(connection)
            if not watchers:
                del self._of[job_id]

    def forget_connection(self, connection: Connection) -> None:
        """It is gone."""
        for job_id in [job_id for job_id, watchers in self._of.items() if connection in watchers]:
            self.remove(connection, job_id)

    def forget_job(self, job_id: str) -> None:
        """Its log grows no more."""
        self._of.pop(job_id, None)

    def tell(self, job_id: str, size_bytes: int) -> None:
        """So many bytes are in the file."""
        for watcher in list(self._of.get(job_id, ())):
            watcher.send(LogSize(job_id, size_bytes))
