"""
The wire's words and the domain's: the only module of the server that knows both.

Here, and nowhere past it, are the wire's units: megabytes, whole seconds, RFC 3339 text, "" for "not yet".

Runs in: server loop. May not: do I/O.
Source: proto/joblet.proto; API specification, "Message Types".
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from joblet.domain.errors import InvalidRequest
from joblet.domain.job import MASK, Ended, Job, JobState, Phase, Running, Waiting
from joblet.domain.limits import MIB
from joblet.domain.workflow.workflow import Workflow, WorkflowJob
from joblet.services.request import JobRequest
from joblet.wire import joblet_pb2 as pb

_INT32_MAX: Final = 2**31 - 1
_NS_PER_S: Final = 1_000_000_000
NOT_STARTED: Final = "0"  # in the place of a UUID
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def job_request(request: pb.RunJobReq) -> JobRequest:
    """
    What a client asks for, in the services' units.

    Raises:
        InvalidRequest: It asks for what this server does not offer yet; ignoring that would run another job than meant.
    """
    for field, wanted in (
        ("uploads", bool(request.uploads)),
        ("schedule", bool(request.schedule)),
        ("network", request.network not in ("", "host")),
        ("volumes", bool(request.volumes)),
        ("runtime", bool(request.runtime)),
        ("jobType", request.jobType not in ("", "standard")),
    ):
        if wanted:
            raise InvalidRequest(f"{field} is not yet available on this server")
    return JobRequest(
        command=request.command,
        args=tuple(request.args),
        cpu_max_percent=request.maxCPU,
        cpu_cores=request.cpuCores,
        memory_max_bytes=request.maxMemory * MIB,
        io_max_bytes_per_s=request.maxIOBPS,
        timeout_s=request.timeout,
        name=request.name,
        work_dir=request.workDir,
        environment=dict(request.environment),
        secret_environment=dict(request.secret_environment),
    )


def run_job_res(job: Job) -> pb.RunJobRes:
    """A job that was just started. The answer is about the start: a job that is already over was RUNNING then."""
    spec = job.spec
    waiting = isinstance(job.phase, Waiting)
    return pb.RunJobRes(
        id=job.id,
        status=JobState.INITIALIZING if waiting else JobState.RUNNING,
        command=spec.command,
        args=spec.args,
        maxCPU=_int32(spec.limits.cpu_max_percent),
        cpuCores=spec.limits.cpu_cores,
        maxMemory=_int32(spec.limits.memory_max_bytes // MIB),
        maxIOBPS=_int32(spec.limits.io_max_bytes_per_s),
        startTime=_start(job.phase),
    )


def get_job_status_res(job: Job, log_bytes: int) -> pb.GetJobStatusRes:
    """Everything about one job."""
    spec = job.spec
    answer = pb.GetJobStatusRes(
        id=job.id,
        name=spec.name,
        command=spec.command,
        args=spec.args,
        maxCPU=_int32(spec.limits.cpu_max_percent),
        cpuCores=spec.limits.cpu_cores,
        maxMemory=_int32(spec.limits.memory_max_bytes // MIB),
        maxIOBPS=_int32(spec.limits.io_max_bytes_per_s),
        status=job.state,
        startTime=_start(job.phase),
        environment=spec.environment,
        secret_environment=_masked(spec.secret_environment),
        network="host",
        workDir=spec.work_dir,
        dependencies=job.dependencies,
        workflowUuid=job.workflow,
        timeout=_int32(-int(-spec.timeout_s // 1)),
        logBytes=log_bytes,
        limitsEnforced=_text(job.limits_enforced),
    )
    if isinstance(job.phase, Ended):
        ended = job.phase
        answer.endTime = rfc3339(ended.ended_ns)
        answer.exitCode = ended.exit_code
        answer.reason = _text(ended.reason)
        answer.signal = ended.signal
        answer.oomKilled = ended.oom_killed
        answer.cpuUsageUsec = ended.usage.cpu_usec
        answer.memoryPeakBytes = ended.usage.memory_peak_bytes
        answer.ioReadBytes = ended.usage.io_read_bytes
        answer.ioWriteBytes = ended.usage.io_write_bytes
    return answer


def stop_job_res(job: Job) -> pb.StopJobRes:
    """A job after its stop."""
    answer = pb.StopJobRes(id=job.id, status=job.state)
    if isinstance(job.phase, Ended):
        answer.endTime = rfc3339(job.phase.ended_ns)
        answer.exitCode = job.phase.exit_code
    return answer


def list_entry(job: Job) -> pb.Job:
    """One job of a list."""
    spec = job.spec
    entry = pb.Job(
        id=job.id,
        name=spec.name,
        command=spec.command,
        args=spec.args,
        maxCPU=_int32(spec.limits.cpu_max_percent),
        cpuCores=spec.limits.cpu_cores,
        maxMemory=_int32(spec.limits.memory_max_bytes // MIB),
        maxIOBPS=_int32(spec.limits.io_max_bytes_per_s),
        status=job.state,
        startTime=_start(job.phase),
        environment=spec.environment,
        secret_environment=_masked(spec.secret_environment),
    )
    if isinstance(job.phase, Ended):
        entry.endTime = rfc3339(job.phase.ended_ns)
        entry.exitCode = job.phase.exit_code
    return entry


def workflow_info(workflow: Workflow, *, with_yaml: bool) -> pb.WorkflowInfo:
    """A workflow; its file only where it is asked for, for it may be long."""
    counts = workflow.counts
    return pb.WorkflowInfo(
        uuid=workflow.id,
        workflow=workflow.name,
        status=workflow.state,
        totalJobs=counts.total,
        completedJobs=counts.completed,
        failedJobs=counts.failed,
        canceledJobs=counts.canceled,
        createdAt=_timestamp(workflow.created_ns),
        startedAt=_timestamp(workflow.started_ns),
        completedAt=_timestamp(workflow.ended_ns),
        yamlContent=workflow.yaml if with_yaml else "",
        reason=_text(workflow.reason),
    )


def workflow_job(job: WorkflowJob) -> pb.WorkflowJob:
    """One job of a workflow."""
    return pb.WorkflowJob(
        jobId=job.job_id or NOT_STARTED,
        jobName=job.name,
        status=job.status,
        dependencies=job.dependencies,
        startTime=_timestamp(job.started_ns),
        endTime=_timestamp(job.ended_ns),
        exitCode=job.exit_code,
        reason=_text(job.reason),
        attempts=job.attempts,
    )


def _timestamp(at_ns: int) -> pb.Timestamp | None:
    """Missing for 0, which stands for "never"."""
    seconds, nanos = divmod(at_ns, _NS_PER_S)
    return pb.Timestamp(seconds=seconds, nanos=nanos) if at_ns else None


def rfc3339(at_ns: int) -> str:
    """`2024-01-15T10:30:00Z`: UTC, whole seconds; empty for 0, which stands for "never"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_ns // _NS_PER_S)) if at_ns else ""


def _start(phase: Phase) -> str:
    match phase:
        case Waiting():
            return ""
        case Running(started_ns=started_ns) | Ended(started_ns=started_ns):
            return rfc3339(started_ns)


def _masked(secrets: Mapping[str, str]) -> dict[str, str]:
    return dict.fromkeys(secrets, MASK)


def _int32(value: int) -> int:
    """The nearest number the wire can carry: a configured default may be larger."""
    return min(value, _INT32_MAX)


def _text(text: str) -> str:
    """Without what UTF-8 cannot carry: file names in a reason may hold such bytes."""
    return text.encode("utf-8", "replace").decode()


def time_ns(field: str, text: str) -> int:
    """
    An RFC 3339 time in nanoseconds since the epoch; 0 for an empty text.

    Raises:
        InvalidRequest: It is none, or before 1970.
    """
    if not text:
        return 0
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        time_ = datetime.min
    if time_.tzinfo is None or (since := time_ - _EPOCH) < timedelta(0):
        raise InvalidRequest(f"{field} must be an RFC 3339 time such as 2024-01-15T10:30:00Z")
    return since // timedelta(microseconds=1) * 1000


def encoded_chunk(payload: bytes, offset_bytes: int = 0) -> bytes:
    """
    A DataChunk on the wire, with one copy of the payload instead of protobuf's two: a log is MiBs of them.

    Source: protobuf encoding: key 0x0a (field 1, wire type 2), the length as a varint, the bytes; nothing when empty.
    Key 0xa0 0x06 (field 100, wire type 0), the number as a varint; nothing when 0.
    """
    parts = [b"\x0a", _varint(len(payload)), payload] if payload else []
    if offset_bytes:
        parts += [b"\xa0\x06", _varint(offset_bytes)]
    return b"".join(parts)


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
