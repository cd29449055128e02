"""
The logs of a fake engine's jobs, in memory: `ports.LogStore`, and `ports.LogKeeper` over the same.

Runs in: tests. May not: be imported by production code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from joblet.domain.job import JobId
from joblet.domain.retention import BLOCK_BYTES, Space, StoredLog
from joblet.ports import NotKept


@dataclass
class _Log:
    data: bytearray = field(default_factory=bytearray)
    first_bytes: int = 0
    archived: bool = False
    interrupted: bool = False
    times: list[tuple[int, int]] = field(default_factory=list)


class FakeLogStore:
    """
    Logs that the fake engine fills.

    Attributes:
        reads: How often a log was read, for tests of how much readers cost.
    """

    def __init__(self) -> None:
        self.logs: dict[JobId, _Log] = {}
        self.reads = 0

    def append(self, job_id: JobId, data: bytes) -> None:
        """More output."""
        self.logs.setdefault(job_id, _Log()).data.extend(data)

    def note_time(self, job_id: JobId, now_ns: int) -> None:
        """From now on it is known how long the log was at this time."""
        log = self.logs[job_id]
        log.times.append((now_ns, len(log.data)))

    def whole(self, job_id: JobId) -> bytes:
        """Everything that was ever appended."""
        return bytes(self.logs[job_id].data)

    def cut(self, job_id: JobId, size_bytes: int) -> None:
        """Lose the end of a log, as a disk might."""
        del self.logs[job_id].data[size_bytes:]

    def interrupt(self, job_id: JobId) -> None:
        """Leave something half-done, as a crash might."""
        self.logs[job_id].interrupted = True

    async def read(self, job_id: JobId, offset_bytes: int, max_bytes: int) -> bytes:
        """See `ports.LogStore.read`."""
        self.reads += 1
        log = self.logs.get(job_id, _Log())
        if offset_bytes < log.first_bytes:
            raise NotKept(log.first_bytes)
        return bytes(memoryview(log.data)[offset_bytes : offset_bytes + max_bytes])

    def size_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.size_bytes`."""
        return len(self.logs.get(job_id, _Log()).data)

    def first_bytes(self, job_id: JobId) -> int:
        """See `ports.LogStore.first_bytes`."""
        return self.logs.get(job_id, _Log()).first_bytes

    async def offset_at(self, job_id: JobId, at_ns: int) -> int:
        """See `ports.LogStore.offset_at`."""
        times = self.logs.get(job_id, _Log()).times
        return max((size for time_ns, size in times if time_ns <= at_ns), default=0)

    def refresh(self) -> None:
        """See `ports.LogStore.refresh`."""


class FakeLogKeeper:
    """
    Retention's hands on the logs of a `FakeLogStore`. An archive takes a tenth.

    Attributes:
        disk: How full it is.
        error: What the next call that changes a log raises, if anything.
        looks: How often everything was looked at.
    """

    def __init__(self, store: FakeLogStore) -> None:
        self._store = store
        self.disk = Space(1000, 900)
        self.error: Exception | None = None
        self.looks = 0

    async def stored(self) -> Sequence[StoredLog]:
        """See `ports.LogKeeper.stored`."""
        self.looks += 1
        return [
            StoredLog(
                job_id,
                0 if log.archived else len(log.data),
                self._disk_bytes(job_id),
                0 if log.archived else log.first_bytes,
                plain=not log.archived,
                archived=log.archived,
                interrupted=log.interrupted,
            )
            for job_id, log in self._store.logs.items()
        ]

    async def mend(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.mend`."""
        self._may_fail()
        self._store.logs[job_id].interrupted = False
        return 0

    async def trim(self, job_id: JobId, first_bytes: int) -> int:
        """See `ports.LogKeeper.trim`."""
        self._may_fail()
        before, log = self._disk_bytes(job_id), self._store.logs.get(job_id)
        if log is None or log.archived:
            return 0
        first_bytes = min(first_bytes, len(log.data)) // BLOCK_BYTES * BLOCK_BYTES
        log.first_bytes = max(log.first_bytes, first_bytes)
        return before - self._disk_bytes(job_id)

    async def compress(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.compress`."""
        self._may_fail()
        before = self._disk_bytes(job_id)
        if job_id in self._store.logs:
            self._store.logs[job_id].archived = True
        return before - self._disk_bytes(job_id)

    async def remove(self, job_id: JobId) -> int:
        """See `ports.LogKeeper.remove`."""
        self._may_fail()
        before = self._disk_bytes(job_id)
        self._store.logs.pop(job_id, None)
        return before

    async def space(self) -> Space:
        """See `ports.LogKeeper.space`."""
        return self.disk

    def _disk_bytes(self, job_id: JobId) -> int:
        log = self._store.logs.get(job_id)
        if log is None:
            return 0
        kept_bytes = len(log.data) - log.first_bytes
        return kept_bytes // 10 if log.archived else kept_bytes

    def _may_fail(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error
