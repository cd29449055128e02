"""
Servers that give wrong answers.

Runs in: tests.
"""

from typing import Any

from broken_server import Broken, Go, Peer, Refusal
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb

ENDS = ("COMPLETED", "FAILED", "STOPPED")


def jobs_in(answer: Any) -> list[Any]:
    """Every job that an answer tells of with status and times."""
    if isinstance(answer, pb.Jobs):
        return list(answer.jobs)
    return [answer] if isinstance(answer, pb.GetJobStatusRes) else []


class CapitalIds(Broken, caught_by="run-job.answer"):
    """Ids are in capitals."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "RunJob":
            answer.id = answer.id.upper()
        return answer


class OneIdForAll(Broken, caught_by="run-job.fresh-id"):
    """The same request again is answered with the job that is there."""

    def __init__(self) -> None:
        self._answers: dict[bytes, pb.RunJobRes] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call != "RunJob":
            return await go(request)
        key = request.SerializeToString()
        if key not in self._answers:
            self._answers[key] = await go(request)
        return self._answers[key]


class SaysPending(Broken, caught_by="run-job.status"):
    """A new job is PENDING."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "RunJob":
            answer.status = "PENDING"
        return answer


class NoDefaults(Broken, caught_by="run-job.defaults"):
    """Limits that were not given are 0 in the answer."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "RunJob" and answer.maxMemory == 512:
            answer.maxMemory = 0
        return answer


class WholeCores(Broken, caught_by="run-job.limits"):
    """A CPU limit is rounded up to whole cores."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.maxCPU > 0:
            request.maxCPU = -(-request.maxCPU // 100) * 100
        return request


class AtLeastTenPercent(Broken, caught_by="run-job.smallest-limits"):
    """A CPU limit below 10 % is taken for 10 %."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and 0 < request.maxCPU < 10:
            request.maxCPU = 10
        return request


class DropsEmptyArguments(Broken, caught_by="run-job.arguments-are-free"):
    """An empty argument does not reach the program."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.args[:] = [arg for arg in request.args if arg]
        return request


class StripsArguments(Broken, caught_by="properties.arguments"):
    """White space around an argument is lost."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.command == "echo":
            request.args[:] = [arg.strip() for arg in request.args]
        return request


class LocalTime(Broken, caught_by="run-job.start-time"):
    """Times have no zone."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            job.startTime = job.startTime.removesuffix("Z")
        return answer


class OtherZone(Broken, caught_by="get-job-status.running"):
    """Times are those of Greenwich, and called those of another zone."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            job.startTime = job.startTime.replace("Z", "+02:00")
        return answer


class EndsBeforeItEnds(Broken, caught_by="get-job-status.poll-to-the-end"):
    """A job that runs has an end time."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and not answer.endTime:
            answer.endTime = answer.startTime
        return answer


class LosesExitCodes(Broken, caught_by="get-job-status.failed"):
    """Every failure has exit code 1."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.status == "FAILED":
            answer.exitCode = 1
        return answer


class SignedExitCodes(Broken, caught_by="get-job-status.failed"):
    """Exit codes above 127 are negative."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.exitCode > 127:
            answer.exitCode -= 256
        return answer


class KilledIsStopped(Broken, caught_by="get-job-status.killed"):
    """A job that killed itself is STOPPED."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.exitCode == 137:
            answer.status = "STOPPED"
        return answer


class AllIsCompleted(Broken, caught_by="properties.exit-codes"):
    """An exit code from 64 on is COMPLETED."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and 64 <= answer.exitCode <= 125:
            answer.status = "COMPLETED"
        return answer


class GoesBack(Broken, caught_by="get-job-status.transitions"):
    """Every fifth answer about a job that runs says INITIALIZING."""

    def __init__(self) -> None:
        self._answers = 0

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.status == "RUNNING":
            self._answers += 1
            if self._answers % 5 == 0:
                answer.status = "INITIALIZING"
        return answer


class StoppingIsAStatus(Broken, caught_by="get-job-status.transitions-stopped"):
    """A job that is being stopped is STOPPING for a moment."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.status == "STOPPED" and answer.id not in self._told:
            self._told.add(answer.id)
            answer.status = "STOPPING"
        return answer


class ForgetsExitCodes(Broken, caught_by="get-job-status.stays"):
    """The exit code of a job that has ended is told once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.status in ENDS:
            if answer.id in self._told:
                answer.exitCode = 0
            self._told.add(answer.id)
        return answer


class ListsOtherLimits(Broken, caught_by="get-job-status.same-as-list"):
    """The list has limits in other units."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else []:
            job.maxIOBPS //= 1024
        return answer


class ListsLater(Broken, caught_by="list-jobs.at-once"):
    """The newest job is not in the list yet."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            del answer.jobs[-1:]
        return answer


class ListsTwice(Broken, caught_by="list-jobs.whole"):
    """The newest job is in the list twice."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            answer.jobs.extend(list(answer.jobs[-1:]))
        return answer


class ListsNoArguments(Broken, caught_by="list-jobs.whole"):
    """The list has commands without arguments."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else []:
            del job.args[:]
        return answer


class ListsNames(Broken, caught_by="list-jobs.name"):
    """A job without a name has that of its command."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            job.name = job.name or job.command
        return answer


class ListsBadTimes(Broken, caught_by="list-jobs.formats"):
    """The list has seconds since 1970."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else []:
            job.startTime = "1705314600"
        return answer


class ListsNewestFirst(Broken, caught_by="list-jobs.oldest-first"):
    """The newest job comes first."""

    def answer(self, call: str, answer: Any) -> Any:
        return pb.Jobs(jobs=list(answer.jobs)[::-1]) if call == "ListJobs" else answer


class ListsRunningOnly(Broken, caught_by="list-jobs.meanwhile"):
    """A job that has ended is in no list."""

    def answer(self, call: str, answer: Any) -> Any:
        if call != "ListJobs":
            return answer
        return pb.Jobs(jobs=[job for job in answer.jobs if job.status not in ENDS])


class WantsARequest(Broken, caught_by="list-jobs.empty-request"):
    """A list is refused to who asks without a field."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "ListJobs" and not request.ByteSize():
            raise Refusal(StatusCode.INVALID_ARGUMENT, "invalid request: no filter")
        return await go(request)


class ShowsSecrets(Broken, caught_by="run-job.environment"):
    """The values of secret variables are shown."""

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob":
            self._secrets |= request.secret_environment
        answer = await go(request)
        for job in jobs_in(answer):
            for name in job.secret_environment:
                job.secret_environment[name] = self._secrets[name]
        return answer


class HidesVariables(Broken, caught_by="run-job.environment"):
    """The values of all variables are masked."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            for name in job.environment:
                job.environment[name] = "***"
        return answer


class NoTimeout(Broken, caught_by="stop-job.timeout"):
    """A job that ran too long has FAILED."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.reason.startswith("timed out"):
            answer.status = "FAILED"
        return answer


class EndsBeforeItStarts(Broken, caught_by="get-job-status.completed"):
    """The two times have changed places, and the clock between them."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.endTime:
            answer.endTime = "2024-01-15T10:30:00Z"
        return answer


class BareSignals(Broken, caught_by="get-job-status.killed-code"):
    """The exit code after signal 9 is 9."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.exitCode > 128:
            answer.exitCode -= 128
        return answer


class WholePages(Broken, caught_by="properties.limits"):
    """I/O limits are rounded down to whole KiB, where there is one."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.maxIOBPS >= 1024:
            request.maxIOBPS -= request.maxIOBPS % 1024
        return request


class OtherJobsElsewhere(Broken, caught_by="messages.same-service"):
    """A job of JobService is not in the list of JobletService."""

    def __init__(self) -> None:
        self._path = ""
        self._made: set[str] = set()

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        self._path = path
        return peer

    def answer(self, call: str, answer: Any) -> Any:
        if self._path == "/joblet.JobService/RunJob":
            self._made.add(answer.id)
        if self._path == "/joblet.JobletService/ListJobs":
            return pb.Jobs(jobs=[job for job in answer.jobs if job.id not in self._made])
        return answer


class NamesOthers(Broken, caught_by="messages.reflection"):
    """Reflection names services that there are not."""

    named = ("joblet.ElsewhereService",)


class SaysItIsIll(Broken, caught_by="messages.health"):
    """The server serves, and says that it does not."""

    is_healthy = False
