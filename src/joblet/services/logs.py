"""
Logs: the output of a job from any offset on, then live, to any number of readers.

Readers read the log by offset and hold nothing but their place in it; what they wait for is one
shared watch a job. So a slow reader costs no memory, and a late one sees what the first one saw.

Runs in: server loop. May not: block, start a thread, know gRPC or files.
Source: API specification, "GetJobLogs", "Streaming Behavior".
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Self

from joblet.domain.errors import InvalidRequest, LogPruned, SlowReader
from joblet.domain.job import Ended, Job, JobId
from joblet.ports import Engine, Journal, LogStore, NotKept
from joblet.services.jobs import Jobs
from joblet.services.logplaces import line_at, tail_offset

# Larger pieces fall out of the processor's caches on their way through gRPC, smaller ones cost a round of the loop
# each: CPU time of server and one reader for 256 MiB, in pieces of 1 MiB 0.76 s, of 512 KiB 0.71, of 256 KiB 0.87.
CHUNK_BYTES: Final = 512 * 1024
# A piece is what its reader takes in PIECE_S, so those who read fast hold together what the machine sends in that time,
# and each slow one a piece of the least size.
PIECE_S: Final = 0.025
LEAST_CHUNK_BYTES: Final = 64 * 1024
# And a piece is at most such a part of what its reader has taken before: some MiB vanish into the buffers of sockets at
# once, whoever reads. Memory of the server for each of 100 slow readers, with 16: 0.68 MB, 32: 0.40, 64: 0.27 (pieces
# of 512 KiB for everybody: 1.75); but with 64 a log of 32 MiB is over before its pieces are large.
BUFFERED: Final = 32
STALL_TIMEOUT_S: Final = 30.0


class _Watch:
    """
    What all readers of one job wait for.

    `changed` is replaced whenever it is set: a reader takes it before it looks, so nothing that
    happens after the look is missed. `over` once the job has ended: then the engine has forgotten the watch.
    """

    __slots__ = ("changed", "over", "readers")

    def __init__(self) -> None:
        self.readers = 0
        self.over = False
        self.changed = asyncio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class LogStream(AsyncIterator[bytes]):
    """
    One reader's way through one job's log: `async for chunk in stream`.

    Ends when the job has ended and all of its log was delivered (without `follow`: at what was
    there at the beginning). To be closed with `aclose`, or `async with`, by whoever leaves it early;
    `deliver` does.

    Attributes:
        job_id: The full id.
        offset_bytes: Of the first byte not yet handed out.
        begins_at: Offset of the piece handed out last, when it is not the byte that was next: because of what was
            asked for, or because what lay between is not kept any more. Else 0.
        piece_bytes: Most bytes of the next piece.
    """

    def __init__(
        self, logs: "Logs", job_id: JobId, *, offset_bytes: int, tail_lines: int, since_ns: int, follow: bool
    ) -> None:
        self.job_id = job_id
        self.offset_bytes = offset_bytes
        self.begins_at = 0
        self._next_bytes = offset_bytes
        self.piece_bytes = min(LEAST_CHUNK_BYTES, logs.chunk_bytes)
        self._taken_bytes = 0
        self._logs = logs
        self._tail_lines = tail_lines
        self._since_ns = since_ns
        # Where a reader that does not follow stops: a job that prints without end must not hold it for ever.
        self._until: int | None = None if follow else logs.size_bytes(job_id)
        self._log_bytes: int | None = None
        self._watch: _Watch | None = None
        self._begun = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, never empty."""
        if self._closed:
            raise StopAsyncIteration
        try:
            if not self._begun:
                self._begun = True
                self._logs.begin(self.job_id)
                await self._find_beginning()
            chunk = await self._next()
        except BaseException:
            await self.aclose()
            raise
        if not chunk:
            await self.aclose()
            raise StopAsyncIteration
        self.begins_at = self.offset_bytes if self.offset_bytes != self._next_bytes else 0
        self._next_bytes = self.offset_bytes = self.offset_bytes + len(chunk)
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def taken(self, piece_bytes: int, took_s: float) -> None:
        """
        The reader has taken a piece; the next one will be what it takes in PIECE_S.

        Larger only by and by: the first ones vanish into buffers in no time, whoever reads.
        """
        self._taken_bytes += piece_bytes
        if took_s < PIECE_S:
            fitting = min(2 * self.piece_bytes, self._taken_bytes // BUFFERED)
        else:
            fitting = int(piece_bytes * PIECE_S / took_s)
        self.piece_bytes = min(max(fitting, LEAST_CHUNK_BYTES), self._logs.chunk_bytes)

    async def aclose(self) -> None:
        """This reader wants no more. Harmless when repeated."""
        if self._begun and not self._closed:
            self._logs.end(self.job_id)
        self._closed = True
        if self._watch is not None:
            self._logs.leave(self.job_id, self._watch)
            self._watch = None

    async def _find_beginning(self) -> None:
        """Where what was asked for begins; again, when that was removed while it was looked for."""
        if self._since_ns:
            since_bytes = await self._logs.since_offset(self.job_id, self._since_ns)
            self.offset_bytes = max(self.offset_bytes, since_bytes)
        while self._tail_lines:
            try:
                self.offset_bytes = await self._logs.tail_offset(
                    self.job_id, self._tail_lines, not_before=self.offset_bytes
                )
                return
            except NotKept as error:
                self.offset_bytes = error.first_bytes

    async def _read(self) -> bytes:
        """One piece from the offset on, or from where the log begins now."""
        while True:
            most_bytes = self.piece_bytes
            if self._until is not None:
                most_bytes = min(most_bytes, self._until - self.offset_bytes)
            try:
                return await self._logs.read(self.job_id, self.offset_bytes, most_bytes)
            except NotKept as error:
                self.offset_bytes = error.first_bytes

    async def _next(self) -> bytes:
        """Bytes from the offset on; empty at the end of the stream."""
        logs = self._logs
        if self._until is not None:
            chunk = await self._read()
            if not chunk and self.offset_bytes < self._until:
                logs.check_kept(self.job_id)
            return chunk
        while True:
            # First what to wait for, then what is known, then the look: in this order nothing slips through.
            changed = self._watch.changed if self._watch is not None else None
            if self._log_bytes is None:
                self._log_bytes = logs.final_bytes(self.job_id)
            if self._log_bytes is not None and self.offset_bytes >= self._log_bytes:
                return b""
            if chunk := await self._read():
                return chunk
            if self._log_bytes is not None:
                logs.check_kept(self.job_id)
                logs.tell_incomplete(self.job_id, self._log_bytes)
                return b""
            if changed is None:
                # History came first and needs no watch; now look again with one.
                self._watch = logs.join(self.job_id)
            else:
                await changed.wait()


class Logs:
    """
    Streams of jobs' logs. Registers itself with `jobs` for what it needs to hear.

    Args:
        chunk_bytes: Most bytes in one piece; must leave room for the message around it below maxSendMsgSize.
    """

    def __init__(
        self, jobs: Jobs, engine: Engine, store: LogStore, journal: Journal, *, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes must be at least 1, not {chunk_bytes}")
        self._jobs = jobs
        self._engine = engine
        self._store = store
        self._journal = journal
        self.chunk_bytes = chunk_bytes
        self._watches: dict[JobId, _Watch] = {}
        self._streams: Counter[JobId] = Counter()
        jobs.listen(self)

    @property
    def readers(self) -> int:
        """Streams that wait for a job's output now."""
        return sum(watch.readers for watch in self._watches.values())

    def is_read(self, job_id: JobId) -> bool:
        """Whether anybody is in the middle of this job's log."""
        return job_id in self._streams

    def stream(
        self, id_or_prefix: str, *, offset_bytes: int = 0, tail_lines: int = 0, since_ns: int = 0, follow: bool = True
    ) -> LogStream:
        """
        The log of a job. Nothing is read before the first piece is asked for; errors are raised here and now.

        Args:
            offset_bytes: First byte wanted; beyond the end, the stream begins when the log gets there.
            tail_lines: Only the last so many lines of what is there now, and what comes after; 0: everything.
                With an offset too, whichever begins later.
            since_ns: Only what was printed from this time on (nanoseconds since the epoch), give or take a second
                and a line; 0: everything. Where nothing tells when what was printed, everything.
            follow: False to end at what is written now.

        Raises:
            JobNotFound, AmbiguousJobId: As `Jobs.resolve`.
            InvalidRequest: A negative number.
            LogPruned: The log was removed. Not for who wants nothing of it but its end (an offset behind it).
        """
        for name, number in (("offset", offset_bytes), ("tail", tail_lines), ("since", since_ns)):
            if number < 0:
                raise InvalidRequest(f"{name} must not be negative")
        job_id = self._jobs.resolve(id_or_prefix)
        if offset_bytes < (self.final_bytes(job_id) or 0):
            self.check_kept(job_id)
        return LogStream(
            self, job_id, offset_bytes=offset_bytes, tail_lines=tail_lines, since_ns=since_ns, follow=follow
        )

    # For LogStream

    def begin(self, job_id: JobId) -> None:
        """A stream begins to read."""
        self._streams[job_id] += 1

    def end(self, job_id: JobId) -> None:
        """A stream has ended."""
        self._streams[job_id] -= 1
        if not self._streams[job_id]:
            del self._streams[job_id]

    def check_kept(self, job_id: JobId) -> None:
        """
        Find out whether there is nothing of a log because it was removed.

        Raises:
            LogPruned: So it is.
        """
        log_bytes = self.final_bytes(job_id)
        if log_bytes and not self._store.size_bytes(job_id):
            raise LogPruned(job_id, log_bytes)

    def size_bytes(self, job_id: JobId) -> int:
        """How far the log can be read now."""
        return self._store.size_bytes(job_id)

    def final_bytes(self, job_id: JobId) -> int | None:
        """Length of the whole log, once the job has ended."""
        phase = self._jobs.newest(job_id).phase
        return phase.log_bytes if isinstance(phase, Ended) else None

    async def read(self, job_id: JobId, offset_bytes: int, most_bytes: int) -> bytes:
        """One piece; empty when there is none, or none is wanted."""
        wanted = min(most_bytes, self.chunk_bytes)
        return await self._store.read(job_id, offset_bytes, wanted) if wanted > 0 else b""

    async def tail_offset(self, job_id: JobId, lines: int, *, not_before: int) -> int:
        """See `logplaces.tail_offset`."""
        return await tail_offset(self._store, job_id, lines, not_before=not_before, block_bytes=self.chunk_bytes)

    async def since_offset(self, job_id: JobId, since_ns: int) -> int:
        """Where the line begins that was being printed at this time."""
        phase = self._jobs.newest(job_id).phase
        if isinstance(phase, Ended) and phase.ended_ns < since_ns:
            return phase.log_bytes
        return await line_at(self._store, job_id, await self._store.offset_at(job_id, since_ns))

    def tell_incomplete(self, job_id: JobId, log_bytes: int) -> None:
        """The job is over and the reader has all there is, which is not all there was."""
        size_bytes = self._store.size_bytes(job_id)
        self._journal.log("WARN", "log is incomplete", jobId=job_id, logBytes=log_bytes, readableBytes=size_bytes)

    def join(self, job_id: JobId) -> _Watch:
        """One more reader waits for this job."""
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = _Watch()
            self._engine.watch_log(job_id)
        watch.readers += 1
        return watch

    def leave(self, job_id: JobId, watch: _Watch) -> None:
        """One reader less; the last one ends the watch."""
        watch.readers -= 1
        if not watch.readers:
            del self._watches[job_id]
            if not watch.over:
                self._engine.unwatch_log(job_id)

    # JobListener

    def engine_attached(self) -> None:
        """See `JobListener`."""
        for job_id in self._watches:
            self._engine.watch_log(job_id)

    def engine_lost(self) -> None:
        """See `JobListener`."""

    def job_running(self, job_id: JobId) -> None:
        """See `JobListener`."""
        if job_id in self._watches:
            # A reader may have come before the engine knew of the job.
            self._engine.watch_log(job_id)

    def job_ended(self, job: Job) -> None:
        """See `JobListener`."""
        if watch := self._watches.get(job.id):
            watch.over = True
            watch.tell()

    def job_unmade(self, job: Job) -> None:
        """See `JobListener`."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """See `JobListener`."""
        if watch := self._watches.get(job_id):
            watch.tell()


async def deliver(
    stream: LogStream, send: Callable[[bytes], Awaitable[object]], *, stall_timeout_s: float = STALL_TIMEOUT_S
) -> None:
    """
    Send a whole stream, piece by piece, and close it in every case.

    Args:
        send: Returns when the reader's side takes more: its waiting is the flow control
            (`lambda chunk: context.write(DataChunk(payload=chunk))`). It is cancelled at the timeout.
        stall_timeout_s: Longest time one piece may take.

    Raises:
        SlowReader: A piece took longer; it says the offset to resume at (the first byte of that piece).
        Whatever `send` raises.
    """
    now_s = asyncio.get_running_loop().time
    async with stream:
        async for chunk in stream:
            chunk_bytes, began_s = len(chunk), now_s()
            sending = send(chunk)
            del chunk  # what is sent is a copy with its key and length: a reader that waits need not hold both
            timeout = asyncio.timeout(stall_timeout_s)
            try:
                async with timeout:
                    await sending
            except TimeoutError:
                if not timeout.expired():
                    raise
                raise SlowReader(stream.job_id, stall_timeout_s, stream.offset_bytes - chunk_bytes) from None
            stream.taken(chunk_bytes, now_s() - began_s)
