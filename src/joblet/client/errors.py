"""
What a call of the client raises: the server's answer as the domain's own error, or why there was no answer.

Runs in: a user's program. May not: import grpc (codes come in as their names), do I/O.
Source: API specification, "Error Handling"; the inverse of `api/status.py`.
"""

import re
from typing import Final

from joblet.complaint import Complaint
from joblet.domain import errors
from joblet.domain.errors import JobletError


class ClientError(Complaint):
    """
    The call got no answer from a Joblet server; `what` says what was tried and why it failed, `mend` what to do.

    Attributes:
        code: The name of the gRPC code that comes nearest, for programs.
    """

    code = "UNKNOWN"

    @property
    def message(self) -> str:
        """What went wrong, without what to do about it; named as in `JobletError`."""
        return self.what


class BadAddress(ClientError):
    """The server's address is not one."""

    code = "INVALID_ARGUMENT"


class BadCredentials(ClientError):
    """A certificate or key file cannot be used; the server was not asked."""

    code = "UNAUTHENTICATED"


class BadRequest(ClientError):
    """The request cannot be put on the wire; the server was not asked."""

    code = "INVALID_ARGUMENT"


class ServerUnreachable(ClientError):
    """There is no connection to a Joblet server, or it was lost and did not come back."""

    code = "UNAVAILABLE"


class NoAnswer(ClientError):
    """The server did not answer in time; whether it did what was asked is not known."""

    code = "DEADLINE_EXCEEDED"


class UnexpectedAnswer(ClientError):
    """The server answered with an error this client has no name for."""

    def __init__(self, code: str, message: str, mend: str = "") -> None:
        super().__init__(message or f"the server answered {code} without a word", mend)
        self.code = code


# Three kinds share the words "job creation failed: …": there the code decides.
_WORDS: Final[tuple[tuple[type[JobletError], str, str], ...]] = (
    (errors.Unauthenticated, "UNAUTHENTICATED", "failed to extract client role: "),
    (errors.NotAllowed, "PERMISSION_DENIED", r"role .* is not allowed to perform operation "),
    (errors.JobNotFound, "NOT_FOUND", "job not found: "),
    (errors.AmbiguousJobId, "INVALID_ARGUMENT", "ambiguous job id: "),
    (errors.JobNotRunning, "INVALID_ARGUMENT", "job is not running: "),
    (errors.InvalidCommand, "INVALID_ARGUMENT", "invalid command: "),
    (errors.InvalidLimit, "INVALID_ARGUMENT", "job creation failed: "),
    (errors.InvalidRequest, "INVALID_ARGUMENT", "invalid request: "),
    (errors.InvalidWorkflow, "INVALID_ARGUMENT", "invalid workflow: "),
    (errors.UnavailableInWorkflow, "UNIMPLEMENTED", "not yet available on this server: "),
    (errors.WorkflowNotFound, "NOT_FOUND", "workflow not found: "),
    (errors.AmbiguousWorkflowId, "INVALID_ARGUMENT", "ambiguous workflow id: "),
    (errors.WorkflowNotRunning, "INVALID_ARGUMENT", "workflow is not running: "),
    (errors.TooManyJobs, "RESOURCE_EXHAUSTED", "too many jobs: "),
    (errors.SlowReader, "RESOURCE_EXHAUSTED", "slow client removed: "),
    (errors.LogPruned, "OUT_OF_RANGE", r"the log of job .* is not kept any more: "),
    (errors.LogDamaged, "DATA_LOSS", r"the log of job .* is damaged: "),
    (errors.CgroupSetupFailed, "INTERNAL", "cgroup setup failed: "),
    (errors.IsolationFailed, "INTERNAL", "failed to create isolated environment: "),
    (errors.NotLinux, "INTERNAL", "job execution requires Linux server "),
    (errors.StorageFailed, "INTERNAL", "storage failed: "),
    (errors.JobNotStored, "INTERNAL", "job creation failed: "),
    (errors.EngineUnavailable, "UNAVAILABLE", "job creation failed: "),
    (errors.ShuttingDown, "UNAVAILABLE", "server is shutting down"),
    (errors.NotAvailable, "UNIMPLEMENTED", r".* is not yet available on this server$"),
)


def answer_of(code: str, message: str) -> JobletError | None:
    """
    The server's answer as the error it raised over there; None when this is no such answer.

    Args:
        code: The gRPC code's name, as in "NOT_FOUND".
    """
    for kind, its_code, beginning in _WORDS:
        if code == its_code and re.match(beginning, message, re.DOTALL):
            return _with_words(kind, message)
    return None


def _with_words(kind: type[JobletError], message: str) -> JobletError:
    # The constructors make the words from their parts; here the words are what we have.
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


def code_of(error: JobletError | ClientError) -> str:
    """The gRPC code's name an error came with, for programs."""
    if isinstance(error, ClientError):
        return error.code
    return next((code for kind, code, _ in _WORDS if type(error) is kind), "UNKNOWN")
