"""
ListJobs: every job, whole, each once, whatever else goes on.

Runs in: the terminal of whoever tests a server.
Source: API specification, "ListJobs", "Job".
"""

from typing import Final

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.case import Level, case, fields
from joblet_conformance.evidence import expect, is_uuid, one_of, same
from joblet_conformance.subject import STATUSES, Subject
from joblet_conformance.together import together

MANY: Final = 120
AT_ONCE: Final = 8


@case(
    "list-jobs.whole",
    "list-jobs.lists",
    "list-jobs.response",
    "version-2-10.list",
    "version-2-10.list-status",
    "list-jobs.parameters",
    "service.list-jobs",
    "job.everywhere",
    "job.command",
    "job.args",
    "job.max-cpu",
    "job.max-memory",
    "job.max-iobps",
    "job.status",
    covers=(
        "ListJobs=OK",
        "Jobs.jobs",
        *fields("Job", "id", "command", "args", "maxCPU", "maxMemory", "maxIOBPS", "status"),
        *fields("Job", "startTime", "endTime", "exitCode"),
    ),
)
async def every_job_is_listed_whole(server: Subject) -> None:
    """A job that runs and one that has failed are in the list with all that is known of them."""
    running, failed = await server.sleeper(maxCPU=20, maxMemory=96, maxIOBPS=2**21), await server.shell("exit 9")
    await server.running(running)
    await server.ended(failed)
    listed = await server.listed()
    expect(running.id in listed and failed.id in listed, "a job is not in the list")
    one, other = listed[running.id], listed[failed.id]

    same("the command and arguments", (one.command, list(one.args)), (server.programs.sleep, ["3600"]))
    same("maxCPU, maxMemory, maxIOBPS", (one.maxCPU, one.maxMemory, one.maxIOBPS), (20, 96, 2**21))
    same("status, endTime and exitCode", (one.status, one.endTime, one.exitCode), ("RUNNING", "", 0))
    times.recent("startTime", one.startTime)
    same("status and exitCode", (other.status, other.exitCode), ("FAILED", 9))
    times.recent("endTime", other.endTime)


@case("list-jobs.at-once", "list-jobs.lists", covers=("ListJobs=OK",))
async def a_job_is_listed_as_soon_as_it_is_there(server: Subject) -> None:
    """As soon as RunJob has answered, the job is in the list, for each client."""
    for _ in range(5):
        job = await server.echo("listed")
        for role in ("admin", "viewer"):
            expect(job.id in await server.listed(role=role), f"the new job is not in the {role}'s list")


@case("list-jobs.name", "job.name", covers=("Job.name", "GetJobStatusRes.name"))
async def a_job_of_its_own_has_no_name(server: Subject) -> None:
    """The name is empty for individual jobs."""
    job = await server.echo("nameless")
    listed, found = (await server.listed())[job.id], await server.status(job.id)

    for answer in (listed, found):
        same("the name", answer.name, "")


@case("list-jobs.cpu-cores", "job.cpu-cores", level=Level.SHOULD, covers=("Job.cpuCores", "GetJobStatusRes.cpuCores"))
async def a_job_is_bound_to_no_cores_by_itself(server: Subject) -> None:
    """A binding to cores that nobody asked for is empty."""
    job = await server.echo("unbound")
    listed, found = (await server.listed())[job.id], await server.status(job.id)

    for answer in (listed, found):
        same("cpuCores", answer.cpuCores, "")


@case("list-jobs.formats", "job.status", "job.start-time", "job.end-time", covers=("ListJobs=OK",))
async def every_entry_is_well_formed(server: Subject) -> None:
    """Whatever jobs there are: a UUID, one of the five statuses, RFC 3339 times, and an end only where it has ended."""
    await server.ended(await server.echo("formed"))
    for job in (await server.listed()).values():
        is_uuid("the id", job.id)
        which = f"job {job.id}, which is {job.status}"
        one_of(f"the status of job {job.id}", job.status, STATUSES)
        if job.startTime:
            times.read(f"startTime of {which},", job.startTime)
        if job.status in ("INITIALIZING", "RUNNING"):
            same(f"endTime of {which}", job.endTime, "")
        else:
            times.read(f"endTime of {which},", job.endTime)
        if job.status in ("COMPLETED", "FAILED"):
            same(f"whether the exit code of {which}, is 0", job.exitCode == 0, job.status == "COMPLETED")


@case("list-jobs.all", "list-jobs.lists", "list-jobs.response", covers=("ListJobs=OK",))
async def a_long_list_is_whole(server: Subject) -> None:
    """Of more than a hundred jobs that have ended each is in the list."""
    made: list[str] = []

    async def make() -> None:
        for number in range(MANY // AT_ONCE):
            job = await server.echo(str(number))
            made.append(job.id)
            await server.ended(job)  # a server has a limit of how many may be under way

    await together(*(make() for _ in range(AT_ONCE)))

    same("jobs missing in the list", sorted(set(made) - set(await server.listed())), [])


@case("list-jobs.oldest-first", "proto.oldest-first", level=Level.MAY, covers=("ListJobs=OK",))
async def the_oldest_comes_first(server: Subject) -> None:
    """Jobs that were made one after the other are listed in that order."""
    ids = [(await server.echo(str(number))).id for number in range(5)]
    order = [job_id for job_id in await server.listed() if job_id in ids]

    same("the order", order, ids)


@case("list-jobs.meanwhile", "list-jobs.lists", covers=("ListJobs=OK", "RunJob=OK"))
async def a_list_is_consistent_while_jobs_come_and_go(server: Subject) -> None:
    """While jobs are made and end, each list has every job that was there before it was asked for, once."""
    made: list[str] = []
    going = True

    async def watch() -> int:
        lists = 0
        while going:
            before = set(made)
            listed = await server.listed()
            same("jobs missing in a list", sorted(before - set(listed)), [])
            lists += 1
        return lists

    async def make() -> None:
        for number in range(6):
            made.append((await server.echo(str(number))).id)

    async def make_all() -> int:
        nonlocal going
        await together(*(make() for _ in range(3)))
        going = False
        return len(made)

    expect(all(await together(make_all(), watch(), watch())), "no list was answered meanwhile")


@case("list-jobs.empty-request", "list-jobs.parameters", "service.list-jobs", covers=("ListJobs=OK",))
async def the_request_has_no_fields(server: Subject) -> None:
    """No bytes at all are a request."""
    await server.answer("ListJobs", b"", pb.Jobs)
