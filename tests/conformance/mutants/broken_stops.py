"""
Servers that stop jobs in another way, or say something else about it.

Runs in: tests.
"""

import asyncio
from typing import Any

from broken_server import Broken, Go, Refusal, Write
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb


class StopsWith143(Broken, caught_by="stop-job.answer"):
    """A stopped job has the exit code of SIGTERM."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "StopJob":
            answer.exitCode = 143
        return answer


class NoEndTime(Broken, caught_by="stop-job.answer"):
    """A stop does not tell when the job ended."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "StopJob":
            answer.endTime = ""
        return answer


class StoppedIsFailed(Broken, caught_by="stop-job.status"):
    """GetJobStatus calls a stopped job FAILED."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.status == "STOPPED":
            answer.status = "FAILED"
        return answer


class TellsTheExit(Broken, caught_by="stop-job.status-however"):
    """A job that ends by itself when it is stopped is COMPLETED."""

    def __init__(self) -> None:
        self._obedient: set[str] = set()

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        obeys = call == "RunJob" and any("exit 0" in word for word in request.args)
        answer = await go(request)
        if obeys:
            self._obedient.add(answer.id)
        if call == "GetJobStatus" and answer.id in self._obedient and answer.status == "STOPPED":
            answer.status, answer.exitCode = "COMPLETED", 0
        return answer


class AnswersFirst(Broken, caught_by="stop-job.status"):
    """A stop is answered at once, and happens later."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call != "StopJob":
            return await go(request)
        asyncio.get_running_loop().call_later(0.5, self._stop, request.id)
        return pb.StopJobRes(id=request.id, status="STOPPED", exitCode=-1, endTime="2024-01-15T10:30:00Z")

    def _stop(self, job_id: str) -> None:
        self.stopping = asyncio.create_task(self.joblet.jobs.stop(job_id))


class PrintsOn(Broken, caught_by=""):
    """Something of a job goes on when it is stopped, which is in its log when that is read for the second time."""

    def __init__(self) -> None:
        super().__init__()
        self._reads: dict[str, int] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        answer = await super().unary(call, request, go)
        if call == "StopJob":
            self._reads[self.joblet.jobs.resolve(request.id)] = 0
        return answer

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if request.id in self._reads:
            self._reads[request.id] += 1
            if self._reads[request.id] == 2:
                self.joblet.engine.logs.append(self.joblet.jobs.resolve(request.id), b"tick\n")
        await go(request, write)


class LeavesSomethingBehind(PrintsOn, caught_by="stop-job.stays-stopped"):
    """A process of the job prints on after the stop."""


class TooEarlyToStop(Broken, caught_by="stop-job.at-once"):
    """A job that nobody has seen yet cannot be stopped."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and request.id not in self._seen:
            words = f"job is not running: {request.id} (current status: INITIALIZING)"
            raise Refusal(StatusCode.INVALID_ARGUMENT, words)
        if call == "GetJobStatus":
            self._seen.add(request.id)
        return await go(request)


class NoSigterm(Broken, caught_by="stop-job.sigterm"):
    """A job is killed without SIGTERM: what it would do then never happens."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.args[:1] == ["-c"]:
            request.args[1] = request.args[1].replace("trap 'echo got SIGTERM; exit 0' TERM;", "")
        return request


class NoGrace(Broken, caught_by="stop-job.sigkill"):
    """SIGKILL comes right after SIGTERM: it makes no difference that a job goes on."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.args[:1] == ["-c"]:
            request.args[1] = request.args[1].replace("trap 'echo going on' TERM;", "")
        return request


class Freezes(Broken, caught_by="stop-job.sigkill"):
    """A job has its 100 ms, but is frozen meanwhile."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.args[:1] == ["-c"]:
            request.args[1] = request.args[1].replace("trap 'echo going on' TERM;", "trap '' TERM;")
        return request


class AlwaysWaits(Broken, caught_by="stop-job.no-wait"):
    """The 100 ms are waited for, also when the job has ended."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call != "StopJob":
            return await go(request)
        waiting = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, waiting.set)
        answer = await go(request)
        await waiting.wait()
        return answer


class OneStopper(Broken, caught_by="stop-job.at-the-same-time"):
    """While a job is being stopped, a second stop is a fault of the server."""

    def __init__(self) -> None:
        self._stopping: set[str] = set()

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call != "StopJob":
            return await go(request)
        if request.id in self._stopping:
            raise Refusal(StatusCode.INTERNAL, "stop already in progress")
        self._stopping.add(request.id)
        return await go(request)


class FiftyJobs(Broken, caught_by="load.concurrent-jobs"):
    """At most fifty jobs run at once."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and len(self.joblet.engine.running) >= 50:
            raise Refusal(StatusCode.RESOURCE_EXHAUSTED, "too many jobs: 50 are already running")
        return await go(request)
