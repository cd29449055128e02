"""
Field numbers are for ever: what is on the wire, frozen.

A number that changes its meaning breaks every client in the field without an error. So this table only grows: add
a line for a new field, never touch one. The numbers are those of the API specification and, where it gives none, of
the clients that exist; the reserved ones belong to those clients.

Runs in: pytest. Source: API specification, "Message Types"; proto/joblet.proto.
"""

import re
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from joblet.wire import joblet_pb2

ROOT: Final = Path(__file__).resolve().parents[2]

# message.field = number type; "*" is repeated, "map" a map of strings; a message without fields stands alone.
FROZEN: Final = """
EmptyRequest
FileUpload.path = 1 string
FileUpload.content = 2 bytes
FileUpload.mode = 3 uint32
FileUpload.isDirectory = 4 bool
RunJobReq.command = 1 string
RunJobReq.args = 2 string*
RunJobReq.maxCPU = 3 int32
RunJobReq.maxMemory = 4 int32
RunJobReq.maxIOBPS = 5 int32
RunJobReq.uploads = 8 FileUpload*
RunJobReq.schedule = 9 string
RunJobReq.network = 10 string
RunJobReq.volumes = 11 string*
RunJobReq.runtime = 12 string
RunJobReq.workDir = 13 string
RunJobReq.environment = 14 map
RunJobReq.secret_environment = 18 map
RunJobReq.timeout = 21 int32
RunJobReq.jobType = 100 string
RunJobReq.cpuCores = 101 string
RunJobReq.name = 102 string
RunJobRes.id = 1 string
RunJobRes.status = 2 string
RunJobRes.command = 3 string
RunJobRes.args = 4 string*
RunJobRes.maxCPU = 5 int32
RunJobRes.cpuCores = 6 string
RunJobRes.maxMemory = 7 int32
RunJobRes.maxIOBPS = 8 int32
RunJobRes.startTime = 9 string
RunJobRes.endTime = 10 string
RunJobRes.exitCode = 11 int32
RunJobRes.scheduledTime = 12 string
GetJobStatusReq.id = 1 string
GetJobStatusRes.id = 1 string
GetJobStatusRes.name = 2 string
GetJobStatusRes.command = 3 string
GetJobStatusRes.args = 4 string*
GetJobStatusRes.maxCPU = 5 int32
GetJobStatusRes.cpuCores = 6 string
GetJobStatusRes.maxMemory = 7 int32
GetJobStatusRes.maxIOBPS = 8 int32
GetJobStatusRes.status = 9 string
GetJobStatusRes.startTime = 10 string
GetJobStatusRes.endTime = 11 string
GetJobStatusRes.exitCode = 12 int32
GetJobStatusRes.scheduledTime = 13 string
GetJobStatusRes.environment = 14 map
GetJobStatusRes.secret_environment = 15 map
GetJobStatusRes.network = 16 string
GetJobStatusRes.volumes = 17 string*
GetJobStatusRes.runtime = 18 string
GetJobStatusRes.workDir = 19 string
GetJobStatusRes.uploads = 20 FileUpload*
GetJobStatusRes.dependencies = 21 string*
GetJobStatusRes.workflowUuid = 22 string
GetJobStatusRes.timeout = 27 int32
GetJobStatusRes.reason = 100 string
GetJobStatusRes.signal = 101 int32
GetJobStatusRes.oomKilled = 102 bool
GetJobStatusRes.cpuUsageUsec = 103 int64
GetJobStatusRes.memoryPeakBytes = 104 int64
GetJobStatusRes.ioReadBytes = 105 int64
GetJobStatusRes.ioWriteBytes = 106 int64
GetJobStatusRes.logBytes = 107 int64
GetJobStatusRes.limitsEnforced = 108 string
StopJobReq.id = 1 string
StopJobRes.id = 1 string
StopJobRes.status = 2 string
StopJobRes.endTime = 3 string
StopJobRes.exitCode = 4 int32
GetJobLogsReq.id = 1 string
GetJobLogsReq.offset = 100 int64
GetJobLogsReq.tail = 101 int64
GetJobLogsReq.noFollow = 102 bool
GetJobLogsReq.since = 103 string
DataChunk.payload = 1 bytes
DataChunk.offset = 100 int64
Jobs.jobs = 1 Job*
Job.id = 1 string
Job.name = 2 string
Job.command = 3 string
Job.args = 4 string*
Job.maxCPU = 5 int32
Job.cpuCores = 6 string
Job.maxMemory = 7 int32
Job.maxIOBPS = 8 int32
Job.status = 9 string
Job.startTime = 10 string
Job.endTime = 11 string
Job.exitCode = 12 int32
Job.scheduledTime = 13 string
Job.runtime = 14 string
Job.environment = 15 map
Job.secret_environment = 16 map
Timestamp.seconds = 1 int64
Timestamp.nanos = 2 int32
RunWorkflowRequest.workflow = 1 string
RunWorkflowRequest.totalJobs = 2 int32
RunWorkflowRequest.jobOrder = 3 string*
RunWorkflowRequest.yamlContent = 4 string
RunWorkflowRequest.workflowFiles = 5 FileUpload*
RunWorkflowResponse.workflowUuid = 1 string
RunWorkflowResponse.status = 2 string
GetWorkflowStatusRequest.workflowUuid = 1 string
GetWorkflowStatusResponse.workflow = 1 WorkflowInfo
GetWorkflowStatusResponse.jobs = 2 WorkflowJob*
ListWorkflowsRequest.includeCompleted = 1 bool
ListWorkflowsResponse.workflows = 1 WorkflowInfo*
GetWorkflowJobsRequest.workflowUuid = 1 string
GetWorkflowJobsResponse.jobs = 1 WorkflowJob*
WorkflowInfo.uuid = 1 string
WorkflowInfo.workflow = 2 string
WorkflowInfo.status = 3 string
WorkflowInfo.totalJobs = 4 int32
WorkflowInfo.completedJobs = 5 int32
WorkflowInfo.failedJobs = 6 int32
WorkflowInfo.canceledJobs = 7 int32
WorkflowInfo.createdAt = 8 Timestamp
WorkflowInfo.startedAt = 9 Timestamp
WorkflowInfo.completedAt = 10 Timestamp
WorkflowInfo.yamlContent = 11 string
WorkflowInfo.reason = 100 string
StopWorkflowRequest.workflowUuid = 1 string
StopWorkflowResponse.workflow = 1 WorkflowInfo
WorkflowJob.jobId = 1 string
WorkflowJob.jobName = 2 string
WorkflowJob.status = 3 string
WorkflowJob.dependencies = 4 string*
WorkflowJob.startTime = 5 Timestamp
WorkflowJob.endTime = 6 Timestamp
WorkflowJob.exitCode = 7 int32
WorkflowJob.reason = 100 string
WorkflowJob.attempts = 101 int32
InstallRuntimeRequest.name = 1 string
InstallRuntimeRequest.source = 2 string
InstallRuntimeRequest.force = 3 bool
InstallRuntimeResponse.buildJobUuid = 1 string
InstallRuntimeResponse.name = 2 string
InstallRuntimeResponse.status = 3 string
InstallRuntimeResponse.message = 4 string
ListRuntimesRequest
ListRuntimesResponse.runtimes = 1 RuntimeInfo*
RuntimeInfo.name = 1 string
RuntimeInfo.version = 2 string
RuntimeInfo.description = 3 string
RuntimeInfo.sizeBytes = 4 int64
RuntimeInfo.available = 5 bool
GetRuntimeInfoRequest.name = 1 string
GetRuntimeInfoResponse.runtime = 1 RuntimeInfo
GetRuntimeInfoResponse.found = 2 bool
TestRuntimeRequest.name = 1 string
TestRuntimeResponse.success = 1 bool
TestRuntimeResponse.output = 2 string
TestRuntimeResponse.error = 3 string
TestRuntimeResponse.exitCode = 4 int32
"""

RESERVED: Final = {
    "RunJobReq": {6, 7, 15, 16, 17, 19, 20},
    "GetJobStatusRes": {23, 24, 25, 26},
    "Job": {17, 18, 19, 20, 21},
}

# service: call(request) answer; ">" before an answer that streams.
CALLS: Final = """
JobletService: RunJob(RunJobReq) RunJobRes
JobletService: GetJobStatus(GetJobStatusReq) GetJobStatusRes
JobletService: StopJob(StopJobReq) StopJobRes
JobletService: ListJobs(EmptyRequest) Jobs
JobletService: GetJobLogs(GetJobLogsReq) >DataChunk
JobService: RunJob(RunJobReq) RunJobRes
JobService: GetJobStatus(GetJobStatusReq) GetJobStatusRes
JobService: StopJob(StopJobReq) StopJobRes
JobService: ListJobs(EmptyRequest) Jobs
JobService: GetJobLogs(GetJobLogsReq) >DataChunk
JobService: RunWorkflow(RunWorkflowRequest) RunWorkflowResponse
JobService: GetWorkflowStatus(GetWorkflowStatusRequest) GetWorkflowStatusResponse
JobService: ListWorkflows(ListWorkflowsRequest) ListWorkflowsResponse
JobService: GetWorkflowJobs(GetWorkflowJobsRequest) GetWorkflowJobsResponse
JobService: StopWorkflow(StopWorkflowRequest) StopWorkflowResponse
RuntimeService: InstallRuntime(InstallRuntimeRequest) InstallRuntimeResponse
RuntimeService: ListRuntimes(ListRuntimesRequest) ListRuntimesResponse
RuntimeService: GetRuntimeInfo(GetRuntimeInfoRequest) GetRuntimeInfoResponse
RuntimeService: TestRuntime(TestRuntimeRequest) TestRuntimeResponse
"""


def type_of(field: FieldDescriptor) -> str:
    """A field's type in the notation of the table."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return "map"
    scalars = {
        FieldDescriptor.TYPE_STRING: "string",
        FieldDescriptor.TYPE_BYTES: "bytes",
        FieldDescriptor.TYPE_BOOL: "bool",
        FieldDescriptor.TYPE_INT32: "int32",
        FieldDescriptor.TYPE_INT64: "int64",
        FieldDescriptor.TYPE_UINT32: "uint32",
    }
    name = field.message_type.name if field.message_type is not None else scalars[field.type]
    return name + ("*" if field.is_repeated else "")


def fields_on_the_wire() -> str:
    """Every field as a line of the table."""
    return "\n".join(
        line
        for name, message in joblet_pb2.DESCRIPTOR.message_types_by_name.items()
        for line in [f"{name}.{field.name} = {field.number} {type_of(field)}" for field in message.fields] or [name]
    )


def calls_on_the_wire() -> str:
    """Every call as a line of the table."""
    return "\n".join(
        f"{service}: {call.name}({call.input_type.name}) {'>' if call.server_streaming else ''}{call.output_type.name}"
        for service, descriptor in joblet_pb2.DESCRIPTOR.services_by_name.items()
        for call in descriptor.methods
    )


def test_every_field_keeps_its_number_and_type() -> None:
    assert sorted(fields_on_the_wire().splitlines()) == sorted(FROZEN.strip().splitlines())


def test_numbers_of_other_clients_stay_reserved() -> None:
    file = FileDescriptorProto()
    joblet_pb2.DESCRIPTOR.CopyToProto(file)

    reserved = {
        message.name: {number for span in message.reserved_range for number in range(span.start, span.end)}
        for message in file.message_type
        if message.reserved_range
    }

    assert reserved == RESERVED


def test_every_call_keeps_its_messages() -> None:
    assert sorted(calls_on_the_wire().splitlines()) == sorted(CALLS.strip().splitlines())


def test_both_services_have_the_same_job_calls() -> None:
    """One implementation stands behind JobletService and JobService."""
    calls = {"JobletService": set[str](), "JobService": set[str]()}
    for line in calls_on_the_wire().splitlines():
        service, _, call = line.partition(": ")
        calls.get(service, set()).add(call)

    assert calls["JobletService"] <= calls["JobService"]
    assert len(calls["JobletService"]) == 5


def test_the_oldest_runtime_we_accept_takes_the_committed_code() -> None:
    """Generated code refuses a runtime that is older than its generator, at import time and on a user's machine."""
    wire = ROOT / "src" / "joblet" / "wire"
    accepted = dict(re.findall(r'"(grpcio|protobuf)>=([0-9.]+)', (ROOT / "pyproject.toml").read_text()))

    grpc_needed = re.findall(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", (wire / "joblet_pb2_grpc.py").read_text())
    protobuf_needed = re.findall(r"Protobuf Python Version: ([0-9.]+)", (wire / "joblet_pb2.py").read_text())

    assert [accepted["grpcio"]] == grpc_needed
    assert [accepted["protobuf"]] == protobuf_needed
