"""
A Joblet server that answers as a test has written down, over real TLS, and a proxy that cuts its connections.

It knows just enough of jobs to stand in for a real server before a client.

Runs in: tests.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
from certificates import Authority, client_certificates

from joblet.wire import joblet_pb2 as pb

JOB_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
WORKFLOW_ID = "a1b2c3d4-e5f6-7890-1234-567890abcdef"
START, END = "2024-01-15T10:30:00Z", "2024-01-15T10:45:00Z"
DEADLINE_S = 20.0


@dataclass
class ScriptedJob:
    """
    What the server says about its job.

    Args:
        log: All that it prints.
        ends: Set when it has ended; a followed log waits for it. None: it has ended from the beginning.
        followed: Set when a client waits for its end.
        before_piece: Called with the offset before each piece of the log is sent.
        first_bytes: Everything before it is not kept any more.
    """

    id: str = JOB_ID
    command: str = "python3"
    args: tuple[str, ...] = ("script.py",)
    log: bytes = b""
    piece_bytes: int = 65536
    exit_code: int = 0
    reason: str = ""
    ends: threading.Event | None = None
    followed: threading.Event = field(default_factory=threading.Event)
    before_piece: Callable[[int], None] = lambda offset: None
    first_bytes: int = 0

    @property
    def ended(self) -> bool:
        return self.ends is None or self.ends.is_set()

    @property
    def status(self) -> str:
        if not self.ended:
            return "RUNNING"
        return {0: "COMPLETED", -1: "STOPPED"}.get(self.exit_code, "FAILED")


@dataclass
class Scripted:
    """The server's answers, and what it was asked."""

    job: ScriptedJob = field(default_factory=ScriptedJob)
    listed: tuple[pb.Job, ...] = ()
    refusal: tuple[grpc.StatusCode, str] | None = None
    asked: list[Any] = field(default_factory=list)
    states: Callable[[], pb.GetWorkflowStatusResponse] | None = None
    """What a workflow is like each time that is asked; None: this server fails then."""
    stopping: Callable[[], None] = lambda: None
    """Called before a workflow is stopped."""
    refused_about_jobs: int = 0
    """So many questions about jobs are answered as a server does that is ending."""

    def run_workflow(self, request: pb.RunWorkflowRequest, context: grpc.ServicerContext) -> pb.RunWorkflowResponse:
        self._take(request, context)
        return pb.RunWorkflowResponse(workflowUuid=WORKFLOW_ID, status="RUNNING")

    def get_workflow_status(
        self, request: pb.GetWorkflowStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetWorkflowStatusResponse:
        self._take(request, context)
        if self.states is None:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (5000000 vs. 4194304)")
            raise AssertionError("unreachable")
        return self.states()

    def stop_workflow(self, request: pb.StopWorkflowRequest, context: grpc.ServicerContext) -> pb.StopWorkflowResponse:
        self._take(request, context)
        self.stopping()
        if self.job.ends is not None:
            self.job.ends.set()
        return pb.StopWorkflowResponse(workflow=pb.WorkflowInfo(uuid=WORKFLOW_ID, status="STOPPED"))

    def run_job(self, request: pb.RunJobReq, context: grpc.ServicerContext) -> pb.RunJobRes:
        self._take(request, context)
        return pb.RunJobRes(
            id=self.job.id,
            command=request.command,
            args=request.args,
            status="INITIALIZING",
            startTime=START,
            maxCPU=request.maxCPU or 100,
            maxMemory=request.maxMemory or 512,
        )

    def get_job_status(self, request: pb.GetJobStatusReq, context: grpc.ServicerContext) -> pb.GetJobStatusRes:
        self._take(request, context)
        self._find(request.id, context)
        job = self.job
        return pb.GetJobStatusRes(
            id=job.id,
            command=job.command,
            args=job.args,
            status=job.status,
            startTime=START,
            endTime=END if job.ended else "",
            exitCode=job.exit_code if job.ended else 0,
            maxCPU=50,
            maxMemory=512,
            reason=job.reason,
            limitsEnforced="yes",
        )

    def stop_job(self, request: pb.StopJobReq, context: grpc.ServicerContext) -> pb.StopJobRes:
        self._take(request, context)
        self._find(request.id, context)
        if self.job.ends is not None:
            self.job.exit_code = -1
            self.job.ends.set()
        return pb.StopJobRes(id=self.job.id, status="STOPPED", endTime=END, exitCode=-1)

    def list_jobs(self, request: pb.EmptyRequest, context: grpc.ServicerContext) -> pb.Jobs:
        self._take(request, context)
        return pb.Jobs(jobs=self.listed)

    def get_job_logs(self, request: pb.GetJobLogsReq, context: grpc.ServicerContext) -> Iterator[pb.DataChunk]:
        self._take(request, context)
        self._find(request.id, context)
        job = self.job
        begin = max(request.offset, job.first_bytes)
        if request.tail:
            begin = max(begin, len(job.log) - sum(map(len, job.log.splitlines(keepends=True)[-request.tail :])))
        for offset in range(begin, len(job.log), job.piece_bytes):
            job.before_piece(offset)
            told = offset if offset == begin != request.offset else 0
            yield pb.DataChunk(payload=job.log[offset : offset + job.piece_bytes], offset=told)
        if job.ends is not None and not request.noFollow:
            job.followed.set()
            assert job.ends.wait(DEADLINE_S)

    def _take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.asked.append(request)
        if self.refusal is not None:
            context.abort(*self.refusal)

    def _find(self, job_id: str, context: grpc.ServicerContext) -> None:
        if self.refused_about_jobs:
            self.refused_about_jobs -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "server is shutting down")
        if not job_id or not self.job.id.startswith(job_id):
            context.abort(grpc.StatusCode.NOT_FOUND, f"job not found: {job_id}")


def _unary(behaviour: Callable[[Any, grpc.ServicerContext], Any], request: Any, answer: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(behaviour, request.FromString, answer.SerializeToString)


@contextlib.contextmanager
def serving(script: Scripted, certificates: Path, server_name: str = "server") -> Iterator[str]:
    """
    Serve with the certificates of this folder; gives the address.

    Args:
        server_name: Whose certificate the server shows.
    """
    handlers = {
        "RunJob": _unary(script.run_job, pb.RunJobReq, pb.RunJobRes),
        "GetJobStatus": _unary(script.get_job_status, pb.GetJobStatusReq, pb.GetJobStatusRes),
        "StopJob": _unary(script.stop_job, pb.StopJobReq, pb.StopJobRes),
        "ListJobs": _unary(script.list_jobs, pb.EmptyRequest, pb.Jobs),
        "GetJobLogs": grpc.unary_stream_rpc_method_handler(
            script.get_job_logs, pb.GetJobLogsReq.FromString, pb.DataChunk.SerializeToString
        ),
    }
    of_workflows = {
        "RunWorkflow": _unary(script.run_workflow, pb.RunWorkflowRequest, pb.RunWorkflowResponse),
        "GetWorkflowStatus": _unary(
            script.get_workflow_status, pb.GetWorkflowStatusRequest, pb.GetWorkflowStatusResponse
        ),
        "StopWorkflow": _unary(script.stop_workflow, pb.StopWorkflowRequest, pb.StopWorkflowResponse),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("joblet.JobletService", handlers),
            grpc.method_handlers_generic_handler("joblet.JobService", of_workflows),
        )
    )
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(_pem(certificates, server_name, "key"), _pem(certificates, server_name, "cert"))],
            (certificates / "ca-cert.pem").read_bytes(),
            require_client_auth=True,
        ),
    )
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        if script.job.ends is not None:
            script.job.ends.set()
        server.stop(0).wait(DEADLINE_S)


def _pem(folder: Path, name: str, kind: str) -> bytes:
    return (folder / f"{name}-{kind}.pem").read_bytes()


def write_certificates(folder: Path) -> None:
    """A CA, a server, and of each kind of client the two files, such as admin-cert.pem."""
    authority = Authority()
    (folder / "ca-cert.pem").write_bytes(authority.certificate)
    kinds = client_certificates(authority) | {"server": authority.issue("server", for_server=True)}
    for kind, credentials in kinds.items():
        (folder / f"{kind}-cert.pem").write_bytes(credentials.certificate)
        (folder / f"{kind}-key.pem").write_bytes(credentials.key)


class CuttingProxy:
    """Passes bytes on between clients and a server until it is told to cut; then takes new connections again."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection on the spot."""
        with self._lock:
            ending, self._open = self._open, []
        for each in ending:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def refuse(self) -> None:
        """Cut, and take no connection any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                with self._lock:
                    self.connections += 1
                    self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
