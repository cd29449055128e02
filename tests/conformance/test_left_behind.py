"""
Nothing that a case has started runs on, whatever the server says of it; what cannot be stopped is told.

Runs in: pytest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from broken_server import Broken, Go, Refusal
from certificates import Authority
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Case, Level, Profile, cases
from joblet_conformance.cases.crowds import CALLERS, DEADLINE_S
from joblet_conformance.cases.workflows import run as run_workflow
from joblet_conformance.certificates import identities
from joblet_conformance.evidence import Failed
from joblet_conformance.runner import Result, Verdict, run
from joblet_conformance.subject import Subject
from joblet_conformance.target import Target
from joblet_conformance.together import by, together
from joblet_conformance.workflowfile import job

TENTH = 10
Body = Callable[[Subject], Awaitable[None]]


async def tried(
    server: Broken, authority: Authority, body: Body, patience_s: float = 30.0, deadline_s: float = 20.0
) -> tuple[Result, frozenset[str]]:
    """How this goes, and which jobs run afterwards."""
    case = Case(body.__name__, "", (), Level.MUST, Profile.CORE, (), False, deadline_s, body)
    known = identities(authority.certificate, authority.key, {})
    async with (
        server.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=patience_s) as target,
    ):
        (result,) = await run(target, [case])
        return result, server.joblet.engine.running


class Slow(Broken, caught_by=""):
    """Of jobs that are started at once, the first is refused, and the others begin when that is known."""

    def __init__(self) -> None:
        self.starts = 0
        self.cleaning = asyncio.Event()

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob":
            self.starts += 1
            if self.starts == 1:
                raise Refusal(StatusCode.INTERNAL, "on purpose")
            if self.starts > 2:
                await self.cleaning.wait()
        elif call == "StopJob":
            self.cleaning.set()
        return await go(request)


async def test_starts_that_a_case_has_not_waited_for_are_waited_for_and_stopped(authority: Authority) -> None:
    """One of three fails at once, one is there, and one is answered when the case is over."""
    server = Slow()

    async def starts(subject: Subject) -> None:
        try:
            await asyncio.gather(*(subject.sleeper() for _ in range(3)))
        finally:
            asyncio.get_running_loop().call_later(0.2, server.cleaning.set)

    result, running = await tried(server, authority, starts)

    assert "RunJob is refused with INTERNAL 'on purpose'" in result.words
    assert server.starts == 3
    assert running == frozenset()


async def test_when_a_case_is_over_it_starts_nothing_more(authority: Authority) -> None:
    server = Broken()
    later: list[asyncio.Task[pb.RunJobRes]] = []
    over = asyncio.Event()

    async def starts(subject: Subject) -> None:
        async def late() -> pb.RunJobRes:
            await over.wait()
            return await subject.sleeper()

        later.append(asyncio.create_task(late()))

    known = identities(authority.certificate, authority.key, {})
    case = Case("starts", "", (), Level.MUST, Profile.CORE, (), False, 20.0, starts)
    async with server.serving(authority) as port, Target(f"localhost:{port}", authority.certificate, known) as target:
        await run(target, [case])
        over.set()
        with pytest.raises(Failed, match="RunJob comes when the case is over"):
            await later[0]

        assert server.joblet.engine.running == frozenset()


async def test_together_leaves_nothing_running_when_one_fails() -> None:
    """What it raises is what that one has raised, and no group."""
    ended = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    async def fails() -> None:
        raise Failed("on purpose")

    with pytest.raises(Failed, match="on purpose"):
        await together(waits(), fails(), waits())

    assert ended == ["waits", "waits"]


async def test_of_many_works_no_more_begin_when_one_has_failed() -> None:
    begun = []

    async def work(number: int) -> int:
        begun.append(number)
        if number == 2:
            raise Failed("on purpose")
        await asyncio.Event().wait()
        return number

    with pytest.raises(Failed, match="on purpose"):
        await by(3, (partial(work, number) for number in range(20)))

    assert begun == [0, 1, 2]


class RefusesStops(Broken, caught_by=""):
    """The first stops are refused so, and the job runs on."""

    def __init__(self, code: StatusCode, times: int) -> None:
        self.refusal_code = code
        self.left = times

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and self.left:
            self.left -= 1
            raise Refusal(self.refusal_code, "not now")
        return await go(request)


async def leaves_a_job(server: Subject) -> None:
    """And does not wait for it."""
    await server.sleeper()


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.INVALID_ARGUMENT])
async def test_a_stop_that_is_refused_while_the_job_runs_is_tried_again(authority: Authority, code: StatusCode) -> None:
    result, running = await tried(RefusesStops(code, 3), authority, leaves_a_job)

    assert (result.verdict, result.words) == (Verdict.PASSED, "")
    assert running == frozenset()


async def test_a_job_that_cannot_be_stopped_is_named(authority: Authority) -> None:
    result, running = await tried(RefusesStops(StatusCode.INTERNAL, 10**6), authority, leaves_a_job, patience_s=0.3)

    assert result.verdict is Verdict.FAILED
    for each in running:
        assert f"jobs that may still run: {each} (StopJob is refused with INTERNAL 'not now')" in result.words
    assert len(running) == 1


async def test_a_job_that_has_ended_needs_no_stop(authority: Authority) -> None:
    """StopJob refuses it, and that is all right."""

    async def ends(server: Subject) -> None:
        await server.ended(await server.echo("done"))

    result, _ = await tried(Broken(), authority, ends, patience_s=5.0)

    assert (result.verdict, result.words) == (Verdict.PASSED, "")


class WithoutStopWorkflow(Broken, caught_by=""):
    """And what runs of a workflow is not told, the first few times or ever."""

    def __init__(self, code: StatusCode, times: int) -> None:
        self.refusal_code = code
        self.left = times

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopWorkflow":
            raise Refusal(StatusCode.UNIMPLEMENTED, "")
        if call == "GetWorkflowJobs" and self.left:
            self.left -= 1
            raise Refusal(self.refusal_code, "not now")
        return await go(request)


async def leaves_a_workflow(server: Subject) -> None:
    """And does not wait for it."""
    await run_workflow(server, {"long": job("sleep", "3600")})


async def test_when_a_workflows_jobs_are_not_told_at_once_they_are_asked_for_again(authority: Authority) -> None:
    result, running = await tried(WithoutStopWorkflow(StatusCode.UNAVAILABLE, 2), authority, leaves_a_workflow)

    assert (result.verdict, result.words) == (Verdict.PASSED, "")
    assert running == frozenset()


async def test_a_workflow_whose_jobs_are_never_told_is_named(authority: Authority) -> None:
    server = WithoutStopWorkflow(StatusCode.INTERNAL, 10**6)
    result, _ = await tried(server, authority, leaves_a_workflow, patience_s=0.3)

    assert result.verdict is Verdict.FAILED
    assert "jobs of a workflow are still under way after 0.3 s of stopping them" in result.words
    assert "GetWorkflowJobs is refused with INTERNAL 'not now'" in result.words


class FailsOne(Broken, caught_by=""):
    """The tenth job is refused."""

    def __init__(self) -> None:
        self.starts = 0

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        self.starts += call == "RunJob"
        if call == "RunJob" and self.starts == TENTH:
            raise Refusal(StatusCode.INTERNAL, "on purpose")
        return await go(request)


@pytest.mark.parametrize("case_id", ["load.concurrent-jobs", "load.lists", "load.callers"])
async def test_a_crowd_that_has_failed_starts_no_more(authority: Authority, case_id: str) -> None:
    server = FailsOne()
    result, running = await tried(server, authority, cases()[case_id].body)

    assert "RunJob is refused with INTERNAL 'on purpose'" in result.words
    assert server.starts <= TENTH + CALLERS
    assert running == frozenset()


def test_cases_of_many_jobs_have_time_for_a_machine_that_is_slow() -> None:
    """Three jobs a second, each asked for with a deadline of its own."""
    crowds = [case for name, case in cases().items() if name.startswith("load.")]

    assert {case.deadline_s for case in crowds} == {DEADLINE_S}


async def test_what_is_left_of_a_run_that_is_cancelled_is_told(authority: Authority) -> None:
    """Who has pressed Ctrl-C wants to know what still runs."""
    begun = asyncio.Event()
    told: list[Result] = []

    async def waits(subject: Subject) -> None:
        await subject.sleeper()
        begun.set()
        await asyncio.Event().wait()

    server = RefusesStops(StatusCode.INTERNAL, 10**6)
    known = identities(authority.certificate, authority.key, {})
    case = Case("waits", "", (), Level.MUST, Profile.CORE, (), False, 20.0, waits)
    async with (
        server.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=0.3) as target,
    ):
        running = asyncio.create_task(run(target, [case], listener=told.append))
        await begun.wait()
        running.cancel()
        await asyncio.wait([running])

    assert running.cancelled()
    (result,) = told
    assert result.verdict is Verdict.SKIPPED
    assert "interrupted; and what it had started cannot be stopped: jobs that may still run" in result.words
