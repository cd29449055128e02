"""
StopJob: SIGTERM, 100 ms, SIGKILL; and what there is to say afterwards.

Runs in: the terminal of whoever tests a server.
Source: API specification, "StopJob", "Termination Process".
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.case import Level, case, fields
from joblet_conformance.evidence import Failed, Skipped, expect, one_of, same
from joblet_conformance.subject import Outcome, Subject
from joblet_conformance.together import together

GRACE_S: Final = 0.1
# A timer of the server may fire this much early; ours started before the request was sent.
EARLY_S: Final = 0.005
# A machine that has much else to do may let 100 ms go by before it gives the job a turn.
TRIES: Final = 10
# The specification gives the words of this refusal, but not its code: its table has an invalid request and a fault of
# the server's, and gRPC itself a code for what cannot be done now.
NOT_RUNNING: Final = (StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL, StatusCode.FAILED_PRECONDITION)


@case(
    "stop-job.answer",
    "stop-job.terminates",
    "stop-job.response",
    "stop-job.example-code",
    "service.stop-job",
    covers=(
        "StopJob=OK",
        "StopJobReq.id",
        *fields("StopJobRes", "id", "status", "endTime", "exitCode"),
    ),
)
async def a_stop_answers_with_the_end(server: Subject) -> None:
    """StopJob answers with the id, STOPPED, -1 and the time of the end."""
    job = await server.sleeper()
    await server.running(job)
    stopped = await server.stop(job.id)

    same("the id", stopped.id, job.id)
    same("the status", stopped.status, "STOPPED")
    same("exitCode", stopped.exitCode, -1)
    times.recent("endTime", stopped.endTime)


@case("stop-job.status", "stop-job.status", "status.stopped", covers=("StopJob=OK", "GetJobStatus=OK", "ListJobs=OK"))
async def a_stopped_job_is_stopped_everywhere(server: Subject) -> None:
    """As soon as StopJob has answered, GetJobStatus and ListJobs say STOPPED, with the same end and exit code."""
    job = await server.sleeper()
    await server.running(job)
    stopped = await server.stop(job.id)
    found, listed = await server.status(job.id), (await server.listed())[job.id]

    for answer in (found, listed):
        seen = (answer.status, answer.endTime, answer.exitCode)
        same("status, endTime and exitCode", seen, ("STOPPED", stopped.endTime, stopped.exitCode))


@case("stop-job.status-however", "stop-job.status", "status.stopped", covers=("StopJob=OK", "GetJobStatus=OK"))
async def a_job_is_stopped_however_it_ends(server: Subject) -> None:
    """A job that ends by itself on SIGTERM and one that must be killed are both STOPPED, to whoever asks."""
    for trap in ("trap 'exit 0' TERM", "trap '' TERM"):
        job = await server.shell(f"{trap}; echo ready; while true; do {server.programs.sleep} 0.01; done")
        async with server.reader(job.id) as reader:
            await reader.until(b"ready")
        stopped, found = await server.stop(job.id), await server.status(job.id)
        listed = (await server.listed())[job.id]

        for answer in (stopped, found, listed):
            same(f"status and exitCode after {trap}", (answer.status, answer.exitCode), ("STOPPED", -1))


@case("stop-job.at-once", "stop-job.terminates", level=Level.SHOULD, covers=("StopJob=OK",))
async def a_job_can_be_stopped_as_soon_as_there_is_one(server: Subject) -> None:
    """A stop right after RunJob's answer is obeyed, also while the job is being set up."""
    for _ in range(5):
        job = await server.sleeper()
        same("the status", (await server.stop(job.id)).status, "STOPPED")


@case("stop-job.sigterm", "stop-job.sigterm", "stop-job.terminates", alone=True, covers=("StopJob=OK", "GetJobLogs=OK"))
async def sigterm_comes_first(server: Subject) -> None:
    """A job that acts on SIGTERM has its say before it ends: at least one of ten."""
    logs: list[bytes] = []
    script = f"trap 'echo got SIGTERM; exit 0' TERM; echo ready; while true; do {server.programs.sleep} 0.01; done"
    for _ in range(TRIES):
        job = await server.shell(script)
        async with server.reader(job.id) as reader:
            await reader.until(b"ready")
            stopped = await server.stop(job.id)
            logs.append(await reader.rest())
        same("the status", stopped.status, "STOPPED")
        if b"got SIGTERM" in logs[-1]:
            return
    raise Failed(f"the jobs have printed {logs}, so they were not sent SIGTERM, or had no time to act")


@case("stop-job.sigkill", "stop-job.sigkill", "stop-job.grace", alone=True, covers=("StopJob=OK", "GetJobLogs=OK"))
async def a_job_that_ignores_sigterm_is_killed(server: Subject) -> None:
    """A job that goes on after SIGTERM lives for another 100 ms, in which it can print, and is then killed."""
    logs: list[bytes] = []
    script = f"trap 'echo going on' TERM; echo ready; while true; do {server.programs.sleep} 0.01; done"
    for _ in range(TRIES):
        job = await server.shell(script)
        async with server.reader(job.id) as reader:
            await reader.until(b"ready")
            began_s = time.monotonic()
            stopped = await server.stop(job.id)
            took_s = time.monotonic() - began_s
            logs.append(await reader.rest())

        same("the status and exitCode", (stopped.status, stopped.exitCode), ("STOPPED", -1))
        if took_s < GRACE_S - EARLY_S:
            raise Failed(f"StopJob took {took_s * 1000:.0f} ms: the job did not have its 100 ms")
        if b"going on" in logs[-1]:
            return
    raise Failed(f"the jobs have printed {logs}: none went on after SIGTERM, so they were killed before their 100 ms")


@case("stop-job.no-wait", "stop-job.sigkill", level=Level.MAY, alone=True, covers=("StopJob=OK",))
async def a_job_that_obeys_is_not_waited_for(server: Subject) -> None:
    """A job that ends on SIGTERM need not be waited for: one of ten such stops takes less than 100 ms."""
    quickest_s = 60.0
    for _ in range(10):
        job = await server.sleeper()
        await server.running(job)
        began_s = time.monotonic()
        await server.stop(job.id)
        quickest_s = min(quickest_s, time.monotonic() - began_s)

    expect(quickest_s < GRACE_S, f"the quickest of ten stops took {quickest_s * 1000:.0f} ms")


def _finished(status: str, script: str) -> None:
    @case(
        f"stop-job.{status.lower()}",
        "error.not-running",
    )
    async def refused(server: Subject) -> None:
        """A job that has ended cannot be stopped; the refusal names its status."""
        job = await server.shell(script)
        await server.ended(job)

        words = f"job is not running: {job.id} (current status: {status})"
        await server.refused("StopJob", pb.StopJobReq(id=job.id), NOT_RUNNING, words)


_finished("COMPLETED", "exit 0")
_finished("FAILED", "exit 1")


@case("stop-job.not-running-code", "code.invalid-argument", level=Level.SHOULD, covers=("StopJob=INVALID_ARGUMENT",))
async def a_stop_of_what_does_not_run_is_an_invalid_request(server: Subject) -> None:
    """The refusal to stop a job that has ended is INVALID_ARGUMENT, of the codes that the specification lists."""
    job = await server.shell("exit 0")
    await server.ended(job)

    await server.refused("StopJob", pb.StopJobReq(id=job.id), StatusCode.INVALID_ARGUMENT)


@case("stop-job.twice", "error.not-running", "stop-job.status")
async def a_second_stop_is_refused(server: Subject) -> None:
    """A job that was stopped cannot be stopped again."""
    job = await server.sleeper()
    await server.running(job)
    await server.stop(job.id)

    words = f"job is not running: {job.id} (current status: STOPPED)"
    await server.refused("StopJob", pb.StopJobReq(id=job.id), NOT_RUNNING, words)


@case("stop-job.at-the-same-time", "stop-job.terminates", "error.not-running", covers=("StopJob=OK",))
async def many_stops_at_once_have_one_end(server: Subject) -> None:
    """Ten clients stop the same job: each is answered with the same end, or told that it is STOPPED."""
    job = await server.sleeper()
    await server.running(job)
    request = pb.StopJobReq(id=job.id)
    outcomes = await together(*(server.outcome("StopJob", request) for _ in range(10)))

    have_one_end(job.id, outcomes, NOT_RUNNING)


def have_one_end(job_id: str, outcomes: Sequence[Outcome], refused: Sequence[StatusCode]) -> None:
    """
    Fail unless these stops of one job tell of one end, or that it is STOPPED.

    Args:
        refused: With which of these codes.
    """
    answers = [outcome.answers[0] for outcome in outcomes if outcome.code is StatusCode.OK]
    expect(answers, f"no stop of {job_id} has succeeded: {', '.join(outcome.words for outcome in outcomes)}")
    same("the number of different answers", len({answer.SerializeToString() for answer in answers}), 1)
    same("id, status and exitCode", (answers[0].id, answers[0].status, answers[0].exitCode), (job_id, "STOPPED", -1))
    words = f"job is not running: {job_id} (current status: STOPPED)"
    for outcome in outcomes:
        if outcome.code is not StatusCode.OK:
            one_of("the status of a stop that is refused", outcome.code, refused)
            same("the words of a stop that is refused", outcome.words, words)


@case("stop-job.stays-stopped", "stop-job.status", covers=("GetJobLogs=OK", "StopJob=OK"))
async def nothing_is_printed_after_the_stop(server: Subject) -> None:
    """Once StopJob has answered, the log grows no more: nothing of the job is left."""
    job = await server.shell(f"while true; do echo tick; {server.programs.sleep} 0.01; done")
    async with server.reader(job.id) as reader:
        await reader.until(b"tick")
        await server.stop(job.id)
    first = await server.log(job.id)
    await asyncio.sleep(0.1)

    same("the log a moment later", await server.log(job.id), first)


@case(
    "stop-job.timeout",
    "status.stopped",
    "proto.timeout",
    level=Level.MAY,
    covers=("RunJobReq.timeout", "GetJobStatusRes.timeout"),
)
async def a_job_that_runs_too_long_is_stopped(server: Subject) -> None:
    """A job past the timeout that was asked for is STOPPED, exit code -1, as if somebody had stopped it."""
    job = await server.sleeper(timeout=1)
    found = await server.status(job.id)
    if not found.timeout:
        raise Skipped("the server takes no timeout in RunJobReq (the specification has none there)")
    ended = await server.ended(job)

    same("the timeout", found.timeout, 1)
    same("the status and exitCode", (ended.status, ended.exitCode), ("STOPPED", -1))
