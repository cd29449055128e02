"""
Retention: makes the logs what `domain.retention` says they should be, at the start and then once a minute.

    what lies there ─► tidy ─► one log after another ─► what lies there now ─► shrink ─► one after another

Nothing here is urgent: one call at a time, and what fails is told and tried again a minute later.

Runs in: server loop. May not: block, start a thread, know files.
Source: docs/administrators.md, "How long logs are kept".
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, assert_never

from joblet.domain.errors import JobNotFound
from joblet.domain.job import Ended, JobId
from joblet.domain.retention import Action, Compress, Mend, Remove, Rules, StoredLog, Trim, shrink, surplus, tidy
from joblet.ports import Clock, Journal, LogBusy, LogKeeper, LogStore
from joblet.services.jobs import Jobs
from joblet.services.logs import Logs

INTERVAL_S: Final = 60.0
REMIND_S: Final = 3600.0
FULL: Final = 0.90
FULL_NO_MORE: Final = 0.88  # else a disk at the limit would be told of every minute
_LOOKED_UP_AT_ONCE: Final = 50


class Retention:
    """
    Keeps the logs within the rules.

    Args:
        logs: Who reads which.
        store: Is told that logs went.
        rules: With none, only what a crash left half-done is finished, once; and a full disk is told of.
        interval_s: Between two looks.
    """

    def __init__(
        self,
        jobs: Jobs,
        logs: Logs,
        store: LogStore,
        keeper: LogKeeper,
        clock: Clock,
        journal: Journal,
        rules: Rules,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._jobs = jobs
        self._logs = logs
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._journal = journal
        self._rules = rules
        self._interval_s = interval_s
        self._ended_ns: dict[JobId, int] = {}
        self._mended = False
        self._full = Reminder()
        self._too_large = Reminder()
        self._failing = Reminder()

    async def run(self) -> None:
        """Look now, and then again and again: one task for the life of the server."""
        while True:
            try:
                await self.look()
            except OSError as error:
                self._tell_failure(error)
            except Exception as error:
                self._journal.log("ERROR", "internal error", task="retention", error=repr(error))
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """
        Look once, and do what is to be done.

        Raises:
            OSError: The folder of logs cannot be read.
        """
        if not (self._rules.keep_everything and self._mended):
            await self._keep_rules()
            self._mended = True
        await self._watch_space()

    async def _keep_rules(self) -> None:
        done: list[Action] = []
        stored = await self._keeper.stored()
        ended_ns = await self._ends_of(stored)
        now_ns = self._clock.now_ns()
        freed = await self._do(tidy(self._rules, stored, ended_ns, now_ns=now_ns, is_read=self._logs.is_read), done)
        if surplus(self._rules, stored):
            stored = await self._keeper.stored()
            freed += await self._do(shrink(self._rules, stored, ended_ns, is_read=self._logs.is_read), done)
            await self._tell_surplus()
        else:
            self._too_large.over()
        self._store.refresh()
        if done:
            self._journal.log(
                "INFO",
                "logs pruned",
                bytes=freed,
                logs=len({action.job_id for action in done}),
                removed=sum(isinstance(action, Remove) for action in done),
                cut=sum(isinstance(action, Trim) for action in done),
                compressed=sum(isinstance(action, Compress) for action in done),
            )

    async def _ends_of(self, stored: Sequence[StoredLog]) -> dict[JobId, int]:
        """When each of these logs' jobs has ended, if it has. The store is asked once a job, a few between turns."""
        found: dict[JobId, int] = {}
        for number, log in enumerate(stored):
            ended_ns = self._ended_ns.get(log.job_id)
            if ended_ns is None:
                ended_ns = self._ended(log.job_id)
                if number % _LOOKED_UP_AT_ONCE == 0:
                    await asyncio.sleep(0)
            if ended_ns is not None:
                found[log.job_id] = ended_ns
        self._ended_ns = found
        return found

    def _ended(self, job_id: JobId) -> int | None:
        try:
            phase = self._jobs.newest(job_id).phase
        except JobNotFound:
            return None  # a log without a record is nobody's to judge
        return phase.ended_ns if isinstance(phase, Ended) else None

    async def _do(self, actions: Sequence[Action], done: list[Action]) -> int:
        """Bytes freed."""
        freed = 0
        for action in actions:
            if isinstance(action, Remove) and self._logs.is_read(action.job_id):
                continue  # somebody has come since
            try:
                freed += await self._work(action)
            except LogBusy:
                self._journal.log("DEBUG", "log is worked on by another process", jobId=action.job_id)
            except OSError as error:
                self._tell_failure(error, jobId=action.job_id, tried=type(action).__name__.lower())
            else:
                done.append(action)
        return freed

    def _work(self, action: Action) -> Awaitable[int]:
        match action:
            case Mend(job_id=job_id):
                return self._keeper.mend(job_id)
            case Trim(job_id=job_id, first_bytes=first_bytes):
                return self._keeper.trim(job_id, first_bytes)
            case Compress(job_id=job_id):
                return self._keeper.compress(job_id)
            case Remove(job_id=job_id):
                return self._keeper.remove(job_id)
            case _:
                assert_never(action)

    def _tell_failure(self, error: OSError, **fields: object) -> None:
        if self._failing.is_due(self._clock.now_ns()):
            why = error.strerror or str(error)
            self._journal.log("WARN", "logs cannot be pruned", why=why.lower(), file=error.filename or "", **fields)

    async def _tell_surplus(self) -> None:
        stored = await self._keeper.stored()
        over_bytes = surplus(self._rules, stored)
        if not over_bytes:
            self._too_large.over()
        elif self._too_large.is_due(self._clock.now_ns()):
            total_bytes = self._rules.max_bytes + over_bytes
            self._journal.log(
                "WARN", "logs of running jobs exceed logs.maxBytes", bytes=total_bytes, maxBytes=self._rules.max_bytes
            )

    async def _watch_space(self) -> None:
        space = await self._keeper.space()
        fields = {"used": f"{space.used:.0%}", "freeBytes": space.free_bytes}
        if space.used > FULL:
            if self._full.is_due(self._clock.now_ns()):
                advice = "see joblet logs stat; logs.maxBytes, logs.maxAge and logs.compressAfter make room"
                self._journal.log("WARN", "the disk of the logs is nearly full", **fields, advice=advice)
        elif space.used < FULL_NO_MORE and self._full.over():
            self._journal.log("INFO", "the disk of the logs has room again", **fields)


class Reminder:
    """Tells of something that lasts: when it begins, and then once an hour."""

    def __init__(self) -> None:
        self._next_ns: int | None = None

    def is_due(self, now_ns: int) -> bool:
        """It lasts. Whether it is to be told now."""
        if self._next_ns is not None and now_ns < self._next_ns:
            return False
        self._next_ns = now_ns + round(REMIND_S * 1_000_000_000)
        return True

    def over(self) -> bool:
        """It is over. Whether it had been told."""
        was_told, self._next_ns = self._next_ns is not None, None
        return was_told
