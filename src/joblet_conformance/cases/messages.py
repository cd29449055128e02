"""
Requests from elsewhere: of a later version, too large, and no requests at all; and calls beyond the specification.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Migration Notes", "Server Configuration", "Service Architecture"; protobuf, "Unknown
Fields"; gRPC, "Status codes and their use in gRPC".
"""

import asyncio
import uuid
from typing import Final

from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.dialect import varint
from joblet_conformance.evidence import Failed, Skipped, expect, same
from joblet_conformance.subject import POLL_S, Subject
from joblet_conformance.target import services

# Field 536,870,000 as a varint, as eight bytes, as a text and as four bytes.
UNKNOWN: Final = (
    b"\x80\xf5\xff\xff\x0f\x2a\x81\xf5\xff\xff\x0f12345678\x82\xf5\xff\xff\x0f\x05later\x85\xf5\xff\xff\x0f1234"
)
FILLING: Final = varint(536_870_000 << 3 | 2)  # the beginning of the one that is a text
RECEIVED_AT_MOST_BYTES: Final = 524_288


@case(
    "messages.unknown-fields",
    "migration.compatible",
    "migration.contracts",
    covers=("RunJob=OK", "GetJobStatus=OK", "ListJobs=OK", "GetJobLogs=OK", "StopJob=OK"),
)
async def fields_of_a_later_version_are_ignored(server: Subject) -> None:
    """A request with fields that this version does not know is served as if they were not there."""
    request = pb.RunJobReq(command=server.programs.echo, args=["later"]).SerializeToString() + UNKNOWN
    job = await server.answer("RunJob", request, pb.RunJobRes)

    same("the arguments", list(job.args), ["later"])
    await server.answer("GetJobStatus", pb.GetJobStatusReq(id=job.id).SerializeToString() + UNKNOWN, pb.GetJobStatusRes)
    await server.answer("ListJobs", UNKNOWN, pb.Jobs)
    outcome = await server.outcome("GetJobLogs", pb.GetJobLogsReq(id=job.id).SerializeToString() + UNKNOWN)
    same("the log", b"".join(chunk.payload for chunk in outcome.answers), b"later\n")
    other = await server.sleeper()
    await server.running(other)
    await server.answer("StopJob", pb.StopJobReq(id=other.id).SerializeToString() + UNKNOWN, pb.StopJobRes)


@case("messages.garbage", "overview.grpc", level=Level.SHOULD)
async def bytes_that_are_no_message_are_refused(server: Subject) -> None:
    """Bytes that cannot be read are refused, never served, and the server is none the worse for it."""
    for garbage in (b"\xff" * 20, b"\x0a\x7fshort", b"\x07"):
        outcome = await server.outcome("RunJob", garbage)
        expect(outcome.code is not StatusCode.OK, "bytes that are no RunJobReq are served")
    await server.listed()


def _of_size(server: Subject, size_bytes: int, *args: str) -> bytes:
    """A RunJobReq that is so long when it is sent: a field that nobody knows fills it, for execve(2) has limits too."""
    request = pb.RunJobReq(command=server.programs.echo, args=args).SerializeToString()
    sent = server.target.dialect.to_theirs(pb.RunJobReq, request)
    length_bytes = size_bytes - len(sent) - len(FILLING) - len(varint(size_bytes))
    return request + FILLING + varint(length_bytes) + bytes(length_bytes)


@case("messages.large", "configuration.receive", covers=("RunJob=OK",))
async def a_message_at_the_limit_is_taken(server: Subject) -> None:
    """A request of exactly 512 KB (524,288 bytes) reaches the server."""
    request = _of_size(server, RECEIVED_AT_MOST_BYTES, "large")
    job = await server.answer("RunJob", request, pb.RunJobRes)

    same("the arguments", list(job.args), ["large"])


@case("messages.too-large", "configuration.receive", level=Level.SHOULD)
async def a_message_above_the_limit_is_refused(server: Subject) -> None:
    """A request of more than 512 KB is refused as RESOURCE_EXHAUSTED, which is how gRPC says it; no job is made."""
    mark = f"large-{uuid.uuid4()}"
    for size_bytes in (RECEIVED_AT_MOST_BYTES + 1, 2 * RECEIVED_AT_MOST_BYTES):
        request = _of_size(server, size_bytes, mark)
        await server.refused("RunJob", request, StatusCode.RESOURCE_EXHAUSTED)
    listed = await server.listed()

    same("jobs with its argument", [job.id for job in listed.values() if mark in job.args], [])


@case(
    "messages.job-service",
    "job-service.jobs",
    profile=Profile.WORKFLOW,
    covers=("RunJob=OK", "GetJobStatus=OK", "ListJobs=OK", "GetJobLogs=OK", "StopJob=OK"),
)
async def job_service_has_jobs(server: Subject) -> None:
    """JobService, which has workflows, has the five calls of jobs too."""
    request = pb.RunJobReq(command=server.programs.sleep, args=["3600"])
    job = await server.answer("JobService.RunJob", request, pb.RunJobRes)
    asked = pb.GetJobStatusReq(id=job.id)
    try:
        async with asyncio.timeout(server.patience_s):
            while (await server.answer("JobService.GetJobStatus", asked, pb.GetJobStatusRes)).status != "RUNNING":
                await asyncio.sleep(POLL_S)  # the event is over there
    except TimeoutError:
        raise Failed(f"after {server.patience_s:g} s the job is not yet RUNNING in JobService") from None
    listed = await server.answer("JobService.ListJobs", pb.EmptyRequest(), pb.Jobs)
    stopped = await server.answer("JobService.StopJob", pb.StopJobReq(id=job.id), pb.StopJobRes)
    log = await server.outcome("JobService.GetJobLogs", pb.GetJobLogsReq(id=job.id))

    expect(job.id in {each.id for each in listed.jobs}, "the job is not in the list")
    same("the status", stopped.status, "STOPPED")
    same("how its log ends", log.code.name, "OK")


@case(
    "messages.same-service",
    "job-service.jobs",
    "proto.same-service",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=("RunJob=OK",),
)
async def both_services_have_the_same_jobs(server: Subject) -> None:
    """A job that was started through JobService is seen, read and stopped through JobletService, and back."""
    request = pb.RunJobReq(command=server.programs.sleep, args=["3600"])
    outcome = await server.outcome("JobService.RunJob", request)
    if outcome.code is StatusCode.UNIMPLEMENTED:
        raise Skipped("the server has no JobService")
    same("the status of RunJob in JobService", outcome.code.name, "OK")
    job = outcome.answers[0]
    await server.running(job)

    for service in ("JobletService", "JobService"):
        found = await server.answer(f"{service}.GetJobStatus", pb.GetJobStatusReq(id=job.id), pb.GetJobStatusRes)
        same(f"the id in {service}", found.id, job.id)
        jobs = await server.answer(f"{service}.ListJobs", pb.EmptyRequest(), pb.Jobs)
        expect(job.id in {each.id for each in jobs.jobs}, f"the job is not in the list of {service}")
    await server.answer("JobletService.StopJob", pb.StopJobReq(id=job.id), pb.StopJobRes)
    for service in ("JobletService", "JobService"):
        log = await server.outcome(f"{service}.GetJobLogs", pb.GetJobLogsReq(id=job.id))
        same(f"how its log ends in {service}", log.code.name, "OK")


@case("messages.reflection", "service.joblet-service", level=Level.MAY)
async def reflection_names_the_services(server: Subject) -> None:
    """A server with reflection names the services of its dialect."""
    offered = await services(server.target)
    if offered is None:
        raise Skipped("the server has no reflection")

    name = server.target.dialect.service("JobletService")
    expect(name in offered, f"reflection does not name {name}: {', '.join(sorted(offered))}")


@case("messages.health", "overview.grpc", level=Level.MAY)
async def a_server_that_tells_its_health_is_healthy(server: Subject) -> None:
    """A server with gRPC's health service says that it is SERVING."""
    offered = await services(server.target)
    if offered is not None and "grpc.health.v1.Health" not in offered:
        raise Skipped("the server has no health service")
    stub = health_pb2_grpc.HealthStub(server.target.channel("admin"))
    exchange = server.evidence.begin("admin", "Check", "")
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=server.patience_s)
    except aio.AioRpcError as error:
        exchange.ended(error.code().name, error.details() or "")
        if offered is None and error.code() is StatusCode.UNIMPLEMENTED:
            raise Skipped("the server has no health service") from None
        raise Failed(f"Check is refused with {error.code().name}") from None
    exchange.ended("OK", str(answer.status))

    same("the status", answer.status, health_pb2.HealthCheckResponse.SERVING)
