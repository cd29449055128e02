"""
The words of every error a user can meet.

Runs in: server loop, client. May not: know gRPC codes (`api/status.py` does), do I/O.
Source: API specification, "Error Handling"; the messages are copied from it exactly.
"""

from collections.abc import Sequence
from typing import Final

_MATCHES_SHOWN: Final = 10
_MOST_BYTES: Final = 3500  # of a status' words, with what they may grow by on the wire


class JobletError(Exception):
    """A failure with words for the user; `api/status.py` gives each kind its code."""

    @property
    def message(self) -> str:
        """What the user reads, the same on both sides of the wire."""
        return str(self)


class Unauthenticated(JobletError):
    """The caller's certificate gives no role."""

    def __init__(self, why: str) -> None:
        super().__init__(f"failed to extract client role: {why}")


class NotAllowed(JobletError):
    """The caller's role may not do this."""

    def __init__(self, role: str, operation: str) -> None:
        super().__init__(f"role {role} is not allowed to perform operation {operation}")


class JobNotFound(JobletError):
    """No job has this id or a UUID that starts with it."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"job not found: {job_id}")


class AmbiguousJobId(JobletError):
    """Several jobs' UUIDs start with this prefix."""

    def __init__(self, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(f"ambiguous job id: {prefix} matches {_shown(matches)}")


class JobNotRunning(JobletError):
    """A finished job cannot be stopped."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"job is not running: {job_id} (current status: {state})")


class InvalidCommand(JobletError):
    """The command is missing or holds what only a shell would understand."""

    def __init__(self, why: str) -> None:
        super().__init__(f"invalid command: {why}")


class InvalidLimit(JobletError):
    """A resource limit is out of range for this machine."""

    def __init__(self, why: str) -> None:
        super().__init__(f"job creation failed: {why}")


class WorkflowNotFound(JobletError):
    """No workflow has this id or a UUID that starts with it."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"workflow not found: {workflow_id}")


class AmbiguousWorkflowId(JobletError):
    """Several workflows' UUIDs start with this prefix."""

    def __init__(self, prefix: str, matches: Sequence[str]) -> None:
        super().__init__(f"ambiguous workflow id: {prefix} matches {_shown(matches)}")


class WorkflowNotRunning(JobletError):
    """A workflow that has ended cannot be stopped."""

    def __init__(self, workflow_id: str, state: str) -> None:
        super().__init__(f"workflow is not running: {workflow_id} (current status: {state})")


class InvalidWorkflow(JobletError):
    """
    A workflow's file cannot be used.

    Args:
        problems: Each with its place; as many are told as a status can carry, then how many more there are.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"invalid workflow: {_lines(problems)}")


class UnavailableInWorkflow(JobletError):
    """A workflow asks for what this server does not offer yet. Args as `InvalidWorkflow`."""

    def __init__(self, wishes: Sequence[str]) -> None:
        super().__init__(f"not yet available on this server: {_lines(wishes)}")


class InvalidRequest(JobletError):
    """Another field of the request cannot be accepted."""

    def __init__(self, why: str) -> None:
        super().__init__(f"invalid request: {why}")


class TooManyJobs(JobletError):
    """maxConcurrentJobs jobs are already under way."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"too many jobs: {limit} are already running (maxConcurrentJobs: {limit})")


class CgroupSetupFailed(JobletError):
    """The job's cgroup could not be made or limited."""

    def __init__(self, why: str) -> None:
        super().__init__(f"cgroup setup failed: {why}")


class IsolationFailed(JobletError):
    """The job's namespaces, tree or privileges could not be set up."""

    def __init__(self, why: str) -> None:
        super().__init__(f"failed to create isolated environment: {why}")


class NotLinux(JobletError):
    """Jobs need Linux."""

    def __init__(self, platform: str) -> None:
        super().__init__(f"job execution requires Linux server (current: {platform})")


class EngineUnavailable(JobletError):
    """What runs the jobs does not answer (it is being restarted)."""

    def __init__(self, why: str) -> None:
        super().__init__(f"job creation failed: {why}")


class SlowReader(JobletError):
    """A log stream was removed because its reader made no progress."""

    def __init__(self, job_id: str, stalled_s: float, offset_bytes: int) -> None:
        super().__init__(
            f"slow client removed: the log stream of {job_id} made no progress for {stalled_s:g} s"
            f" (resume at offset {offset_bytes})"
        )


class LogPruned(JobletError):
    """The job's log was removed to make room; its record was not."""

    def __init__(self, job_id: str, log_bytes: int) -> None:
        super().__init__(
            f"the log of job {job_id} is not kept any more: its {log_bytes} bytes were removed to make room"
        )


class LogDamaged(JobletError):
    """The file that holds the job's log cannot be trusted any more."""

    def __init__(self, job_id: str, file_name: str, why: str) -> None:
        super().__init__(f"the log of job {job_id} is damaged: {file_name}: {why}")


class NotAvailable(JobletError):
    """The call is declared but this server does not offer it yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not yet available on this server")


class StorageFailed(JobletError):
    """The database refused a write, and what was asked for did not happen; or it cannot be read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"storage failed: {why}")
        self.why = why


class JobNotStored(StorageFailed):
    """The database refused a new job, and it does not run."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.args = (f"job creation failed: {why}",)


class ShuttingDown(JobletError):
    """The server ends; its jobs do not."""

    def __init__(self) -> None:
        super().__init__("server is shutting down: its jobs keep running, connect again when it is back")


def _shown(matches: Sequence[str]) -> str:
    more = f" and {len(matches) - _MATCHES_SHOWN} more" if len(matches) > _MATCHES_SHOWN else ""
    return ", ".join(matches[:_MATCHES_SHOWN]) + more


def _lines(problems: Sequence[str]) -> str:
    shown: list[str] = []
    room = _MOST_BYTES
    for problem in problems:
        room -= len(problem.encode(errors="replace")) + 3
        if room < 0 and shown:
            break
        shown.append(problem)
    more = [f"and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return "\n".join([*shown, *more])
