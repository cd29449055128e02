"""
The client for programs with an asyncio event loop; call for call the same as `synchronous.JobletClient`.

Runs in: a user's program, its event loop. May not: block the loop (reading the credentials aside).
Source: API specification, "API Methods".
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, cast

from grpc import aio

from joblet.client import convert
from joblet.client.connection import (
    DEFAULT_SERVER,
    DEFAULT_TIMEOUT_S,
    address_of,
    channel_credentials,
    channel_options,
    error_of,
)
from joblet.client.credentials import SERVER_VARIABLE, Credentials
from joblet.client.errors import ClientError, NoAnswer, UnexpectedAnswer
from joblet.client.results import Job, JobStatus, StoppedJob
from joblet.client.resumption import AFTER_THE_END, PATIENCE_S, Position, gave_up, is_lost, is_whole
from joblet.domain.errors import JobletError
from joblet.wire import joblet_pb2 as pb
from joblet.wire.joblet_pb2_grpc import JobletServiceStub

if TYPE_CHECKING:
    from joblet.wire.joblet_pb2_grpc import AsyncStreamCall, AsyncUnaryCall, JobletServiceAsyncStub

Request = TypeVar("Request")
Response = TypeVar("Response")


class AsyncJobletClient:
    """
    A connection to one Joblet server, made at the first call and used by all others.

    An async context manager, to be made and used in one event loop.

    Args:
        server: HOST:PORT; the port may be left out.
        credentials: By default those that the environment names, else the files in certs/.
        timeout_s: Longest time to wait for an answer (logs and `wait` have no such limit).
        patience_s: How long a log or `wait` waits for a server that was lost meanwhile.

    Raises:
        BadAddress, BadCredentials: Nothing was connected.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        credentials: Credentials | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.address = address_of(server)
        self._credentials = credentials or Credentials.from_environment()
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._channel = aio.secure_channel(
            self.address, channel_credentials(self._credentials), options=channel_options(self.address)
        )
        self._stub = cast("JobletServiceAsyncStub", JobletServiceStub(self._channel))
        self._logs_of = cast(
            "AsyncStreamCall[pb.GetJobLogsReq, tuple[bytes, int]]",
            self._channel.unary_stream(
                convert.GET_JOB_LOGS,
                request_serializer=pb.GetJobLogsReq.SerializeToString,
                response_deserializer=convert.piece_of,
            ),
        )
        # A server that has not answered yet is asked for the status first: should it be away, that is told at once.
        self._answered = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Self:
        """
        The server and files that JOBLET_SERVER, JOBLET_CERT_PATH, JOBLET_KEY_PATH and JOBLET_CA_PATH name.

        Raises:
            BadAddress, BadCredentials: Nothing was connected.
        """
        server = environ.get(SERVER_VARIABLE) or DEFAULT_SERVER
        return cls(server, Credentials.from_environment(environ), timeout_s=timeout_s)

    async def close(self) -> None:
        """End the connection and every call on it; jobs run on."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def run_job(
        self,
        command: str,
        args: Sequence[str] = (),
        *,
        cpu_max_percent: int = 0,
        cpu_cores: str = "",
        memory_max_bytes: int = 0,
        io_max_bytes_per_s: int = 0,
        timeout_s: int = 0,
        name: str = "",
        work_dir: str = "",
        environment: Mapping[str, str] | None = None,
        secret_environment: Mapping[str, str] | None = None,
    ) -> Job:
        """
        Start a job; it runs on whatever becomes of this client.

        Args:
            command: Looked up in the job's PATH; no shell is involved.
            cpu_max_percent: 100 is one core; 0, here and below, for the server's default.
            cpu_cores: To bind to, as in "0-1,3".
            memory_max_bytes: Rounded up to whole megabytes.
            timeout_s: After which the job is stopped.
            secret_environment: Variables whose values the server never shows again.

        Raises:
            InvalidCommand, InvalidLimit, InvalidRequest, NotAllowed, TooManyJobs: It was refused.
            CgroupSetupFailed, IsolationFailed, StorageFailed, NotLinux, EngineUnavailable: It could not be started.
            ClientError: There was no answer; after NoAnswer the job may have been started.
        """
        request = convert.run_request(
            command,
            args,
            cpu_max_percent=cpu_max_percent,
            cpu_cores=cpu_cores,
            memory_max_bytes=memory_max_bytes,
            io_max_bytes_per_s=io_max_bytes_per_s,
            timeout_s=timeout_s,
            name=name,
            work_dir=work_dir,
            environment=environment or {},
            secret_environment=secret_environment or {},
        )
        return convert.started_job(await self._call(self._stub.RunJob, request))

    async def get_job_status(self, job_id: str) -> JobStatus:
        """
        Everything known about one job.

        Args:
            job_id: Its UUID or any unique beginning of it, here and everywhere.

        Raises:
            JobNotFound, AmbiguousJobId, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return convert.job_status(await self._call(self._stub.GetJobStatus, convert.status_request(job_id)))

    async def list_jobs(self) -> tuple[Job, ...]:
        """
        All jobs, oldest first.

        Raises:
            NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return tuple(map(convert.listed_job, (await self._call(self._stub.ListJobs, pb.EmptyRequest())).jobs))

    async def stop_job(self, job_id: str) -> StoppedJob:
        """
        SIGTERM to the job, 100 ms, SIGKILL; returns when nothing of it is left.

        Raises:
            JobNotFound, AmbiguousJobId, JobNotRunning, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return convert.stopped_job(await self._call(self._stub.StopJob, convert.stop_request(job_id)))

    def get_job_logs(
        self,
        job_id: str,
        *,
        offset_bytes: int = 0,
        tail_lines: int = 0,
        since: datetime | None = None,
        follow: bool = True,
    ) -> "AsyncJobLog":
        """
        The job's output, byte for byte: `async for chunk in client.get_job_logs(job_id)`.

        The server is asked when the first chunk is, so its errors (JobNotFound, AmbiguousJobId, NotAllowed,
        LogPruned, LogDamaged) are raised there.

        Args:
            offset_bytes: The first byte wanted. Byte n is the same for ever; where the log's beginning is not kept
                any more, the first chunk begins later, and the log's `offset_bytes` says where.
            tail_lines: Only the last so many lines of what is there now, and what comes after; 0: everything.
            since: Only what was printed from then on, give or take a second and a line.
            follow: Wait for more until the job has ended; else end at what is there now.
        """
        return AsyncJobLog(self, job_id, offset_bytes=offset_bytes, tail_lines=tail_lines, since=since, follow=follow)

    async def wait(self, job_id: str) -> JobStatus:
        """
        Return the job's final status when it has ended. Outlasts restarts of the server.

        Raises:
            JobNotFound, AmbiguousJobId, NotAllowed: As the server says.
            ClientError: The server could not be reached, or did not come back.
        """
        if not (self._answered and is_whole(job_id)):
            status = await self.get_job_status(job_id)
            if status.ended:
                return status
            job_id = status.id
        async with AsyncJobLog(self, job_id, offset_bytes=AFTER_THE_END, follow=True) as log:
            while not (status := await log._ended()).ended:
                pass
        return status

    async def _call(
        self,
        call: "AsyncUnaryCall[Request, Response]",
        request: Request,
        *,
        timeout_s: float | None = None,
        wait_for_ready: bool = False,
    ) -> Response:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = await call(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
        except aio.AioRpcError as error:
            raise self._error_of(error, timeout_s) from None
        self._answered = True
        return answer

    def _error_of(self, error: aio.AioRpcError, timeout_s: float = 0) -> JobletError | ClientError:
        return error_of(error.code().name, error.details() or "", self.address, self._credentials, timeout_s)


class AsyncJobLog:
    """
    One reader's way through one job's log: an async iterator of chunks that goes on after a lost connection.

    Made by `AsyncJobletClient.get_job_logs`. An async context manager.
    Iterating raises ServerUnreachable when the connection is lost and does not come back; `offset_bytes` then
    tells where to go on.
    """

    def __init__(
        self,
        client: AsyncJobletClient,
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
