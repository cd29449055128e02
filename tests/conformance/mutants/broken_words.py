"""
Servers that refuse what they should, but in other words.

Runs in: tests.
"""

from typing import Any

from broken_server import Broken, Refusal
from grpc import StatusCode


class _Renames(Broken, caught_by=""):
    """A refusal names the call, not the operation."""

    operation = ""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, refusal.words.replace(self.operation, self.operation.title().replace("_", "")))


class RunJobByItsCall(_Renames, caught_by="roles.viewer-run-job-words"):
    """A viewer's job is refused as RunJob."""

    operation = "run_job"


class StopJobByItsCall(_Renames, caught_by="roles.viewer-stop-job-words"):
    """A viewer's stop is refused as StopJob."""

    operation = "stop_job"


class RunWorkflowByItsCall(_Renames, caught_by="roles.viewer-run-workflow-words"):
    """A viewer's workflow is refused as RunWorkflow."""

    operation = "run_workflow"


class InstallRuntimeByItsCall(_Renames, caught_by="roles.viewer-install-runtime-words"):
    """A viewer's runtime is refused as InstallRuntime."""

    operation = "install_runtime"


class NoRoleIsDenied(Broken, caught_by="certificates.role-less-words"):
    """A client without a role has one that may do nothing."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        if refusal.code is StatusCode.UNAUTHENTICATED:
            return Refusal(StatusCode.PERMISSION_DENIED, "no role")
        return refusal


class OtherWordsForNothing(Broken, caught_by="run-job.empty-command-words"):
    """An empty command is missing, not invalid."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, "the command is missing") if call == "RunJob" and not request.command else refusal
