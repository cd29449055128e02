"""
Servers that are wrong at some moment, or about one.

Runs in: tests.
"""

import datetime
from typing import Any

from broken_answers import jobs_in
from broken_server import Broken

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
