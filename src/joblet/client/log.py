"""
Reading a job's log over a connection that may be lost: the reader of `synchronous.JobletClient`.

Runs in: a user's program, any thread.
Source: API specification, "GetJobLogs".
"""

import time
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from joblet.client import convert
from joblet.client.errors import ClientError, NoAnswer, UnexpectedAnswer
from joblet.client.results import JobStatus
from joblet.client.resumption import Position, gave_up, is_lost
from joblet.domain.errors import JobletError

if TYPE_CHECKING:
    from joblet.client.synchronous import JobletClient
    from joblet.wire.joblet_pb2_grpc import ResponseStream


class JobLog:
    """
    One reader's way through one job's log: an iterator of chunks that goes on after a lost connection.

    Made by `JobletClient.get_job_logs`. A context manager; `close` may be called from another thread.
    Iterating raises ServerUnreachable when the connection is lost and does not come back; `offset_bytes` then
    tells where to go on.
    """

    def __init__(
        self,
        client: "JobletClient",
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
        self._stream: ResponseStream[tuple[bytes, int]] | None = None
        self._closed = False
        self._chunks = self._read()

    @property
    def offset_bytes(self) -> int:
        """The offset of the first byte that was not yet handed out."""
        return self._position.offset_bytes

    def close(self) -> None:
        """This reader wants no more; harmless when repeated."""
        self._closed = True
        if self._stream is not None:
            self._stream.cancel()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ended(self) -> JobStatus:
        """The job's status when what is left of its log has gone by, which is when it has ended."""
        began_s = time.monotonic()
        for _ in self._read():
            pass
        # A server that ends streams before jobs must not be asked in a tight loop.
        lasted_s = time.monotonic() - began_s
        return self._status_when_back(self._position.lost(lasted_s), UnexpectedAnswer("OK", "the log ended too soon"))

    def _read(self) -> Iterator[bytes]:
        client, position = self._client, self._position
        while not self._closed:
            began_s = time.monotonic()
            request = convert.logs_request(
                self.job_id,
                position.offset_bytes,
                tail_lines=0 if position.begun else self._tail_lines,
                since=None if position.begun else self._since,
                follow=self._follow,
            )
            self._stream = client._logs_of(request)
            if self._closed:  # meanwhile, by another thread
                self._stream.cancel()
            try:
                for payload, begins_at in self._stream:
                    position.read(len(payload), begins_at)
                    yield payload
                return
            except grpc.RpcError as error:
                if self._closed:
                    return
                reason = client._error_of(error)
                if not is_lost(reason):
                    raise reason from None
            finally:
                self._stream.cancel()
            self._status_when_back(position.lost(time.monotonic() - began_s), reason)

    def _status_when_back(self, wait_s: float | None, reason: JobletError | ClientError) -> JobStatus:
        """The job's status, once the server answers again."""
        while wait_s is not None:
            time.sleep(wait_s)
            try:
                # wait_for_ready: gRPC connects again as soon as it can, and only then asks.
                answer = self._client._call(
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
