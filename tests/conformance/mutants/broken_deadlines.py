"""
Servers that are in order as long as everybody waits for the answer.

Runs in: tests.
"""

import asyncio
import uuid
from typing import Any

from broken_server import Broken, Go, Refusal
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb


class _Abandons(Broken, caught_by=""):
    """Takes longer for a job than a caller in a hurry waits, and then drops everything."""

    def abandoned(self, request: pb.RunJobReq) -> None:
        """What is left."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and request.command == "sh":
            try:
                await asyncio.Event().wait()  # longer than any deadline
            except asyncio.CancelledError:
                self.abandoned(request)
                raise
        return await super().unary(call, request, go)


class LeavesHalfARecord(_Abandons, caught_by="deadlines.run-job"):
    """A job whose caller has gone has arguments, but no command and no status."""

    def __init__(self) -> None:
        self._halves: list[pb.Job] = []

    def abandoned(self, request: pb.RunJobReq) -> None:
        self._halves.append(pb.Job(id=str(uuid.uuid4()), args=request.args))

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            answer.jobs.extend(self._halves)
        return answer


class KeepsTheLock(_Abandons, caught_by="deadlines.run-job"):
    """A start whose caller has gone is under way for ever, and no other job can be started."""

    _locked = False

    def abandoned(self, request: pb.RunJobReq) -> None:
        self._locked = True

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and self._locked:
            raise Refusal(StatusCode.UNAVAILABLE, "another job is being started")
        return request
