"""
GetJobStatus: everything about one job, at each moment of its life.

Runs in: the terminal of whoever tests a server.
Source: API specification, "GetJobStatus", "Job", "Job Status Values".
"""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.case import Level, case, fields
from joblet_conformance.evidence import expect, is_uuid, same
from joblet_conformance.subject import ENDED, POLL_S, STATUSES, Subject
from joblet_conformance.together import together

A_SECOND_S: Final = 1.1  # by clocks that tell whole ones
NO_JOB: Final = (StatusCode.NOT_FOUND, StatusCode.INVALID_ARGUMENT)
BY_ID: Final = ("GetJobStatus", "StopJob", "GetJobLogs")
REQUESTS: Final = {"GetJobStatus": pb.GetJobStatusReq, "StopJob": pb.StopJobReq, "GetJobLogs": pb.GetJobLogsReq}
SECTION: Final = {"GetJobStatus": "get-job-status", "StopJob": "stop-job", "GetJobLogs": "get-job-logs"}


@case(
    "get-job-status.running",
    "get-job-status.retrieves",
    "get-job-status.response",
    "service.get-job-status",
    "status.running",
    "job.command",
    "job.args",
    "job.end-time",
    covers=(
        "GetJobStatus=OK",
        "GetJobStatusReq.id",
        *fields("GetJobStatusRes", "id", "command", "args", "status", "startTime", "endTime"),
    ),
)
async def a_running_job_is_running(server: Subject) -> None:
    """A job that runs is RUNNING, has a start and no end, and its command and arguments are those that were sent."""
    job = await server.sleeper(maxCPU=50, maxMemory=96, maxIOBPS=2**21)
    found = await server.running(job)

    same("the id", found.id, job.id)
    same("maxCPU, maxMemory, maxIOBPS", (found.maxCPU, found.maxMemory, found.maxIOBPS), (50, 96, 2**21))
    same("the command", found.command, server.programs.sleep)
    same("the arguments", list(found.args), ["3600"])
    times.recent("startTime", found.startTime)
    same("endTime", found.endTime, "")
    same("exitCode", found.exitCode, 0)


@case(
    "get-job-status.completed",
    "status.completed",
    "job.exit-code",
    "job.end-time",
    covers=("GetJobStatus=OK", "GetJobStatusRes.exitCode", "GetJobStatusRes.endTime"),
)
async def a_job_that_exits_with_0_is_completed(server: Subject) -> None:
    """Exit code 0 is COMPLETED, and the end is not before the start."""
    ended = await server.ended(await server.echo("done"))

    same("the status", ended.status, "COMPLETED")
    same("exitCode", ended.exitCode, 0)
    start, end = times.recent("startTime", ended.startTime), times.recent("endTime", ended.endTime)
    expect(end >= start, f"endTime {ended.endTime} is before startTime {ended.startTime}")


@case("get-job-status.failed", "status.failed", "job.exit-code", covers=("GetJobStatus=OK", "GetJobStatusRes.exitCode"))
async def a_job_that_exits_otherwise_is_failed(server: Subject) -> None:
    """Any other exit code is FAILED, and the code is the program's own, also one that looks like a signal's."""
    for code in (1, 3, 100, 126, 127, 130, 137, 143, 255):
        ended = await server.ended(await server.shell(f"exit {code}"))

        same("the status and exitCode", (ended.status, ended.exitCode), ("FAILED", code))
        times.recent("endTime", ended.endTime)


# A should, as a server may make a job's program the first of its PID namespace, which no signal of its own ends.
@case("get-job-status.killed", "status.failed", level=Level.SHOULD, covers=("GetJobStatus=OK",))
async def a_job_that_a_signal_ends_is_failed(server: Subject) -> None:
    """A program that kills itself has not finished successfully, nor was it stopped by request."""
    ended = await server.ended(await server.shell("kill -9 $$"))

    same("the status", ended.status, "FAILED")
    expect(ended.exitCode != 0, "the exit code is 0")


@case("get-job-status.killed-code", "job.exit-code", level=Level.MAY, covers=("GetJobStatusRes.exitCode",))
async def a_signal_is_128_more(server: Subject) -> None:
    """As in a shell, signal 9 is exit code 137."""
    ended = await server.ended(await server.shell("kill -9 $$"))

    same("exitCode", ended.exitCode, 137)


@case(
    "get-job-status.times",
    "job.start-time",
    "job.end-time",
    covers=("GetJobStatusRes.startTime", "GetJobStatusRes.endTime"),
)
async def a_start_stays_and_the_end_is_as_much_later_as_the_job_took(server: Subject) -> None:
    """A job's start is the same however often it is asked for; one of two seconds ends that later, however it ends."""
    stopped = await server.sleeper()
    await server.running(stopped)
    slept = [await server.run(server.programs.sleep, "2"), await server.shell(f"{server.programs.sleep} 2; exit 3")]
    jobs = [*slept, stopped]
    first = [
        await server.until(each.id, lambda found: bool(found.startTime) or found.status in ENDED, "started")
        for each in jobs
    ]
    await asyncio.sleep(A_SECOND_S)
    second = [await server.status(each.id) for each in jobs]
    for each in slept:
        await server.ended(each)
    await server.stop(stopped.id)

    for each, *before in zip(jobs, first, second, strict=True):
        ended = await server.ended(each)
        for answer in before:
            same("startTime", answer.startTime, ended.startTime)
        took_s = (times.read("endTime", ended.endTime) - times.read("startTime", ended.startTime)).total_seconds()
        what = f"a job of two seconds that is {ended.status}"
        expect(took_s >= 1, f"{what} has taken {took_s:g} s, from {ended.startTime} to {ended.endTime}")


@case(
    "get-job-status.remembers",
    "version-2-10.history",
    "get-job-logs.history",
    "list-jobs.response",
    covers=("GetJobStatus=OK", "ListJobs=OK", "GetJobLogs=OK"),
)
async def what_has_ended_can_still_be_looked_up(server: Subject) -> None:
    """Some seconds after its end a job's status, its place in the list and its log are what they were."""
    job = await server.echo("remembered")
    ended = await server.ended(job)
    await asyncio.sleep(2 * A_SECOND_S)

    same("the status", await server.status(job.id), ended)
    same("the status in the list", (await server.listed())[job.id].status, ended.status)
    same("the log", await server.log(job.id), b"remembered\n")


@case("get-job-status.stays", "status.completed", "status.stopped", covers=("GetJobStatus=OK",))
async def an_end_is_final(server: Subject) -> None:
    """What GetJobStatus says of a job that has ended never changes, also not by a stop that is refused."""
    job = await server.shell("exit 4")
    first = await server.ended(job)
    await server.outcome("StopJob", pb.StopJobReq(id=job.id))

    for _ in range(3):
        same("the answer", await server.status(job.id), first)


@case("get-job-status.transitions", "status.initializing", "status.running", "status.completed", alone=True)
async def no_illegal_transition_is_ever_seen(server: Subject) -> None:
    """Polled without pause, a job only goes forward: INITIALIZING, RUNNING, then one end; and it is always found."""
    job = await server.shell(f"{server.programs.sleep} 0.3; exit 5")
    paths = await together(*(_path(server, job.id) for _ in range(4)))

    for path in paths:
        only_forward([job.status, *path])
        same("the last status", path[-1], "FAILED")


@case("get-job-status.transitions-stopped", "status.stopped", "stop-job.status", alone=True)
async def no_illegal_transition_is_ever_seen_of_a_job_that_is_stopped(server: Subject) -> None:
    """Polled without pause while it is stopped, a job is RUNNING until it is STOPPED, and never anything between."""
    job = await server.sleeper()
    await server.running(job)

    async def stop() -> list[str]:
        return [(await server.stop(job.id)).status]

    for path in await together(*(_path(server, job.id) for _ in range(4)), stop()):
        only_forward(path)
        same("the last status", path[-1], "STOPPED")


async def _path(server: Subject, job_id: str) -> list[str]:
    """Every status that one client sees until the job has ended; of the same in a row, the first."""
    seen: list[str] = []
    while not seen or seen[-1] not in ENDED:
        status = (await server.status(job_id)).status
        if seen[-1:] != [status]:
            seen.append(status)
    return seen


def only_forward(path: Sequence[str]) -> None:
    """Fail unless these statuses, as one client has seen them, go from a beginning to one end."""
    steps = [min(STATUSES.index(status), 2) if status in STATUSES else -1 for status in path]
    expect(
        -1 not in steps and steps == sorted(steps) and len({status for status in path if status in ENDED}) == 1,
        f"the statuses that one client sees are {' → '.join(path)}",
    )


def _unknown(name: str) -> None:
    slug, message = SECTION[name], REQUESTS[name].__name__

    @case(
        f"{slug}.unknown",
        "error.not-found",
        "error.format",
        "code.not-found",
        f"{slug}.id",
        covers=(f"{name}=NOT_FOUND", f"{message}.id"),
    )
    async def refused(server: Subject) -> None:
        """A UUID that no job has is NOT_FOUND, with the id in the message, also one that nearly is a job's."""
        ours = (await server.sleeper()).id
        is_uuid("the id of a job", ours)  # else what is near may be somebody's
        near = ours[:-1] + ("1" if ours.endswith("0") else "0")
        for unknown in (str(uuid.uuid4()), "00000000-0000-0000-0000-000000000000", near, f"{ours}0"):
            await server.refused(name, REQUESTS[name](id=unknown), StatusCode.NOT_FOUND, f"job not found: {unknown}")

    @case(
        f"{slug}.no-uuid",
        "code.not-found",
        "error.not-found",
        covers=(f"{name}=NOT_FOUND", f"{message}.id"),
    )
    async def no_uuid(server: Subject) -> None:
        """An id that is no UUID is a job that is not found."""
        for unknown in ("no-uuid", "../../etc/passwd", "x" * 300, "%s", "*", "ünï"):
            await server.refused(name, REQUESTS[name](id=unknown), StatusCode.NOT_FOUND, f"job not found: {unknown}")

    @case(f"{slug}.no-id", f"{slug}.id")
    async def no_id(server: Subject) -> None:
        """The id is required: without one no job is found, however many there are."""
        await server.echo("somebody")
        if name == "StopJob":  # whoever's job a server would take it for, it is not ours to stop
            await server.refused("GetJobStatus", pb.GetJobStatusReq(), NO_JOB)
        await server.refused(name, REQUESTS[name](), NO_JOB)

    @case(f"{slug}.prefix", "version-2-11.prefix", "proto.prefix", level=Level.SHOULD, covers=(f"{message}.id",))
    async def prefix(server: Subject) -> None:
        """The beginning of a UUID that no other job's has is as good as the whole."""
        job = await server.shell("exit 0") if name != "StopJob" else await server.sleeper()
        if name == "StopJob":
            await server.running(job)

        outcome = await server.outcome(name, REQUESTS[name](id=job.id[:13]))

        same("the status", outcome.code.name, "OK")


for _name in BY_ID:
    _unknown(_name)


@case("get-job-status.same-as-list", "job.everywhere", covers=("GetJobStatus=OK", "ListJobs=OK"))
async def the_status_and_the_list_say_the_same(server: Subject) -> None:
    """Each field that GetJobStatus and ListJobs both have is the same in both."""
    job = await server.shell("exit 7", maxCPU=30, maxMemory=128, maxIOBPS=2**21)
    one, other = await server.ended(job), (await server.listed())[job.id]

    both = set(pb.Job.DESCRIPTOR.fields_by_name) & set(pb.GetJobStatusRes.DESCRIPTOR.fields_by_name)
    for name in sorted(both):
        same(f"{name} in ListJobs", getattr(other, name), getattr(one, name))


@case("get-job-status.poll-to-the-end", "get-job-status.retrieves", covers=("GetJobStatus=OK",))
async def an_answer_never_lacks_an_end(server: Subject) -> None:
    """The first answer that says COMPLETED has the end time and the exit code with it."""
    job = await server.shell(f"{server.programs.sleep} 0.1; exit 0")
    while (found := await server.status(job.id)).status not in ENDED:
        same(f"endTime of a job that is {found.status}", found.endTime, "")
        await asyncio.sleep(POLL_S / 4)

    times.recent("endTime", found.endTime)
