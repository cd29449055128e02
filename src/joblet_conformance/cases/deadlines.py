"""
Callers that do not wait: what they have asked for is done wholly or not at all, and the server goes on.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob", "ListJobs", "Job"; gRPC, "Deadlines".
"""

import asyncio
import time
import uuid
from typing import Final

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.case import Level, case
from joblet_conformance.evidence import is_uuid, one_of, same
from joblet_conformance.subject import ENDED, POLL_S, STATUSES, Subject
from joblet_conformance.together import together

DEADLINES_S: Final = (0.001, 0.001, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02)
# An answer that came in time; ours, or that of a server that has seen the deadline pass before we did.
ENDS: Final = ("OK", "DEADLINE_EXCEEDED", "CANCELLED")
LIVES_S: Final = 20  # of a job that is made when nobody looks for it any more


@case(
    "deadlines.run-job",
    "run-job.creates",
    "list-jobs.response",
    "job.status",
    "overview.grpc",
    level=Level.SHOULD,
    covers=("RunJob=OK", "ListJobs=OK"),
)
async def a_caller_that_does_not_wait_leaves_nothing_half_done(server: Subject) -> None:
    """After RunJob calls with deadlines of about 1 ms the server serves on, and each job of theirs is whole."""
    mark = f"deadline-{uuid.uuid4()}"
    request = pb.RunJobReq(command=server.programs.sh, args=["-c", f"{server.programs.sleep} {LIVES_S}", mark])
    codes = [(await server.outcome("RunJob", request, within_s=deadline_s)).code.name for deadline_s in DEADLINES_S]
    next_job = await server.outcome("RunJob", pb.RunJobReq(command=server.programs.echo, args=["next"]))
    seen = await _stopped(server, mark)

    for code in codes:
        one_of("how a call with a short deadline ends", code, ENDS)
    same("the status of the next RunJob", next_job.code.name, "OK")
    same("the next job's log", await server.log(next_job.answers[0].id), b"next\n")
    for job in seen:
        _is_whole(job, request)
        same("the command in GetJobStatus", (await server.status(job.id)).command, request.command)
    same("jobs that are neither stopped nor at their end", [job.id for job in seen if job.status not in ENDED], [])


async def _stopped(server: Subject, mark: str) -> list[pb.Job]:
    """Stop whatever has this mark, as nobody knows the ids, until it has ended; what is listed of it then."""
    until_s = time.monotonic() + server.patience_s
    while True:
        marked = [job for job in (await server.listed()).values() if mark in job.args]
        going = [job.id for job in marked if job.status in ("INITIALIZING", "RUNNING")]
        if not going or time.monotonic() >= until_s:
            return marked
        # One that has ended meanwhile, or has not begun, may refuse.
        await together(*(server.outcome("StopJob", pb.StopJobReq(id=job_id)) for job_id in going))
        await asyncio.sleep(POLL_S)


def _is_whole(job: pb.Job, request: pb.RunJobReq) -> None:
    is_uuid("the id", job.id)
    same(f"the command of {job.id}", job.command, request.command)
    same(f"the arguments of {job.id}", list(job.args), list(request.args))
    one_of(f"the status of {job.id}", job.status, STATUSES)
    same(f"whether {job.id}, which is {job.status}, has an endTime", bool(job.endTime), job.status in ENDED)
    for name, text in (("startTime", job.startTime), ("endTime", job.endTime)):
        if text:
            times.recent(f"{name} of {job.id}", text)
