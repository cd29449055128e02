"""
The client for programs without an event loop; `rnx` is written on it.

Runs in: a user's program, any thread. May not: touch the environment or signals of the program.
Source: API specification, "API Methods".
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, cast

import grpc

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
from joblet.client.errors import ClientError, UnexpectedAnswer
from joblet.client.log import JobLog
from joblet.client.results import Job, JobStatus, StartedWorkflow, StoppedJob, Workflow, WorkflowStatus
from joblet.client.resumption import AFTER_THE_END, PATIENCE_S, is_whole
from joblet.domain.errors import JobletError
from joblet.wire import joblet_pb2 as pb
from joblet.wire.joblet_pb2_grpc import JobletServiceStub, JobServiceStub

if TYPE_CHECKING:
    from joblet.wire.joblet_pb2_grpc import StreamCall, UnaryCall

Request = TypeVar("Request")
Response = TypeVar("Response")


class JobletClient:
    """
    A connection to one Joblet server, made at the first call and used by all others.

    A context manager; may be used from several threads.

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
        self._channel = grpc.secure_channel(
            self.address, channel_credentials(self._credentials), options=channel_options(self.address)
        )
        self._stub = JobletServiceStub(self._channel)
        self._workflow_stub = JobServiceStub(self._channel)
        self._logs_of = cast(
            "StreamCall[pb.GetJobLogsReq, tuple[bytes, int]]",
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

    def close(self) -> None:
        """End the connection and every call on it; jobs run on."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run_job(
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
            CgroupSetupFailed, IsolationFailed, JobNotStored, NotLinux, EngineUnavailable: It could not be started.
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
        return convert.started_job(self._call(self._stub.RunJob, request))

    def get_job_status(self, job_id: str) -> JobStatus:
        """
        Everything known about one job.

        Args:
            job_id: Its UUID or any unique beginning of it, here and everywhere.

        Raises:
            JobNotFound, AmbiguousJobId, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return convert.job_status(self._call(self._stub.GetJobStatus, convert.status_request(job_id)))

    def list_jobs(self) -> tuple[Job, ...]:
        """
        All jobs, oldest first.

        Raises:
            NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return tuple(map(convert.listed_job, self._call(self._stub.ListJobs, pb.EmptyRequest()).jobs))

    def stop_job(self, job_id: str) -> StoppedJob:
        """
        SIGTERM to the job, 100 ms, SIGKILL; returns when nothing of it is left.

        Raises:
            JobNotFound, AmbiguousJobId, JobNotRunning, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        return convert.stopped_job(self._call(self._stub.StopJob, convert.stop_request(job_id)))

    def get_job_logs(
        self,
        job_id: str,
        *,
        offset_bytes: int = 0,
        tail_lines: int = 0,
        since: datetime | None = None,
        follow: bool = True,
    ) -> "JobLog":
        """
        The job's output, byte for byte: `for chunk in client.get_job_logs(job_id)`.

        Args:
            offset_bytes: The first byte wanted. Byte n is the same for ever; where the log's beginning is not kept
                any more, the first chunk begins later, and the log's `offset_bytes` says where.
            tail_lines: Only the last so many lines of what is there now, and what comes after; 0: everything.
            since: Only what was printed from then on, give or take a second and a line.
            follow: Wait for more until the job has ended; else end at what is there now.

        Raises:
            JobNotFound, AmbiguousJobId, NotAllowed: As the server says, here and now. (LogPruned, LogDamaged: at
                the chunk that is not there.)
            ClientError: There was no answer.
        """
        return JobLog(
            self,
            self.get_job_status(job_id).id,
            offset_bytes=offset_bytes,
            tail_lines=tail_lines,
            since=since,
            follow=follow,
        )

    def wait(self, job_id: str) -> JobStatus:
        """
        Block until the job has ended; returns its final status. Outlasts restarts of the server.

        Raises:
            JobNotFound, AmbiguousJobId, NotAllowed: As the server says.
            ClientError: The server could not be reached, or did not come back.
        """
        if not (self._answered and is_whole(job_id)):
            status = self.get_job_status(job_id)
            if status.ended:
                return status
            job_id = status.id
        with JobLog(self, job_id, offset_bytes=AFTER_THE_END, follow=True) as log:
            while not (status := log._ended()).ended:
                pass
        return status

    def run_workflow(self, text: str, *, name: str = "") -> StartedWorkflow:
        """
        Check a workflow and begin with it; it runs on whatever becomes of this client.

        Args:
            text: Its YAML file.
            name: What it is called in lists and messages: mostly the name of that file.

        Raises:
            InvalidWorkflow, UnavailableInWorkflow: It was refused, with everything that is wrong with it.
            InvalidRequest, NotAllowed, StorageFailed: It was refused, and nothing of it runs.
            ClientError: There was no answer; after NoAnswer it may run.
        """
        request = convert.workflow_request(text, name)
        return convert.started_workflow(self._call(self._workflow_stub.RunWorkflow, request), name)

    def get_workflow_status(self, workflow_id: str) -> WorkflowStatus:
        """
        How far a workflow has come, and each of its jobs.

        Args:
            workflow_id: Its UUID or any unique beginning of it, here and below.

        Raises:
            WorkflowNotFound, AmbiguousWorkflowId, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        request = convert.workflow_status_request(workflow_id)
        return convert.workflow_status(self._call(self._workflow_stub.GetWorkflowStatus, request))

    def list_workflows(self, *, ended: bool = True) -> tuple[Workflow, ...]:
        """
        Workflows, oldest first, without their YAML.

        Args:
            ended: Also those that have ended.

        Raises:
            NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        request = pb.ListWorkflowsRequest(includeCompleted=ended)
        return tuple(map(convert.workflow, (self._call(self._workflow_stub.ListWorkflows, request)).workflows))

    def stop_workflow(self, workflow_id: str) -> Workflow:
        """
        Start nothing more of a workflow and stop what runs of it; returns when nothing of it does.

        Raises:
            WorkflowNotFound, AmbiguousWorkflowId, WorkflowNotRunning, NotAllowed: As the server says.
            ClientError: There was no answer.
        """
        request = convert.stop_workflow_request(workflow_id)
        return convert.workflow((self._call(self._workflow_stub.StopWorkflow, request)).workflow)

    def _call(
        self,
        call: "UnaryCall[Request, Response]",
        request: Request,
        *,
        timeout_s: float | None = None,
        wait_for_ready: bool = False,
    ) -> Response:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            answer = call(request, timeout=timeout_s, wait_for_ready=wait_for_ready)
        except grpc.RpcError as error:
            raise self._error_of(error, timeout_s) from None
        self._answered = True
        return answer

    def _error_of(self, error: grpc.RpcError, timeout_s: float = 0) -> JobletError | ClientError:
        if not isinstance(error, grpc.Call):
            return UnexpectedAnswer("UNKNOWN", str(error))
        return error_of(error.code().name, error.details() or "", self.address, self._credentials, timeout_s)
