"""
The logs of a fake engine's jobs, in memory: `ports.LogStore`.

Runs in: tests. May not: be imported by production code.
"""

from joblet.domain.job import JobId


class FakeLogStore:
    """
    Logs that the fake engine fills.

    Attributes:
        reads: How often a log was read, for tests of how much readers cost.
    """

    def __init__(self) -> None:
        self._logs: dict[JobId, bytearray] = {}
        self.reads = 0

    def append(self, job_id: JobId, data: bytes) -> None:
        """More output."""
        self._logs.setdefault(job_id, bytearray()).extend(data)

    def cut(self, job_id: JobId, size_bytes: int) -> None:
        """Lose the end of a log, as a disk might."""
        del self._logs[job_id][size_bytes:]

    async def read(self, job_id: JobId, offset_bytes: int, max_bytes: int) -> bytes:
        """See `ports.LogStore.read`."""
        self.reads += 1
        log = self._logs.get(job_id, b"")
        return bytes(memoryview(log)[offset_bytes : offset_bytes + max_bytes])

    def size_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.size_bytes`."""
        return len(self._logs.get(job_id, b""))
