"""
Reading a job's log over a connection that may be lost: the reader of `asynchronous.AsyncJobletClient`.

Runs in: a user's program, its event loop.
Source: API specification, "GetJobLogs".
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from grpc import aio

from joblet.client import convert
from joblet.client.errors import ClientError, NoAnswer, UnexpectedAnswer
from joblet.client.results import JobStatus
from joblet.client.resumption import Position, gave_up, is_lost, is_whole
from joblet.domain.errors import JobletError

if TYPE_CHECKING:
    from joblet.client.asynchronous import AsyncJobletClient


class AsyncJobLog:
    """
    One reader's way through one job's log: an async iterator of chunks that goes on after a lost connection.

    Made by `AsyncJobletClient.get_job_logs`. An async context manager.
    Iterating raises ServerUnreachable when the connection is lost and does not come back; `offset_bytes` then
    tells where to go on.
    """

    def __init__(
        self,
        client: "AsyncJobletClient",
        job_id: str,
        *,
        offset_bytes: int,
        follow: bool,
        tail_lines: int = 0,
        since: datetime | None = None,
    ) -> None:
        self.job_id = job_id
        self._client = client
        self._position = Position(offset_bytes)
        self._follow = follow
        self._tail_lines = tail_lines
        self._since = since
        self._chunks = self._read()

    @property
    def offset_bytes(self) -> int:
        """The offset of the first byte that was not yet handed out."""
        return self._position.offset_bytes

    async def aclose(self) -> None:
        """This reader wants no more; harmless when repeated."""
        await self._chunks.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ended(self) -> JobStatus:
        """The job's status when what is left of its log has gone by, which is when it has ended."""
        began_s = asyncio.get_running_loop().time()
        async for _ in self._read():
            pass
        # A server that ends streams before jobs must not be asked in a tight loop.
        lasted_s = asyncio.get_running_loop().time() - began_s
        return await self._status_when_back(
            self._position.lost(lasted_s), UnexpectedAnswer("OK", "the log ended too soon")
        )

    async def _read(self) -> AsyncGenerator[bytes, None]:
        client, position = self._client, self._position
        if not (client._answered and is_whole(self.job_id)):
            # A beginning of an id may fit a second job by the time the connection is lost.
            self.job_id = (await client.get_job_status(self.job_id)).id
        now_s = asyncio.get_running_loop().time
        while True:
            began_s = now_s()
            request = convert.logs_request(
                self.job_id,
                position.offset_bytes,
                tail_lines=0 if position.begun else self._tail_lines,
                since=None if position.begun else self._since,
                follow=self._follow,
            )
            stream = client._logs_of(request)
            try:
                async for payload, begins_at in stream:
                    position.read(len(payload), begins_at)
                    yield payload
                return
            except aio.AioRpcError as error:
                reason = client._error_of(error)
                if not is_lost(reason):
                    raise reason from None
            finally:
                stream.cancel()
            await self._status_when_back(position.lost(now_s() - began_s), reason)

    async def _status_when_back(self, wait_s: float | None, reason: JobletError | ClientError) -> JobStatus:
        """The job's status, once the server answers again."""
        while wait_s is not None:
            await asyncio.sleep(wait_s)
            try:
                # wait_for_ready: gRPC connects again as soon as it can, and only then asks.
                answer = await self._client._call(
                    self._client._stub.GetJobStatus,
                    convert.status_request(self.job_id),
                    timeout_s=self._client._patience_s,
                    wait_for_ready=True,
                )
            except NoAnswer:
                break
            except (JobletError, ClientError) as error:
                if not is_lost(error):
                    raise
                wait_s = self._position.lost(0)
            else:
                return convert.job_status(answer)
        raise self._gave_up(reason)

    def _gave_up(self, reason: JobletError | ClientError) -> ClientError:
        return gave_up(self._client.address, self.job_id, self.offset_bytes, reason)
