"""
Servers that run workflows in another order, or tell otherwise of them.

Runs in: tests.
"""

import json
from typing import Any

from broken_server import Broken, Go, Refusal
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb


class _Rewrites(Broken, caught_by=""):
    """Runs another workflow than it is sent."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        """Change the jobs."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunWorkflow" and request.yamlContent.startswith("{"):
            content = json.loads(request.yamlContent)
            self.rewritten(content["jobs"])
            request.yamlContent = json.dumps(content)
        return request


class _Retells(Broken, caught_by=""):
    """Tells otherwise of jobs of workflows."""

    def retold(self, job: pb.WorkflowJob) -> None:
        """Change what is told."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call in ("GetWorkflowStatus", "GetWorkflowJobs") else ():
            self.retold(job)
        return answer


class StartsAllAtOnce(_Rewrites, caught_by="workflow.order"):
    """A job does not wait for what it requires."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            job.pop("requires", None)


class OneRequirementWillDo(_Rewrites, caught_by="workflow.every-requirement"):
    """Of several requirements the first one counts."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            del job.get("requires", [])[1:]


class OneMustHaveCompleted(_Rewrites, caught_by="workflow.failed"):
    """Of several requirements one must have come true, and the others be at an end."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            job["requires"] = [
                dict.fromkeys(each, "FINISHED") if at else each for at, each in enumerate(job.get("requires", []))
            ]


class WaitsForNoWaiter(_Rewrites, caught_by="workflow.every-requirement"):
    """A job waits for those only that wait for nobody."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        waiters = {name for name, job in jobs.items() if job.get("requires")}
        for job in jobs.values():
            job["requires"] = [each for each in job.get("requires", []) if not waiters & set(each)]


class OneAfterTheOther(_Rewrites, caught_by="workflow.at-the-same-time"):
    """A workflow's jobs run one at a time."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        before = ""
        for name, job in jobs.items():
            if before:
                job["requires"] = [*job.get("requires", []), {before: "FINISHED"}]
            before = name


class AnyEndWillDo(_Rewrites, caught_by="workflow.failed"):
    """A job that requires another one COMPLETED starts when that has ended, however."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            job["requires"] = [dict.fromkeys(each, "FINISHED") for each in job.get("requires", [])]


class FailuresAreNotWaitedFor(_Rewrites, caught_by="workflow.requires-failed"):
    """A job may require another one COMPLETED, whatever its file says."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            job["requires"] = [dict.fromkeys(each, "COMPLETED") for each in job.get("requires", [])]


class StoppedIsGoodEnough(_Rewrites, caught_by="workflow.stopped"):
    """A job goes on after one that was stopped."""

    def rewritten(self, jobs: dict[str, Any]) -> None:
        for job in jobs.values():
            job["requires"] = [dict.fromkeys(each, "FINISHED") for each in job.get("requires", [])]


class NumbersJobs(_Retells, caught_by="workflow.names"):
    """Dependencies are told by UUID, where there is one."""

    def retold(self, job: pb.WorkflowJob) -> None:
        job.dependencies[:] = [f"job-{number}" for number, _ in enumerate(job.dependencies)]


class NoIdYet(_Retells, caught_by="workflow.not-started"):
    """A job that has not started has an empty id."""

    def retold(self, job: pb.WorkflowJob) -> None:
        if job.jobId == "0":
            job.jobId = ""


class LosesCodesOfJobs(_Retells, caught_by="workflow.failed"):
    """The exit code of a workflow's job is not told."""

    def retold(self, job: pb.WorkflowJob) -> None:
        job.exitCode = 0


class StartsInTheFuture(_Retells, caught_by="workflow.order"):
    """A job has ended before it has started."""

    def retold(self, job: pb.WorkflowJob) -> None:
        if job.HasField("endTime"):
            job.startTime.seconds = job.endTime.seconds + 5


class CountsNanosOn(_Retells, caught_by="workflow.times"):
    """The nanoseconds of an end go on counting past a second."""

    def retold(self, job: pb.WorkflowJob) -> None:
        if job.HasField("endTime"):
            job.endTime.seconds -= 1
            job.endTime.nanos += 1_000_000_000


class StartsAfterItsEnd(_Retells, caught_by="workflow.times"):
    """A job that has ended has started last."""

    def retold(self, job: pb.WorkflowJob) -> None:
        if job.HasField("endTime"):
            job.startTime.seconds = job.endTime.seconds + 1


class OneJobOfAName(Broken, caught_by="workflow.side-by-side"):
    """A workflow's job has the id of the first that had its name."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetWorkflowStatus":
            for job in answer.jobs:
                if job.jobId != "0":
                    job.jobId = self._ids.setdefault(job.jobName, job.jobId)
        return answer


class NamelessJobs(Broken, caught_by="workflow.names"):
    """A workflow's job has no name in the list."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else ():
            job.name = ""
        return answer


class LosesJobs(Broken, caught_by="workflow.jobs"):
    """GetWorkflowJobs leaves out what has ended."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetWorkflowJobs":
            return pb.GetWorkflowJobsResponse(jobs=[job for job in answer.jobs if not job.HasField("endTime")])
        return answer


class CountsTheFailed(Broken, caught_by="workflow.info"):
    """completedJobs counts every job that has ended."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetWorkflowStatus":
            answer.workflow.completedJobs += answer.workflow.failedJobs
        return answer


class ListsOnlyWhatRuns(Broken, caught_by="workflow.info"):
    """A workflow that has ended is in no list."""

    def request(self, call: str, request: Any) -> Any:
        if call == "ListWorkflows":
            request.includeCompleted = False
        return request


class ListsEverything(Broken, caught_by="workflow.list-leaves-out"):
    """A workflow that has ended is in every list."""

    def request(self, call: str, request: Any) -> Any:
        if call == "ListWorkflows":
            request.includeCompleted = True
        return request


class NoSuchWorkflowIsInvalid(Broken, caught_by="workflow.unknown-get-workflow-status"):
    """A workflow that is not found is an invalid argument."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        if refusal.code is StatusCode.NOT_FOUND:
            return Refusal(StatusCode.INVALID_ARGUMENT, refusal.words)
        return refusal


class NoSuchWorkflowHasNoJobs(Broken, caught_by="workflow.unknown-get-workflow-jobs"):
    """A workflow that there is not has no jobs."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        try:
            return await go(request)
        except Refusal:
            if call != "GetWorkflowJobs":
                raise
            return pb.GetWorkflowJobsResponse()


class _Accepts(Broken, caught_by=""):
    """One file that cannot be run is accepted all the same."""

    file = ""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        try:
            return await go(request)
        except Refusal:
            if call != "RunWorkflow" or request.workflow != self.file:
                raise
            return pb.RunWorkflowResponse(workflowUuid="00000000-0000-4000-8000-000000000000", status="FAILED")


class AcceptsNoYaml(_Accepts, caught_by="workflow.invalid-no-yaml"):
    """Text that is no YAML is a workflow."""

    file = "no-yaml.yaml"


class AcceptsNothing(_Accepts, caught_by="workflow.invalid-empty"):
    """An empty file is a workflow."""

    file = "empty.yaml"


class AcceptsNoJobs(_Accepts, caught_by="workflow.invalid-no-jobs"):
    """A workflow may have no jobs."""

    file = "no-jobs.yaml"


class AcceptsNoCommand(_Accepts, caught_by="workflow.invalid-no-command"):
    """A job without a command fails later."""

    file = "no-command.yaml"


class AcceptsCycles(_Accepts, caught_by="workflow.invalid-cycle"):
    """Jobs that wait for each other wait."""

    file = "cycle.yaml"


class AcceptsLongCycles(_Accepts, caught_by="workflow.invalid-long-cycle"):
    """Jobs that wait for each other in a ring wait."""

    file = "long-cycle.yaml"


class AcceptsWaitingForItself(_Accepts, caught_by="workflow.invalid-itself"):
    """A job that waits for itself waits."""

    file = "itself.yaml"


class AcceptsAnyStatus(_Accepts, caught_by="workflow.invalid-unknown-status"):
    """A requirement may be any word."""

    file = "unknown-status.yaml"


class WorkflowsByWholeIds(Broken, caught_by="workflow.prefix"):
    """The beginning of a workflow's UUID is not enough."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "GetWorkflowStatus" and len(request.workflowUuid) < 36:
            raise Refusal(StatusCode.NOT_FOUND, f"workflow not found: {request.workflowUuid}")
        return await go(request)


class SaysNotWhy(Broken, caught_by="workflow.invalid-unknown-job"):
    """A workflow is refused without a word."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, "") if call == "RunWorkflow" else refusal


class ShowsTheFile(Broken, caught_by="workflow.secrets"):
    """The file of a workflow is shown as it was sent, secrets and all."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        answer = await go(request)
        if call == "RunWorkflow":
            self._files[answer.workflowUuid] = request.yamlContent
        if call == "GetWorkflowStatus":
            answer.workflow.yamlContent = self._files[answer.workflow.uuid]
        return answer


class ListsNoWorkflows(Broken, caught_by="workflow.list"):
    """Workflows cannot be listed."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "ListWorkflows":
            raise Refusal(StatusCode.UNIMPLEMENTED, "")
        return await go(request)


class DoesNotSayWhich(Broken, caught_by="workflow.unknown-words"):
    """That a workflow is not found is told without its id."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, "no such workflow") if call == "GetWorkflowStatus" else refusal


class BeginsAtItsEnd(Broken, caught_by="workflow.begins"):
    """A new workflow is COMPLETED."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "RunWorkflow":
            answer.status = "COMPLETED"
        return answer


class JobsOfNobody(Broken, caught_by="workflow.told-of-jobs"):
    """A job does not know which workflow it belongs to."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus":
            answer.workflowUuid = ""
        return answer


class RunsWhatItCan(Broken, caught_by="workflow.invalid-cycle"):
    """Of a workflow that is refused, the jobs that wait for nobody are run."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        try:
            return await go(request)
        except Refusal:
            if call == "RunWorkflow" and "cycle" in request.yamlContent:
                jobs = json.loads(request.yamlContent)["jobs"]
                free = {name: job for name, job in jobs.items() if not job.get("requires")}
                await go(pb.RunWorkflowRequest(workflow="free.yaml", yamlContent=json.dumps({"jobs": free})))
            raise
