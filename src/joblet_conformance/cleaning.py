"""
The end of a case: what it has started is stopped, and what cannot be stopped is told.

    has ended:  StopJob is OK or NOT_FOUND, or is refused and GetJobStatus says an end
    is left:    everything else, once nothing more has ended for as long as we are patient

Runs in: the terminal of whoever tests a server. May not: know a case.
"""

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

from google.protobuf.message import Message
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.evidence import Evidence, Failed
from joblet_conformance.subject import ENDED, POLL_S, Outcome, Subject
from joblet_conformance.together import by

AT_ONCE: Final = 16  # stops; more would wait for each other on a slow machine
MOST_IDS: Final = 5  # that are told
_AHEAD: Final = ("PENDING", "INITIALIZING", "RUNNING")  # of a workflow's job


async def clean_up(subject: Subject) -> None:
    """
    Stop everything that a case has started, and let it start nothing more.

    Raises:
        Failed: Something is left, with its ids and why.
    """
    begun = await subject.close()
    cleaning = _Cleaning(Subject(subject.target, Evidence()))
    left = list(begun.unreadable)
    for workflow in dict.fromkeys(filter(None, begun.workflows)):
        left += filter(None, [await cleaning.why_workflow_left(workflow)])
    why = await cleaning.why_left(filter(None, begun.jobs))
    if why:
        told = ", ".join(list(why)[:MOST_IDS]) + (f" and {len(why) - MOST_IDS} more" if len(why) > MOST_IDS else "")
        left.append(f"jobs that may still run: {told} ({next(iter(why.values()))})")
    if left:
        raise Failed("; ".join(left))


class _Cleaning:
    """One clean-up; its calls are no case's evidence."""

    def __init__(self, server: Subject) -> None:
        self._server = server
        self._ended_s = time.monotonic()  # when the last thing has ended

    @property
    def _is_over(self) -> bool:
        return time.monotonic() - self._ended_s >= self._server.patience_s

    async def why_left(self, jobs: Iterable[str]) -> Mapping[str, str]:
        """Stop these; those that are left, and why."""
        self._ended_s = time.monotonic()
        left = dict.fromkeys(jobs, "its turn did not come")
        while left and not self._is_over:
            whys = await by(AT_ONCE, (partial(self._why_job_left, *each) for each in left.items()))
            left = {job: why for job, why in zip(left, whys, strict=True) if why}
            await asyncio.sleep(POLL_S)  # one that has not quite begun can be stopped in a moment
        return left

    async def _why_job_left(self, job: str, before: str) -> str:
        if self._is_over:
            return before
        stopping = await self._outcome("StopJob", pb.StopJobReq(id=job))
        if not isinstance(stopping, Outcome):
            return stopping
        if stopping.code not in (StatusCode.OK, StatusCode.NOT_FOUND):
            status = await self._outcome("GetJobStatus", pb.GetJobStatusReq(id=job))
            if not isinstance(status, Outcome) or not _is_an_end(status):
                return f"StopJob is refused with {stopping.code.name} {stopping.words!r}"
        self._ended_s = time.monotonic()
        return ""

    async def why_workflow_left(self, workflow: str) -> str:
        """Stop this one; why that is not possible, or nothing."""
        stopping = await self._outcome("StopWorkflow", pb.StopWorkflowRequest(workflowUuid=workflow))
        if isinstance(stopping, Outcome) and stopping.code is StatusCode.OK:
            return ""
        self._ended_s = time.monotonic()
        why = await self._why_jobs_left(workflow)
        while why and not self._is_over:
            await asyncio.sleep(POLL_S)
            why = await self._why_jobs_left(workflow)
        after = f"after {self._server.patience_s:g} s of stopping them"
        return why and f"jobs of a workflow are still under way {after}: {workflow} ({why})"

    async def _why_jobs_left(self, workflow: str) -> str:
        """Stop what runs of a workflow that cannot be stopped as a whole; each that ends may begin another."""
        found = await self._outcome("GetWorkflowJobs", pb.GetWorkflowJobsRequest(workflowUuid=workflow))
        if not isinstance(found, Outcome):
            return found
        if found.code in (StatusCode.NOT_FOUND, StatusCode.UNIMPLEMENTED):
            return ""
        if found.code is not StatusCode.OK:
            return f"GetWorkflowJobs is refused with {found.code.name} {found.words!r}"
        ahead = [job for answer in found.answers for job in answer.jobs if job.status in _AHEAD]
        # One that has not begun has no id yet, and what stands there instead may be the beginning of another's.
        begun = [job.jobId for job in ahead if _is_uuid(job.jobId)]
        await by(AT_ONCE, (partial(self._outcome, "StopJob", pb.StopJobReq(id=job)) for job in begun))
        return ", ".join(f"{job.jobName} is {job.status}" for job in ahead[:MOST_IDS])

    async def _outcome(self, name: str, request: Message) -> Outcome | str:
        """How a call ended; or, of an answer that makes no sense, why."""
        try:
            return await self._server.outcome(name, request)
        except Failed as failed:
            return str(failed)


def _is_an_end(status: Outcome) -> bool:
    if status.code is StatusCode.OK:
        return status.answers[0].status in ENDED
    return status.code is StatusCode.NOT_FOUND


def _is_uuid(text: str) -> bool:
    try:
        return text == str(uuid.UUID(text))
    except ValueError:
        return False
