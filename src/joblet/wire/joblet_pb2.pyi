from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EmptyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FileUpload(_message.Message):
    __slots__ = ("path", "content", "mode", "isDirectory")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    ISDIRECTORY_FIELD_NUMBER: _ClassVar[int]
    path: str
    content: bytes
    mode: int
    isDirectory: bool
    def __init__(self, path: _Optional[str] = ..., content: _Optional[bytes] = ..., mode: _Optional[int] = ..., isDirectory: _Optional[bool] = ...) -> None: ...

class RunJobReq(_message.Message):
    __slots__ = ("command", "args", "maxCPU", "maxMemory", "maxIOBPS", "uploads", "schedule", "network", "volumes", "runtime", "workDir", "environment", "secret_environment", "timeout", "jobType", "cpuCores", "name")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SecretEnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    MAXCPU_FIELD_NUMBER: _ClassVar[int]
    MAXMEMORY_FIELD_NUMBER: _ClassVar[int]
    MAXIOBPS_FIELD_NUMBER: _ClassVar[int]
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    WORKDIR_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SECRET_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    JOBTYPE_FIELD_NUMBER: _ClassVar[int]
    CPUCORES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    command: str
    args: _containers.RepeatedScalarFieldContainer[str]
    maxCPU: int
    maxMemory: int
    maxIOBPS: int
    uploads: _containers.RepeatedCompositeFieldContainer[FileUpload]
    schedule: str
    network: str
    volumes: _containers.RepeatedScalarFieldContainer[str]
    runtime: str
    workDir: str
    environment: _containers.ScalarMap[str, str]
    secret_environment: _containers.ScalarMap[str, str]
    timeout: int
    jobType: str
    cpuCores: str
    name: str
    def __init__(self, command: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., maxCPU: _Optional[int] = ..., maxMemory: _Optional[int] = ..., maxIOBPS: _Optional[int] = ..., uploads: _Optional[_Iterable[_Union[FileUpload, _Mapping]]] = ..., schedule: _Optional[str] = ..., network: _Optional[str] = ..., volumes: _Optional[_Iterable[str]] = ..., runtime: _Optional[str] = ..., workDir: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., secret_environment: _Optional[_Mapping[str, str]] = ..., timeout: _Optional[int] = ..., jobType: _Optional[str] = ..., cpuCores: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class RunJobRes(_message.Message):
    __slots__ = ("id", "status", "command", "args", "maxCPU", "cpuCores", "maxMemory", "maxIOBPS", "startTime", "endTime", "exitCode", "scheduledTime")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    MAXCPU_FIELD_NUMBER: _ClassVar[int]
    CPUCORES_FIELD_NUMBER: _ClassVar[int]
    MAXMEMORY_FIELD_NUMBER: _ClassVar[int]
    MAXIOBPS_FIELD_NUMBER: _ClassVar[int]
    STARTTIME_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULEDTIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    command: str
    args: _containers.RepeatedScalarFieldContainer[str]
    maxCPU: int
    cpuCores: str
    maxMemory: int
    maxIOBPS: int
    startTime: str
    endTime: str
    exitCode: int
    scheduledTime: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., command: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., maxCPU: _Optional[int] = ..., cpuCores: _Optional[str] = ..., maxMemory: _Optional[int] = ..., maxIOBPS: _Optional[int] = ..., startTime: _Optional[str] = ..., endTime: _Optional[str] = ..., exitCode: _Optional[int] = ..., scheduledTime: _Optional[str] = ...) -> None: ...

class GetJobStatusReq(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetJobStatusRes(_message.Message):
    __slots__ = ("id", "name", "command", "args", "maxCPU", "cpuCores", "maxMemory", "maxIOBPS", "status", "startTime", "endTime", "exitCode", "scheduledTime", "environment", "secret_environment", "network", "volumes", "runtime", "workDir", "uploads", "dependencies", "workflowUuid", "timeout", "reason", "signal", "oomKilled", "cpuUsageUsec", "memoryPeakBytes", "ioReadBytes", "ioWriteBytes", "logBytes", "limitsEnforced")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SecretEnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    MAXCPU_FIELD_NUMBER: _ClassVar[int]
    CPUCORES_FIELD_NUMBER: _ClassVar[int]
    MAXMEMORY_FIELD_NUMBER: _ClassVar[int]
    MAXIOBPS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTTIME_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULEDTIME_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SECRET_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    WORKDIR_FIELD_NUMBER: _ClassVar[int]
    UPLOADS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    WORKFLOWUUID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    OOMKILLED_FIELD_NUMBER: _ClassVar[int]
    CPUUSAGEUSEC_FIELD_NUMBER: _ClassVar[int]
    MEMORYPEAKBYTES_FIELD_NUMBER: _ClassVar[int]
    IOREADBYTES_FIELD_NUMBER: _ClassVar[int]
    IOWRITEBYTES_FIELD_NUMBER: _ClassVar[int]
    LOGBYTES_FIELD_NUMBER: _ClassVar[int]
    LIMITSENFORCED_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    command: str
    args: _containers.RepeatedScalarFieldContainer[str]
    maxCPU: int
    cpuCores: str
    maxMemory: int
    maxIOBPS: int
    status: str
    startTime: str
    endTime: str
    exitCode: int
    scheduledTime: str
    environment: _containers.ScalarMap[str, str]
    secret_environment: _containers.ScalarMap[str, str]
    network: str
    volumes: _containers.RepeatedScalarFieldContainer[str]
    runtime: str
    workDir: str
    uploads: _containers.RepeatedCompositeFieldContainer[FileUpload]
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    workflowUuid: str
    timeout: int
    reason: str
    signal: int
    oomKilled: bool
    cpuUsageUsec: int
    memoryPeakBytes: int
    ioReadBytes: int
    ioWriteBytes: int
    logBytes: int
    limitsEnforced: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., command: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., maxCPU: _Optional[int] = ..., cpuCores: _Optional[str] = ..., maxMemory: _Optional[int] = ..., maxIOBPS: _Optional[int] = ..., status: _Optional[str] = ..., startTime: _Optional[str] = ..., endTime: _Optional[str] = ..., exitCode: _Optional[int] = ..., scheduledTime: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., secret_environment: _Optional[_Mapping[str, str]] = ..., network: _Optional[str] = ..., volumes: _Optional[_Iterable[str]] = ..., runtime: _Optional[str] = ..., workDir: _Optional[str] = ..., uploads: _Optional[_Iterable[_Union[FileUpload, _Mapping]]] = ..., dependencies: _Optional[_Iterable[str]] = ..., workflowUuid: _Optional[str] = ..., timeout: _Optional[int] = ..., reason: _Optional[str] = ..., signal: _Optional[int] = ..., oomKilled: _Optional[bool] = ..., cpuUsageUsec: _Optional[int] = ..., memoryPeakBytes: _Optional[int] = ..., ioReadBytes: _Optional[int] = ..., ioWriteBytes: _Optional[int] = ..., logBytes: _Optional[int] = ..., limitsEnforced: _Optional[str] = ...) -> None: ...

class StopJobReq(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class StopJobRes(_message.Message):
    __slots__ = ("id", "status", "endTime", "exitCode")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    endTime: str
    exitCode: int
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., endTime: _Optional[str] = ..., exitCode: _Optional[int] = ...) -> None: ...

class GetJobLogsReq(_message.Message):
    __slots__ = ("id", "offset", "tail", "noFollow", "since")
    ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    NOFOLLOW_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    offset: int
    tail: int
    noFollow: bool
    since: str
    def __init__(self, id: _Optional[str] = ..., offset: _Optional[int] = ..., tail: _Optional[int] = ..., noFollow: _Optional[bool] = ..., since: _Optional[str] = ...) -> None: ...

class DataChunk(_message.Message):
    __slots__ = ("payload", "offset")
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    offset: int
    def __init__(self, payload: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class Jobs(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "name", "command", "args", "maxCPU", "cpuCores", "maxMemory", "maxIOBPS", "status", "startTime", "endTime", "exitCode", "scheduledTime", "runtime", "environment", "secret_environment")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class SecretEnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    MAXCPU_FIELD_NUMBER: _ClassVar[int]
    CPUCORES_FIELD_NUMBER: _ClassVar[int]
    MAXMEMORY_FIELD_NUMBER: _ClassVar[int]
    MAXIOBPS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STARTTIME_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULEDTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    SECRET_ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    command: str
    args: _containers.RepeatedScalarFieldContainer[str]
    maxCPU: int
    cpuCores: str
    maxMemory: int
    maxIOBPS: int
    status: str
    startTime: str
    endTime: str
    exitCode: int
    scheduledTime: str
    runtime: str
    environment: _containers.ScalarMap[str, str]
    secret_environment: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., command: _Optional[str] = ..., args: _Optional[_Iterable[str]] = ..., maxCPU: _Optional[int] = ..., cpuCores: _Optional[str] = ..., maxMemory: _Optional[int] = ..., maxIOBPS: _Optional[int] = ..., status: _Optional[str] = ..., startTime: _Optional[str] = ..., endTime: _Optional[str] = ..., exitCode: _Optional[int] = ..., scheduledTime: _Optional[str] = ..., runtime: _Optional[str] = ..., environment: _Optional[_Mapping[str, str]] = ..., secret_environment: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Timestamp(_message.Message):
    __slots__ = ("seconds", "nanos")
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    NANOS_FIELD_NUMBER: _ClassVar[int]
    seconds: int
    nanos: int
    def __init__(self, seconds: _Optional[int] = ..., nanos: _Optional[int] = ...) -> None: ...

class RunWorkflowRequest(_message.Message):
    __slots__ = ("workflow", "totalJobs", "jobOrder", "yamlContent", "workflowFiles")
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    TOTALJOBS_FIELD_NUMBER: _ClassVar[int]
    JOBORDER_FIELD_NUMBER: _ClassVar[int]
    YAMLCONTENT_FIELD_NUMBER: _ClassVar[int]
    WORKFLOWFILES_FIELD_NUMBER: _ClassVar[int]
    workflow: str
    totalJobs: int
    jobOrder: _containers.RepeatedScalarFieldContainer[str]
    yamlContent: str
    workflowFiles: _containers.RepeatedCompositeFieldContainer[FileUpload]
    def __init__(self, workflow: _Optional[str] = ..., totalJobs: _Optional[int] = ..., jobOrder: _Optional[_Iterable[str]] = ..., yamlContent: _Optional[str] = ..., workflowFiles: _Optional[_Iterable[_Union[FileUpload, _Mapping]]] = ...) -> None: ...

class RunWorkflowResponse(_message.Message):
    __slots__ = ("workflowUuid", "status")
    WORKFLOWUUID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    workflowUuid: str
    status: str
    def __init__(self, workflowUuid: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class GetWorkflowStatusRequest(_message.Message):
    __slots__ = ("workflowUuid",)
    WORKFLOWUUID_FIELD_NUMBER: _ClassVar[int]
    workflowUuid: str
    def __init__(self, workflowUuid: _Optional[str] = ...) -> None: ...

class GetWorkflowStatusResponse(_message.Message):
    __slots__ = ("workflow", "jobs")
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    workflow: WorkflowInfo
    jobs: _containers.RepeatedCompositeFieldContainer[WorkflowJob]
    def __init__(self, workflow: _Optional[_Union[WorkflowInfo, _Mapping]] = ..., jobs: _Optional[_Iterable[_Union[WorkflowJob, _Mapping]]] = ...) -> None: ...

class ListWorkflowsRequest(_message.Message):
    __slots__ = ("includeCompleted",)
    INCLUDECOMPLETED_FIELD_NUMBER: _ClassVar[int]
    includeCompleted: bool
    def __init__(self, includeCompleted: _Optional[bool] = ...) -> None: ...

class ListWorkflowsResponse(_message.Message):
    __slots__ = ("workflows",)
    WORKFLOWS_FIELD_NUMBER: _ClassVar[int]
    workflows: _containers.RepeatedCompositeFieldContainer[WorkflowInfo]
    def __init__(self, workflows: _Optional[_Iterable[_Union[WorkflowInfo, _Mapping]]] = ...) -> None: ...

class GetWorkflowJobsRequest(_message.Message):
    __slots__ = ("workflowUuid",)
    WORKFLOWUUID_FIELD_NUMBER: _ClassVar[int]
    workflowUuid: str
    def __init__(self, workflowUuid: _Optional[str] = ...) -> None: ...

class GetWorkflowJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[WorkflowJob]
    def __init__(self, jobs: _Optional[_Iterable[_Union[WorkflowJob, _Mapping]]] = ...) -> None: ...

class StopWorkflowRequest(_message.Message):
    __slots__ = ("workflowUuid",)
    WORKFLOWUUID_FIELD_NUMBER: _ClassVar[int]
    workflowUuid: str
    def __init__(self, workflowUuid: _Optional[str] = ...) -> None: ...

class StopWorkflowResponse(_message.Message):
    __slots__ = ("workflow",)
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    workflow: WorkflowInfo
    def __init__(self, workflow: _Optional[_Union[WorkflowInfo, _Mapping]] = ...) -> None: ...

class WorkflowInfo(_message.Message):
    __slots__ = ("uuid", "workflow", "status", "totalJobs", "completedJobs", "failedJobs", "canceledJobs", "createdAt", "startedAt", "completedAt", "yamlContent", "reason")
    UUID_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOTALJOBS_FIELD_NUMBER: _ClassVar[int]
    COMPLETEDJOBS_FIELD_NUMBER: _ClassVar[int]
    FAILEDJOBS_FIELD_NUMBER: _ClassVar[int]
    CANCELEDJOBS_FIELD_NUMBER: _ClassVar[int]
    CREATEDAT_FIELD_NUMBER: _ClassVar[int]
    STARTEDAT_FIELD_NUMBER: _ClassVar[int]
    COMPLETEDAT_FIELD_NUMBER: _ClassVar[int]
    YAMLCONTENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    workflow: str
    status: str
    totalJobs: int
    completedJobs: int
    failedJobs: int
    canceledJobs: int
    createdAt: Timestamp
    startedAt: Timestamp
    completedAt: Timestamp
    yamlContent: str
    reason: str
    def __init__(self, uuid: _Optional[str] = ..., workflow: _Optional[str] = ..., status: _Optional[str] = ..., totalJobs: _Optional[int] = ..., completedJobs: _Optional[int] = ..., failedJobs: _Optional[int] = ..., canceledJobs: _Optional[int] = ..., createdAt: _Optional[_Union[Timestamp, _Mapping]] = ..., startedAt: _Optional[_Union[Timestamp, _Mapping]] = ..., completedAt: _Optional[_Union[Timestamp, _Mapping]] = ..., yamlContent: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class WorkflowJob(_message.Message):
    __slots__ = ("jobId", "jobName", "status", "dependencies", "startTime", "endTime", "exitCode", "reason", "attempts")
    JOBID_FIELD_NUMBER: _ClassVar[int]
    JOBNAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    STARTTIME_FIELD_NUMBER: _ClassVar[int]
    ENDTIME_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    jobId: str
    jobName: str
    status: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    startTime: Timestamp
    endTime: Timestamp
    exitCode: int
    reason: str
    attempts: int
    def __init__(self, jobId: _Optional[str] = ..., jobName: _Optional[str] = ..., status: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., startTime: _Optional[_Union[Timestamp, _Mapping]] = ..., endTime: _Optional[_Union[Timestamp, _Mapping]] = ..., exitCode: _Optional[int] = ..., reason: _Optional[str] = ..., attempts: _Optional[int] = ...) -> None: ...

class InstallRuntimeRequest(_message.Message):
    __slots__ = ("name", "source", "force")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    force: bool
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., force: _Optional[bool] = ...) -> None: ...

class InstallRuntimeResponse(_message.Message):
    __slots__ = ("buildJobUuid", "name", "status", "message")
    BUILDJOBUUID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    buildJobUuid: str
    name: str
    status: str
    message: str
    def __init__(self, buildJobUuid: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ListRuntimesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRuntimesResponse(_message.Message):
    __slots__ = ("runtimes",)
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    runtimes: _containers.RepeatedCompositeFieldContainer[RuntimeInfo]
    def __init__(self, runtimes: _Optional[_Iterable[_Union[RuntimeInfo, _Mapping]]] = ...) -> None: ...

class RuntimeInfo(_message.Message):
    __slots__ = ("name", "version", "description", "sizeBytes", "available")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SIZEBYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    description: str
    sizeBytes: int
    available: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., description: _Optional[str] = ..., sizeBytes: _Optional[int] = ..., available: _Optional[bool] = ...) -> None: ...

class GetRuntimeInfoRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetRuntimeInfoResponse(_message.Message):
    __slots__ = ("runtime", "found")
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    runtime: RuntimeInfo
    found: bool
    def __init__(self, runtime: _Optional[_Union[RuntimeInfo, _Mapping]] = ..., found: _Optional[bool] = ...) -> None: ...

class TestRuntimeRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class TestRuntimeResponse(_message.Message):
    __slots__ = ("success", "output", "error", "exitCode")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXITCODE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    output: str
    error: str
    exitCode: int
    def __init__(self, success: _Optional[bool] = ..., output: _Optional[str] = ..., error: _Optional[str] = ..., exitCode: _Optional[int] = ...) -> None: ...
