"""
Phases of jobs on their way into the store.

What is entered while a transaction runs goes into the next one together; of one job only the
newest phase is written. An end that the store refuses is kept, told, and tried again: the truth
about a job is worth more than its record.

Runs in: server loop. May not: block, judge a job.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from joblet.domain.job import Ended, Job, JobId
from joblet.ports import JobStore, Journal

# A RUNNING that its end overtakes within this time costs no write of its own: half the writes of short jobs.
# Nothing is lost by it: after a crash, the engine says what runs.
RUNNING_DELAY_S: Final = 0.05
RETRY_S: Final = 1.0


class TellEnds(Protocol):
    """Called in the loop with ends that are now stored, or that could not be stored for now."""

    def __call__(self, jobs: Sequence[Job], *, stored: bool) -> None: ...


class Ledger:
    """
    Writes phases behind the caller's back.

    Attributes:
        unstored: Ended jobs that users have been told of and the store has not taken yet.
    """

    def __init__(self, store: JobStore, journal: Journal, tell_ends: TellEnds) -> None:
        self._store = store
        self._journal = journal
        self._tell_ends = tell_ends
        self._pending: dict[JobId, Job] = {}
        self._writing: asyncio.Task[None] | None = None
        self._delay: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()
        self.unstored: dict[JobId, Job] = {}

    def enter(self, job: Job) -> None:
        """Store this phase now."""
        self._pending[job.id] = job
        self._write_now()

    def enter_soon(self, job: Job) -> None:
        """Store this phase within RUNNING_DELAY_S, unless a newer one replaces it."""
        self._pending[job.id] = job
        if self._delay is None:
            self._delay = asyncio.get_running_loop().call_later(RUNNING_DELAY_S, self._write_now)

    async def close(self) -> None:
        """Store what is entered, in one last attempt."""
        self._closing.set()
        if self._pending:
            self._write_now()
        if self._writing is not None:
            await self._writing

    def _write_now(self) -> None:
        if self._delay is not None:
            self._delay.cancel()
            self._delay = None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._pending:
                batch = list(self._pending.values())
                self._pending.clear()
                refused = await self._write_batch(batch)
                if refused and self._closing.is_set():
                    return
                if refused:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_S):
                            await self._closing.wait()
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[Job]) -> bool:
        """Whether the store refused any of it."""
        results = await asyncio.gather(*(self._store.update(job) for job in batch), return_exceptions=True)
        stored: list[Job] = []
        refused: list[Job] = []
        for job, error in zip(batch, results, strict=True):
            if error is None:
                self.unstored.pop(job.id, None)
                if isinstance(job.phase, Ended):
                    stored.append(job)
                continue
            self._journal.log("ERROR", "job status not stored", jobId=job.id, status=job.state, error=str(error))
            self._pending.setdefault(job.id, job)
            if isinstance(job.phase, Ended):
                self.unstored[job.id] = job
                refused.append(job)
        if stored:
            self._tell_ends(stored, stored=True)
        if refused:
            self._tell_ends(refused, stored=False)
        return any(error is not None for error in results)
