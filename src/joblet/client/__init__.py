"""
The client library of Joblet: run jobs on a Joblet server from a Python program.

    from joblet.client import JobletClient

    with JobletClient.from_environment() as joblet:
        job = joblet.run_job("python3", ["train.py"], memory_max_bytes=1 << 30)
        for chunk in joblet.get_job_logs(job.id):
            sys.stdout.buffer.write(chunk)
        print(joblet.wait(job.id).exit_code)

A map: `synchronous` and `asynchronous` are the two clients, `log` and `async_log` their readers of logs,
`connection` says how a server is reached and why it was not, `credentials` reads and checks certificate files,
`resumption` goes on with a log after a lost connection, `results` is what comes back, `convert` the only place that
knows the messages, `errors` what is raised.

Every failure is a `JobletError` (the server's answer, in its words) or a `ClientError` (there was none).

Runs in: a user's program, the user's terminal. May not: import grpc before a client is made, so that
`rnx --help` stays fast: each name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from joblet.client.async_log import AsyncJobLog
    from joblet.client.asynchronous import AsyncJobletClient
    from joblet.client.credentials import Credentials
    from joblet.client.errors import (
        BadAddress,
        BadCredentials,
        BadRequest,
        ClientError,
        NoAnswer,
        ServerUnreachable,
        UnexpectedAnswer,
    )
    from joblet.client.log import JobLog
    from joblet.client.results import (
        Job,
        JobStatus,
        StartedWorkflow,
        StoppedJob,
        Workflow,
        WorkflowJob,
        WorkflowStatus,
    )
    from joblet.client.synchronous import JobletClient
    from joblet.domain.errors import (
        AmbiguousJobId,
        AmbiguousWorkflowId,
        CgroupSetupFailed,
        EngineUnavailable,
        InvalidCommand,
        InvalidLimit,
        InvalidRequest,
        InvalidWorkflow,
        IsolationFailed,
        JobletError,
        JobNotFound,
        JobNotRunning,
        JobNotStored,
        LogDamaged,
        LogPruned,
        NotAllowed,
        NotAvailable,
        NotLinux,
        ShuttingDown,
        SlowReader,
        StorageFailed,
        TooManyJobs,
        Unauthenticated,
        UnavailableInWorkflow,
        WorkflowNotFound,
        WorkflowNotRunning,
    )
    from joblet.domain.job import JobState, Usage

__all__ = [
    "AmbiguousJobId",
    "AmbiguousWorkflowId",
    "AsyncJobLog",
    "AsyncJobletClient",
    "BadAddress",
    "BadCredentials",
    "BadRequest",
    "CgroupSetupFailed",
    "ClientError",
    "Credentials",
    "EngineUnavailable",
    "InvalidCommand",
    "InvalidLimit",
    "InvalidRequest",
    "InvalidWorkflow",
    "IsolationFailed",
    "Job",
    "JobLog",
    "JobNotFound",
    "JobNotRunning",
    "JobNotStored",
    "JobState",
    "JobStatus",
    "JobletClient",
    "JobletError",
    "LogDamaged",
    "LogPruned",
    "NoAnswer",
    "NotAllowed",
    "NotAvailable",
    "NotLinux",
    "ServerUnreachable",
    "ShuttingDown",
    "SlowReader",
    "StartedWorkflow",
    "StoppedJob",
    "StorageFailed",
    "TooManyJobs",
    "Unauthenticated",
    "UnavailableInWorkflow",
    "UnexpectedAnswer",
    "Usage",
    "Workflow",
    "WorkflowJob",
    "WorkflowNotFound",
    "WorkflowNotRunning",
    "WorkflowStatus",
]

_HOME: Final = {
    "AsyncJobLog": "joblet.client.async_log",
    "AsyncJobletClient": "joblet.client.asynchronous",
    "BadAddress": "joblet.client.errors",
    "BadCredentials": "joblet.client.errors",
    "BadRequest": "joblet.client.errors",
    "ClientError": "joblet.client.errors",
    "Credentials": "joblet.client.credentials",
    "Job": "joblet.client.results",
    "JobLog": "joblet.client.log",
    "JobState": "joblet.domain.job",
    "JobStatus": "joblet.client.results",
    "JobletClient": "joblet.client.synchronous",
    "NoAnswer": "joblet.client.errors",
    "ServerUnreachable": "joblet.client.errors",
    "StartedWorkflow": "joblet.client.results",
    "StoppedJob": "joblet.client.results",
    "UnexpectedAnswer": "joblet.client.errors",
    "Usage": "joblet.domain.job",
    "Workflow": "joblet.client.results",
    "WorkflowJob": "joblet.client.results",
    "WorkflowStatus": "joblet.client.results",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "joblet.domain.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
