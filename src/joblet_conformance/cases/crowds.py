"""
Many at once: nothing is lost, nothing is torn, nothing is somebody else's. How long it takes is nobody's business.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob", "StopJob", "ListJobs", "Job Status Values", "Server Configuration".
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.cases.stop_job import have_one_end
from joblet_conformance.evidence import Failed, Skipped, one_of, same
from joblet_conformance.subject import ENDED, POLL_S, STATUSES, Subject
from joblet_conformance.together import by, together

JOBS: Final = 200
CALLERS: Final = 50
STARTERS: Final = 10  # where it is not the starts that come at once
SLEEPERS: Final = 50
STOPS_EACH: Final = 2
LISTS: Final = 3  # clients that do nothing but list
CONNECTIONS: Final = 100
AT_ONCE: Final = 90  # with the default configuration; some may be left of cases before, and of others
TOO_MANY: Final = 130  # maxConcurrentJobs is 100, unless somebody has configured it
# A machine that is emulated starts two or three jobs a second; what comes is waited for.
DEADLINE_S: Final = 600.0


@case(
    "load.callers",
    "run-job.creates",
    "job.id",
    "job.exit-code",
    "list-jobs.lists",
    "data-chunk.payload",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("RunJob=OK", "GetJobStatus=OK", "GetJobLogs=OK", "ListJobs=OK"),
)
async def jobs_of_many_callers_are_kept_apart(server: Subject) -> None:
    """Of 200 jobs that 50 callers start, each has an id, an exit code, a log and a place in the list of its own."""

    async def one(number: int) -> pb.GetJobStatusRes:
        job = await server.shell(f"echo {number}; exit {number % 100}")
        ended, log = await server.ended(job), await server.log(job.id)

        same("the id", ended.id, job.id)
        same("the exit code", ended.exitCode, number % 100)
        same("the status", ended.status, "FAILED" if number % 100 else "COMPLETED")
        same("the log", log, f"{number}\n".encode())
        return ended

    jobs = await by(CALLERS, (partial(one, number) for number in range(JOBS)))
    listed = await server.listed()

    same("the number of different ids", len({job.id for job in jobs}), JOBS)
    same("jobs that are not listed", [job.id for job in jobs if job.id not in listed], [])
    wrong = [job.id for job in jobs if (listed[job.id].status, listed[job.id].exitCode) != (job.status, job.exitCode)]
    same("jobs that are listed with another end", wrong, [])


@case(
    "load.stops",
    "stop-job.terminates",
    "stop-job.response",
    "error.not-running",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("StopJob=OK",),
)
async def a_hundred_stops_at_once_are_each_answered(server: Subject) -> None:
    """Fifty jobs are each stopped by two clients, all at once: one end for each job, told to both or refused."""
    jobs = await by(CALLERS, (server.sleeper for _ in range(SLEEPERS)))
    await _all_running(server, jobs)
    stops = [pb.StopJobReq(id=job.id) for job in jobs for _ in range(STOPS_EACH)]
    outcomes = await together(*(server.outcome("StopJob", stop) for stop in stops))

    for at, job in enumerate(jobs):
        have_one_end(job.id, outcomes[at * STOPS_EACH : (at + 1) * STOPS_EACH], [StatusCode.INVALID_ARGUMENT])
    listed = await server.listed()
    same("the statuses afterwards", {listed[job.id].status for job in jobs}, {"STOPPED"})


async def _all_running(server: Subject, jobs: Sequence[pb.RunJobRes]) -> None:
    """Wait until they are all RUNNING: one list for all of them, and patience for each one more that is."""
    waiting = [job.id for job in jobs]

    async def still() -> list[str]:
        listed = await server.listed()
        return [job_id for job_id in waiting if listed[job_id].status != "RUNNING"]

    while waiting:
        try:
            async with asyncio.timeout(server.patience_s):
                while (left := await still()) == waiting:
                    await asyncio.sleep(POLL_S)  # the event is over there
        except TimeoutError:
            raise Failed(f"{len(waiting)} of {len(jobs)} jobs are not yet RUNNING, such as {waiting[0]}") from None
        waiting = left


@case(
    "load.lists",
    "list-jobs.lists",
    "list-jobs.response",
    "job.end-time",
    "job.status",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("ListJobs=OK",),
)
async def a_list_is_never_torn(server: Subject) -> None:
    """While jobs start and end, each entry fits together, and no list goes back behind the one before."""
    codes: dict[str, int] = {}
    going = True

    async def watch() -> None:
        before: dict[str, str] = {}
        last = False
        while not last:
            known, last = set(codes), not going
            listed = await server.listed()
            same("jobs that are not listed", sorted(known - set(listed)), [])
            for job_id in known:
                _fits(listed[job_id], codes[job_id])
                if before.get(job_id) in ENDED:
                    same("the status of a job that had ended", listed[job_id].status, before[job_id])
                before[job_id] = listed[job_id].status

    async def live(code: int) -> None:
        job = await server.shell(f"{server.programs.sleep} 0.1; exit {code}")
        codes[job.id] = code
        await server.ended(job)

    async def live_all() -> None:
        nonlocal going
        try:
            await by(STARTERS, (partial(live, code) for code in range(CALLERS)))
        finally:
            going = False

    await together(live_all(), *(watch() for _ in range(LISTS)))


def _fits(job: pb.Job, code: int) -> None:
    """Whether status, end and exit code of an entry are of one moment."""
    one_of("the status", job.status, STATUSES)
    same(f"whether a job that is {job.status} has an endTime", bool(job.endTime), job.status in ENDED)
    if job.status in ENDED:
        same("the status at its end", job.status, "FAILED" if code else "COMPLETED")
    same(f"exitCode of a job that is {job.status}", job.exitCode, code if job.status in ENDED else 0)


@case(
    "load.too-many",
    "configuration.jobs",
    profile=Profile.LOAD,
    level=Level.SHOULD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("RunJob=OK", "ListJobs=OK"),
)
async def too_many_jobs_are_refused_and_none_is_lost(server: Subject) -> None:
    """
    Of 130 jobs at once some are RESOURCE_EXHAUSTED; the others are all there, and when they have ended there is room.

    The specification does not give the code; it is gRPC's own for what has run out.
    """
    request = pb.RunJobReq(command=server.programs.sleep, args=["3600"])
    outcomes = await by(CALLERS, (partial(server.outcome, "RunJob", request) for _ in range(TOO_MANY)))
    made = [outcome.answers[0].id for outcome in outcomes if outcome.code is StatusCode.OK]
    refused = {outcome.code.name for outcome in outcomes if outcome.code is not StatusCode.OK}
    if not refused:
        raise Skipped(f"the server takes {TOO_MANY} jobs at once; its maxConcurrentJobs is not 100")
    listed = await server.listed()
    lost = [job_id for job_id in made if job_id not in listed or listed[job_id].status in ENDED]
    await by(CALLERS, (partial(server.stop, job_id) for job_id in made))
    ended = await server.ended(await server.echo("room again"))

    same("the status of those that were refused", refused, {"RESOURCE_EXHAUSTED"})
    same("jobs that were not refused and do not run", lost, [])
    same("the status of a job afterwards", ended.status, "COMPLETED")


@case(
    "load.connections",
    "overview.mutual-tls",
    "get-job-logs.many",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("GetJobLogs=OK", "GetJobLogs=CANCELLED"),
)
async def connections_come_and_go(server: Subject) -> None:
    """A hundred connections, half of which are given up in the middle of a stream, each get what they ask for."""
    ended = await server.echo("to all")
    await server.ended(ended)
    endless = await server.shell(f"echo to all; {server.programs.sleep} 3600")

    async def connect(number: int) -> None:
        stays = number % 2 == 0
        async with server.reader((ended if stays else endless).id, fresh=True) as reader:
            await reader.until(b"to all\n")
            if stays:
                same("the log", await reader.rest(), b"to all\n")

    await by(CALLERS // 2, (partial(connect, number) for number in range(CONNECTIONS)))

    same("the status of the job that they have left", (await server.status(endless.id)).status, "RUNNING")


@case(
    "load.concurrent-jobs",
    "configuration.jobs",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("RunJob=OK", "StopJob=OK", "ListJobs=OK"),
)
async def many_jobs_run_at_the_same_time(server: Subject) -> None:
    """Ninety jobs (100 is the default of maxConcurrentJobs) are RUNNING together, and all can be stopped at once."""
    jobs = await by(STARTERS, (server.sleeper for _ in range(AT_ONCE)))
    await _all_running(server, jobs)
    listed = await server.listed()
    same("how many of them are listed as RUNNING", sum(listed[job.id].status == "RUNNING" for job in jobs), AT_ONCE)

    stopped = await together(*(server.stop(job.id) for job in jobs))

    same("the statuses after the stop", {each.status for each in stopped}, {"STOPPED"})
