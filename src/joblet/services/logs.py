"""
Logs: the output of a job from any offset on, then live, to any number of readers.

Runs in: server loop. May not: block, start a thread, know gRPC or files.
Source: API specification, "GetJobLogs", "Streaming Behavior".
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Self

from joblet.domain.job import Job, JobId
from joblet.ports import Engine, Journal, LogStore
from joblet.services.jobs import Jobs

CHUNK_BYTES: Final = 1024 * 1024
STALL_TIMEOUT_S: Final = 30.0


class LogStream(AsyncIterator[bytes]):
    """
    One reader's way through one job's log: `async for chunk in stream`.

    Ends when the job has ended and all of its log was delivered (without `follow`: at what was
    there at the beginning). To be closed with `aclose`, or `async with`, by whoever leaves it early;
    `deliver` does.

    Attributes:
        job_id: The full id.
        offset_bytes: Of the first byte not yet handed out.
    """

    job_id: JobId
    offset_bytes: int

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, never empty."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """This reader wants no more. Harmless when repeated."""


class Logs:
    """
    Streams of jobs' logs. Registers itself with `jobs` for what it needs to hear.

    Args:
        chunk_bytes: Most bytes in one piece; must leave room for the message around it below maxSendMsgSize.
    """

    def __init__(
        self, jobs: Jobs, engine: Engine, store: LogStore, journal: Journal, *, chunk_bytes: int = CHUNK_BYTES
    ) -> None: ...

    def stream(
        self, id_or_prefix: str, *, offset_bytes: int = 0, tail_lines: int = 0, follow: bool = True
    ) -> LogStream:
        """
        The log of a job. Nothing is read before the first piece is asked for; errors are raised here and now.

        Args:
            offset_bytes: First byte wanted; beyond the end, the stream begins when the log gets there.
            tail_lines: Only the last so many lines of what is there now, and what comes after; 0: everything.
            follow: False to end at what is written now.

        Raises:
            JobNotFound, AmbiguousJobId: As `Jobs.resolve`.
            InvalidRequest: A negative number.
        """
        raise NotImplementedError

    def engine_attached(self) -> None:
        """See `JobListener`."""

    def job_running(self, job_id: JobId) -> None:
        """See `JobListener`."""

    def job_ended(self, job: Job) -> None:
        """See `JobListener`."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """See `JobListener`."""


async def deliver(
    stream: LogStream, send: Callable[[bytes], Awaitable[object]], *, stall_timeout_s: float = STALL_TIMEOUT_S
) -> None:
    """
    Send a whole stream, piece by piece, and close it in every case.

    Args:
        send: Returns when the reader's side takes more: its waiting is the flow control
            (`lambda chunk: context.write(DataChunk(payload=chunk))`).
        stall_timeout_s: Longest time one piece may take.

    Raises:
        SlowReader: A piece took longer; it says the offset to resume at (the first byte of that piece).
        Whatever `send` raises.
    """
    raise NotImplementedError
