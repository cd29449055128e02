"""
The public surface of the client library.

Runs in: pytest.
"""

import ast
import subprocess
import sys
from pathlib import Path

import joblet.client

SOURCE = ast.parse(Path(joblet.client.__file__).read_text(encoding="utf-8"))

PUBLIC = {
    "AmbiguousJobId", "AmbiguousWorkflowId", "AsyncJobLog", "AsyncJobletClient", "BadAddress", "BadCredentials",
    "BadRequest", "CgroupSetupFailed", "ClientError", "Credentials", "EngineUnavailable", "InvalidCommand",
    "InvalidLimit", "InvalidRequest", "InvalidWorkflow", "IsolationFailed", "Job", "JobLog", "JobNotFound",
    "JobNotRunning", "JobNotStored", "JobState", "JobStatus", "JobletClient", "JobletError", "LogDamaged", "LogPruned",
    "NoAnswer", "NotAllowed", "NotAvailable", "NotLinux", "ServerUnreachable", "ShuttingDown", "SlowReader",
    "StartedWorkflow", "StoppedJob", "StorageFailed", "TooManyJobs", "Unauthenticated",
    "UnavailableInWorkflow", "UnexpectedAnswer", "Usage", "Workflow", "WorkflowJob", "WorkflowNotFound",
    "WorkflowNotRunning", "WorkflowStatus",
}  # fmt: skip


def test_the_client_exports_these_names_and_no_others() -> None:
    """A name that leaves this set breaks users' programs; one that joins it must be kept."""
    assert set(joblet.client.__all__) == PUBLIC


def test_every_exported_name_can_be_imported() -> None:
    for name in joblet.client.__all__:
        assert getattr(joblet.client, name).__name__ == name


def test_type_checkers_see_the_same_names_as_programs() -> None:
    seen = {
        alias.name
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("joblet.")
        for alias in node.names
    }

    assert seen == PUBLIC


def test_importing_the_client_does_not_load_grpc() -> None:
    program = (
        "import sys, joblet.client; print([name for name in ('grpc', 'google', 'cryptography') if name in sys.modules])"
    )

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
