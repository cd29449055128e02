"""
Messages of the wire to results, and requests to messages: the only module of the client that knows both.

Here, and nowhere past it, are the wire's units: megabytes, empty strings for "not yet", RFC 3339 text.

Runs in: a user's program. May not: do I/O.
Source: proto/joblet.proto; API specification, "Message Types".
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from joblet.client.errors import BadRequest, UnexpectedAnswer
from joblet.client.results import Job, JobStatus, StartedWorkflow, StoppedJob, Workflow, WorkflowJob, WorkflowStatus
from joblet.wire import joblet_pb2 as pb

MIB: Final = 1024 * 1024
_INT32_MAX: Final = 2**31 - 1

GET_JOB_LOGS: Final = f"/{pb.DESCRIPTOR.services_by_name['JobletService'].full_name}/GetJobLogs"
"""The stream of logs is called by its name and not through the stub, which would have protobuf copy each payload."""


def run_request(
    command: str,
    args: Sequence[str],
    *,
    cpu_max_percent: int,
    cpu_cores: str,
    memory_max_bytes: int,
    io_max_bytes_per_s: int,
    timeout_s: int,
    name: str,
    work_dir: str,
    environment: Mapping[str, str],
    secret_environment: Mapping[str, str],
) -> pb.RunJobReq:
    """
    The request for a new job; memory is rounded up to the wire's whole megabytes.

    Raises:
        BadRequest: A number too large for the wire, or text that is not Unicode.
            What the server must judge (an empty command, negative limits) is left to it.
    """
    if isinstance(args, str):
        raise BadRequest("args is one string", "pass a list with one string per argument")
    numbers = {
        "maxCPU": cpu_max_percent,
        "maxMemory": -(-memory_max_bytes // MIB),
        "maxIOBPS": io_max_bytes_per_s,
        "timeout": timeout_s,
    }
    for field, value in numbers.items():
        if abs(value) > _INT32_MAX:
            raise BadRequest(f"{field} is out of range: {value} (at most {_INT32_MAX})")
    try:
        return pb.RunJobReq(
            command=command,
            args=args,
            maxCPU=numbers["maxCPU"],
            maxMemory=numbers["maxMemory"],
            maxIOBPS=numbers["maxIOBPS"],
            timeout=numbers["timeout"],
            cpuCores=cpu_cores,
            name=name,
            workDir=work_dir,
            environment=environment,
            secret_environment=secret_environment,
        )
    except UnicodeEncodeError:
        # The error's own words would show the text, and that may be a secret's value.
        raise BadRequest(
            "the command, an argument or a variable is not valid UTF-8", "the wire carries Unicode text only"
        ) from None


def status_request(job_id: str) -> pb.GetJobStatusReq:
    """Raises BadRequest when the id is not Unicode text, here and below."""
    return pb.GetJobStatusReq(id=_id(job_id))


def stop_request(job_id: str) -> pb.StopJobReq:
    """See `status_request`."""
    return pb.StopJobReq(id=_id(job_id))


def logs_request(
    job_id: str, offset_bytes: int, *, tail_lines: int = 0, since: datetime | None = None, follow: bool
) -> pb.GetJobLogsReq:
    """See `status_request`. A time without a zone is this machine's."""
    return pb.GetJobLogsReq(
        id=_id(job_id),
        offset=offset_bytes,
        tail=tail_lines,
        since="" if since is None else since.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        noFollow=not follow,
    )


def _id(given: str, what: str = "job") -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"not a {what} id: {given!r}") from None
    return given


def started_job(answer: pb.RunJobRes) -> Job:
    """RunJob's answer."""
    return Job(
        id=answer.id,
        status=answer.status,
        command=answer.command,
        args=tuple(answer.args),
        cpu_max_percent=answer.maxCPU,
        cpu_cores=answer.cpuCores,
        memory_max_bytes=answer.maxMemory * MIB,
        io_max_bytes_per_s=answer.maxIOBPS,
        started_at=_time(answer.startTime),
        ended_at=_time(answer.endTime),
        exit_code=answer.exitCode if answer.endTime else None,
    )


def listed_job(answer: pb.Job) -> Job:
    """One job of ListJobs' answer."""
    return Job(
        id=answer.id,
        status=answer.status,
        command=answer.command,
        args=tuple(answer.args),
        name=answer.name,
        cpu_max_percent=answer.maxCPU,
        cpu_cores=answer.cpuCores,
        memory_max_bytes=answer.maxMemory * MIB,
        io_max_bytes_per_s=answer.maxIOBPS,
        started_at=_time(answer.startTime),
        ended_at=_time(answer.endTime),
        exit_code=answer.exitCode if answer.endTime else None,
        environment=dict(answer.environment),
        secret_environment=dict(answer.secret_environment),
    )


def job_status(answer: pb.GetJobStatusRes) -> JobStatus:
    """GetJobStatus' answer."""
    from joblet.domain.job import Usage

    return JobStatus(
        id=answer.id,
        status=answer.status,
        command=answer.command,
        args=tuple(answer.args),
        name=answer.name,
        cpu_max_percent=answer.maxCPU,
        cpu_cores=answer.cpuCores,
        memory_max_bytes=answer.maxMemory * MIB,
        io_max_bytes_per_s=answer.maxIOBPS,
        started_at=_time(answer.startTime),
        ended_at=_time(answer.endTime),
        exit_code=answer.exitCode if answer.endTime else None,
        environment=dict(answer.environment),
        secret_environment=dict(answer.secret_environment),
        work_dir=answer.workDir,
        timeout_s=answer.timeout,
        reason=answer.reason,
        signal=answer.signal,
        oom_killed=answer.oomKilled,
        usage=Usage(answer.cpuUsageUsec, answer.memoryPeakBytes, answer.ioReadBytes, answer.ioWriteBytes),
        log_bytes=answer.logBytes,
        limits_enforced=answer.limitsEnforced,
        workflow_id=answer.workflowUuid,
        dependencies=tuple(answer.dependencies),
    )


def stopped_job(answer: pb.StopJobRes) -> StoppedJob:
    """StopJob's answer."""
    return StoppedJob(
        id=answer.id,
        status=answer.status,
        ended_at=_time(answer.endTime),
        exit_code=answer.exitCode,
    )


def workflow_request(text: str, name: str) -> pb.RunWorkflowRequest:
    """Raises BadRequest when it is not Unicode text."""
    try:
        return pb.RunWorkflowRequest(workflow=name, yamlContent=text)
    except UnicodeEncodeError:
        raise BadRequest("the workflow or its name is not valid UTF-8", "the wire carries Unicode text only") from None


def workflow_status_request(workflow_id: str) -> pb.GetWorkflowStatusRequest:
    """See `status_request`."""
    return pb.GetWorkflowStatusRequest(workflowUuid=_id(workflow_id, "workflow"))


def stop_workflow_request(workflow_id: str) -> pb.StopWorkflowRequest:
    """See `status_request`."""
    return pb.StopWorkflowRequest(workflowUuid=_id(workflow_id, "workflow"))


def started_workflow(answer: pb.RunWorkflowResponse, name: str) -> StartedWorkflow:
    """RunWorkflow's answer, to a request with this name."""
    return StartedWorkflow(id=answer.workflowUuid, name=name, status=answer.status)


def workflow(answer: pb.WorkflowInfo) -> Workflow:
    """A workflow, wherever an answer has one."""
    return Workflow(
        id=answer.uuid,
        name=answer.workflow,
        status=answer.status,
        total_jobs=answer.totalJobs,
        completed_jobs=answer.completedJobs,
        failed_jobs=answer.failedJobs,
        canceled_jobs=answer.canceledJobs,
        created_at=_timestamp(answer.createdAt) if answer.HasField("createdAt") else None,
        started_at=_timestamp(answer.startedAt) if answer.HasField("startedAt") else None,
        ended_at=_timestamp(answer.completedAt) if answer.HasField("completedAt") else None,
        reason=answer.reason,
        yaml=answer.yamlContent,
    )


def workflow_status(answer: pb.GetWorkflowStatusResponse) -> WorkflowStatus:
    """GetWorkflowStatus' answer."""
    return WorkflowStatus(workflow=workflow(answer.workflow), jobs=tuple(map(_workflow_job, answer.jobs)))


def _workflow_job(answer: pb.WorkflowJob) -> WorkflowJob:
    ended = answer.HasField("endTime")
    return WorkflowJob(
        job_id=answer.jobId if answer.jobId not in ("", "0") else None,
        name=answer.jobName,
        status=answer.status,
        dependencies=tuple(answer.dependencies),
        started_at=_timestamp(answer.startTime) if answer.HasField("startTime") else None,
        ended_at=_timestamp(answer.endTime) if ended else None,
        exit_code=answer.exitCode if ended else None,
        reason=answer.reason,
        attempts=answer.attempts,
    )


def _timestamp(time: pb.Timestamp) -> datetime:
    """
    Raises:
        UnexpectedAnswer: It is beyond the year 9999.
    """
    try:
        return datetime.fromtimestamp(time.seconds, UTC) + timedelta(microseconds=time.nanos // 1000)
    except (ValueError, OverflowError, OSError):
        raise UnexpectedAnswer("UNKNOWN", f"the server sent a time that is none: {time.seconds} s") from None


def _time(text: str) -> datetime | None:
    """
    An RFC 3339 time of the wire.

    Raises:
        UnexpectedAnswer: It is not one.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UnexpectedAnswer("UNKNOWN", f"the server sent a time that is none: {text!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def piece_of(message: bytes) -> tuple[bytes, int]:
    """
    Payload and offset of a DataChunk, with one copy of the payload instead of protobuf's two: a log is MiBs of them.

    The inverse of the server's `encoded_chunk`. Whatever a message says beside its payload is protobuf's to read.

    Raises:
        google.protobuf.message.DecodeError: It is no DataChunk.
    """
    if message[:1] == b"\x0a":
        length = shift = 0
        for at in range(1, min(len(message), 6)):
            length |= (message[at] & 0x7F) << shift
            shift += 7
            if message[at] < 0x80:
                if at + 1 + length == len(message):
                    return message[at + 1 :], 0
                break
    chunk = pb.DataChunk.FromString(message)
    return chunk.payload, chunk.offset
