"""
Servers that are wrong at some moment, or about one.

Runs in: tests.
"""

import datetime
from typing import Any

from broken_answers import jobs_in
from broken_server import Broken, Go, Refusal
from grpc import StatusCode

_ELSEWHERE = datetime.timezone(datetime.timedelta(hours=2))


class OwnZone(Broken, caught_by="run-job.utc"):
    """Times are right, but written in the server's own zone."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            for name in ("startTime", "endTime"):
                if text := getattr(job, name):
                    setattr(job, name, datetime.datetime.fromisoformat(text).astimezone(_ELSEWHERE).isoformat())
        return answer


class BindsToAllCores(Broken, caught_by="list-jobs.cpu-cores"):
    """A job that is bound to no cores is told to be bound to all of them."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            job.cpuCores = job.cpuCores or "0-3"
        return answer


class StartsNow(Broken, caught_by="get-job-status.times"):
    """A job that runs has always started just now."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            if job.status == "RUNNING":
                job.startTime = datetime.datetime.now(datetime.UTC).isoformat()
        return answer


class StartsAtItsEnd(Broken, caught_by="get-job-status.times"):
    """A job that has ended has started at its end."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in jobs_in(answer):
            if job.status == "RUNNING":
                self._started = job.startTime
            elif job.endTime:
                job.startTime = self._started
                job.endTime = self._started
        return answer


class Forgets(Broken, caught_by="get-job-status.remembers"):
    """A job that has ended is forgotten when it has been looked up."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        answer = await go(request)
        if call == "GetJobStatus" and answer.endTime:
            if answer.id in self._seen:
                raise Refusal(StatusCode.NOT_FOUND, f"job not found: {request.id}")
            self._seen.add(answer.id)
        return answer


class ListsAPage(Broken, caught_by="list-jobs.all"):
    """A list has the newest hundred jobs."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            del answer.jobs[:-100]
        return answer


class TakesNinetyArguments(Broken, caught_by="run-job.many-arguments"):
    """Arguments after the ninetieth are lost."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            del request.args[90:]
        return request


class CutsArguments(Broken, caught_by="run-job.long-argument"):
    """A list has the beginning of an argument."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else []:
            job.args[:] = [word[:60] for word in job.args]
        return answer
