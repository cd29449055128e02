"""
Which gRPC code each error has: one table, and nothing else knows codes.

Runs in: server loop. The inverse is `client/errors.py`.
Source: API specification, "gRPC Status Codes".
"""

from collections.abc import Mapping
from typing import Final

from grpc import StatusCode

from joblet.domain import errors
from joblet.domain.errors import JobletError

CODE: Final[Mapping[type[JobletError], StatusCode]] = {
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.NotAllowed: StatusCode.PERMISSION_DENIED,
    errors.JobNotFound: StatusCode.NOT_FOUND,
    errors.AmbiguousJobId: StatusCode.INVALID_ARGUMENT,
    errors.JobNotRunning: StatusCode.INVALID_ARGUMENT,
    errors.InvalidCommand: StatusCode.INVALID_ARGUMENT,
    errors.InvalidLimit: StatusCode.INVALID_ARGUMENT,
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.InvalidWorkflow: StatusCode.INVALID_ARGUMENT,
    errors.UnavailableInWorkflow: StatusCode.UNIMPLEMENTED,
    errors.WorkflowNotFound: StatusCode.NOT_FOUND,
    errors.AmbiguousWorkflowId: StatusCode.INVALID_ARGUMENT,
    errors.WorkflowNotRunning: StatusCode.INVALID_ARGUMENT,
    errors.TooManyJobs: StatusCode.RESOURCE_EXHAUSTED,
    errors.SlowReader: StatusCode.RESOURCE_EXHAUSTED,
    errors.LogPruned: StatusCode.OUT_OF_RANGE,
    errors.LogDamaged: StatusCode.DATA_LOSS,
    errors.CgroupSetupFailed: StatusCode.INTERNAL,
    errors.IsolationFailed: StatusCode.INTERNAL,
    errors.NotLinux: StatusCode.INTERNAL,
    errors.StorageFailed: StatusCode.INTERNAL,
    errors.JobNotStored: StatusCode.INTERNAL,
    errors.NotAvailable: StatusCode.UNIMPLEMENTED,
    errors.EngineUnavailable: StatusCode.UNAVAILABLE,
    errors.ShuttingDown: StatusCode.UNAVAILABLE,
}

# An error nobody foresaw: its words may hold anything, so the client gets ours and the log gets the traceback.
UNFORESEEN: Final = "internal server error: the server log says more"

# gRPC sends the message as a header, and a client refuses headers above 8 KiB with an error of its own.
_MAX_DETAILS_BYTES: Final = 4000


def details(error: JobletError) -> str:
    """The error's words, cut only where a header could not carry them."""
    message = error.message
    sent = 0
    for at, character in enumerate(message):
        sent += _bytes_sent(character)
        if sent > _MAX_DETAILS_BYTES:
            return message[:at] + "…"
    return message


def _bytes_sent(character: str) -> int:
    """How long one character is in the header, where all but printable ASCII is percent-encoded."""
    if " " <= character <= "~" and character != "%":
        return 1
    return 3 * len(character.encode("utf-8", "surrogatepass"))
