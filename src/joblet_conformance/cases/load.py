"""
Many at once: nothing is lost, and nothing is mixed up.

Runs in: the terminal of whoever tests a server.
Source: API specification, "GetJobLogs" (Multiple Clients), "Server Configuration" (maxConcurrentJobs).
"""

import asyncio
from typing import Final

from joblet_conformance.case import Profile, case
from joblet_conformance.evidence import same
from joblet_conformance.subject import Subject

JOBS: Final = 50
READERS: Final = 100
# With the default configuration; some may be left of cases before, and of others that use the server.
AT_ONCE: Final = 90


@case(
    "load.many-jobs",
    "run-job.creates",
    "get-job-logs.streams",
    profile=Profile.LOAD,
    alone=True,
    covers=("RunJob=OK", "GetJobLogs=OK", "GetJobStatus=OK"),
)
async def many_short_jobs_keep_their_own_output(server: Subject) -> None:
    """Fifty jobs that are started together each complete, and each has printed what it was told to."""

    async def one(number: int) -> None:
        job = await server.echo(f"job number {number}")
        same("the log", await server.log(job.id), f"job number {number}\n".encode())
        same("the status", (await server.status(job.id)).status, "COMPLETED")

    await asyncio.gather(*(one(number) for number in range(JOBS)))


@case(
    "load.concurrent-jobs",
    "configuration.jobs",
    profile=Profile.LOAD,
    alone=True,
    covers=("RunJob=OK", "StopJob=OK", "ListJobs=OK"),
)
async def many_jobs_run_at_the_same_time(server: Subject) -> None:
    """Ninety jobs (100 is the default of maxConcurrentJobs) are RUNNING together, and all can be stopped at once."""
    jobs = await asyncio.gather(*(server.sleeper() for _ in range(AT_ONCE)))
    await asyncio.gather(*(server.running(job) for job in jobs))
    listed = await server.listed()
    same("how many of them are listed as RUNNING", sum(listed[job.id].status == "RUNNING" for job in jobs), AT_ONCE)

    stopped = await asyncio.gather(*(server.stop(job.id) for job in jobs))

    same("the statuses after the stop", {each.status for each in stopped}, {"STOPPED"})


@case("load.many-readers", "get-job-logs.many", profile=Profile.LOAD, alone=True, covers=("GetJobLogs=OK",))
async def a_hundred_clients_read_one_log(server: Subject) -> None:
    """A hundred streams of one job that still runs each get all of it, and each ends with it."""
    job = await server.shell(f"echo begin; {server.programs.sleep} 0.5; echo end")

    logs = await asyncio.gather(*(server.log(job.id, role=("admin", "viewer")[at % 2]) for at in range(READERS)))

    same("the different logs", set(logs), {b"begin\nend\n"})
