"""
How cases are run: each with a deadline, those that are alone alone, and nothing of them is left.

Runs in: pytest.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from broken_server import Broken, Go, Refusal
from certificates import Authority
from grpc import StatusCode
from served import Served, a_server

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import times
from joblet_conformance.calls import Call
from joblet_conformance.case import Case, Level, Profile
from joblet_conformance.cases.workflows import run as run_workflow
from joblet_conformance.certificates import identities
from joblet_conformance.dialect import Dialect
from joblet_conformance.evidence import Failed
from joblet_conformance.runner import Result, Verdict, run
from joblet_conformance.subject import Subject
from joblet_conformance.target import Target
from joblet_conformance.workflowfile import job


def a_case(body: Callable[[Subject], Awaitable[None]], *, alone: bool = False, deadline_s: float = 20.0) -> Case:
    """One that is in no registry."""
    return Case(body.__name__, "", (), Level.MUST, Profile.CORE, (), alone, deadline_s, body)


def target_of(served: Served, authority: Authority) -> Target:
    """A server, with every client."""
    known = identities(authority.certificate, authority.key, {})
    return Target(f"localhost:{served.port}", authority.certificate, known)


async def test_what_a_case_has_started_is_stopped_however_it_ends(authority: Authority) -> None:
    """Jobs and workflows."""

    async def leaves_a_job(server: Subject) -> None:
        await server.sleeper()
        raise Failed("on purpose")

    async def leaves_a_workflow(server: Subject) -> None:
        await run_workflow(server, {"long": job("sleep", "3600")})

    async with a_server(authority) as served, target_of(served, authority) as target:
        results = await run(target, [a_case(leaves_a_job), a_case(leaves_a_workflow)])

        assert [result.verdict for result in results] == [Verdict.FAILED, Verdict.PASSED]
        assert served.engine.running == frozenset()


class StopsNoWorkflow(Broken, caught_by=""):
    """StopWorkflow is not in the specification; a server without it stops the jobs."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopWorkflow":
            raise Refusal(StatusCode.UNIMPLEMENTED, "")
        if call == "StopJob":
            self.stopped.append(request.id)
        return await go(request)


class Garbage(Broken, caught_by=""):
    """A workflow's job runs for ever, under no id."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopWorkflow":
            raise Refusal(StatusCode.UNIMPLEMENTED, "")
        if call == "GetWorkflowJobs":
            return pb.GetWorkflowJobsResponse(jobs=[pb.WorkflowJob(status="RUNNING")])
        return await go(request)


async def leaves_a_workflow_of_two(server: Subject) -> None:
    """The second has not begun when the case is over."""
    jobs = {"first": job("sleep", "3600"), "second": job("sleep", "3600", requires={"first": "COMPLETED"})}
    await run_workflow(server, jobs)


async def test_without_stop_workflow_only_jobs_that_have_an_id_are_stopped(authority: Authority) -> None:
    """The "0" of one that has not begun may be the beginning of a stranger's id."""
    server = StopsNoWorkflow()
    known = identities(authority.certificate, authority.key, {})
    async with (
        server.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known) as target,
    ):
        (result,) = await run(target, [a_case(leaves_a_workflow_of_two)])

        assert (result.verdict, result.words) == (Verdict.PASSED, "")
        assert server.joblet.engine.running == frozenset()
    assert [each for each in server.stopped if each != str(uuid.UUID(each))] == []


async def test_a_clean_up_that_fails_is_the_cases_and_ends_no_other(authority: Authority) -> None:
    async def lists(server: Subject) -> None:
        await server.listed()

    known = identities(authority.certificate, authority.key, {})
    async with (
        Garbage().serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=1.0) as target,
    ):
        results = await run(target, [a_case(leaves_a_workflow_of_two), a_case(lists)])

    assert [result.verdict for result in results] == [Verdict.FAILED, Verdict.PASSED]
    assert "jobs of a workflow are still under way" in results[0].words


async def test_a_run_that_is_cancelled_stops_what_it_has_started_first(authority: Authority) -> None:
    begun = asyncio.Event()

    async def waits(server: Subject) -> None:
        await server.sleeper()
        begun.set()
        await asyncio.Event().wait()

    async with a_server(authority) as served, target_of(served, authority) as target:
        running = asyncio.create_task(run(target, [a_case(waits)]))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert served.engine.running == frozenset()


async def test_a_job_whose_start_is_cut_is_stopped_too(authority: Authority) -> None:
    """The answer to RunJob comes when the case is over."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Broken, caught_by=""):
        async def unary(self, call: str, request: Any, go: Go) -> Any:
            if call == "RunJob":
                begun.set()
                await go_on.wait()
            return await go(request)

    async def starts(server: Subject) -> None:
        starting = asyncio.create_task(server.sleeper())
        await begun.wait()
        starting.cancel()
        await asyncio.wait([starting])
        go_on.set()

    server = Slow()
    known = identities(authority.certificate, authority.key, {})
    async with server.serving(authority) as port, Target(f"localhost:{port}", authority.certificate, known) as target:
        (result,) = await run(target, [a_case(starts)])

        assert result.verdict is Verdict.PASSED, result.words
        assert server.joblet.engine.running == frozenset()


@pytest.mark.parametrize("text", ["2024-13-45T99:00:00Z", "2024-01-15T10:30:00", "2024-01-15T10:30:00+99:00", ""])
def test_what_is_no_time_is_the_servers_fault(text: str) -> None:
    with pytest.raises(Failed):
        times.read("startTime", text)


@pytest.mark.parametrize(
    "text", ["2024-01-15T12:30:00+02:00", "2024-01-15T10:30:00.123456789Z", "2016-12-31T23:59:60Z"]
)
def test_a_time_may_be_of_any_zone(text: str) -> None:
    assert times.read("startTime", text).tzinfo is not None


async def test_a_case_that_takes_too_long_has_failed(authority: Authority) -> None:
    async def waits(server: Subject) -> None:
        await asyncio.Event().wait()

    async with a_server(authority) as served, target_of(served, authority) as target:
        (result,) = await run(target, [a_case(waits, deadline_s=0.05)])

    assert (result.verdict, result.words) == (Verdict.FAILED, "not done after 0.05 s")


async def test_who_is_patient_gives_a_case_more_time_as_a_whole(authority: Authority) -> None:
    async def waits(server: Subject) -> None:
        await asyncio.Event().wait()

    async with a_server(authority) as served, target_of(served, authority) as target:
        target.patience_s *= 2
        (result,) = await run(target, [a_case(waits, deadline_s=0.05)])

    assert result.words == "not done after 0.1 s"


async def test_a_fault_of_the_suite_is_told_apart_and_ends_nothing_else(authority: Authority) -> None:
    async def slips(server: Subject) -> None:
        raise KeyError("a slip")

    async def lists(server: Subject) -> None:
        await server.listed()

    async with a_server(authority) as served, target_of(served, authority) as target:
        results = await run(target, [a_case(slips), a_case(lists)])

    assert [result.verdict for result in results] == [Verdict.BROKEN, Verdict.PASSED]
    assert results[0].words == "KeyError: 'a slip'"


async def test_a_case_without_its_client_is_skipped_with_what_it_needs(authority: Authority) -> None:
    async def comes_late(server: Subject) -> None:
        await server.outcome("ListJobs", b"", role="expired")

    async with a_server(authority) as served, target_of(served, authority) as target:
        target.identities = {"admin": target.identities["admin"]}
        (result,) = await run(target, [a_case(comes_late)])

    assert result.verdict is Verdict.SKIPPED
    assert "--expired-cert" in result.words


async def test_a_case_that_must_be_alone_is(authority: Authority) -> None:
    """The others run together, and before it."""
    together = asyncio.Barrier(2)
    order: list[str] = []

    async def one(server: Subject) -> None:
        await together.wait()
        order.append("shared")

    async def other(server: Subject) -> None:
        await together.wait()
        order.append("shared")

    async def alone(server: Subject) -> None:
        order.append("alone")

    told: list[Result] = []
    async with a_server(authority) as served, target_of(served, authority) as target:
        cases = [a_case(alone, alone=True), a_case(one), a_case(other)]
        results = await run(target, cases, parallel=2, listener=told.append)

    assert order == ["shared", "shared", "alone"]
    assert [result.case for result in results] == cases
    assert len(told) == 3


class Slip(Dialect):
    """A fault of the suite when it wants to stop something."""

    def path(self, call: Call) -> str:
        if call.name == "StopJob":
            raise KeyError("a slip")
        return super().path(call)


async def test_a_fault_of_the_suite_in_the_clean_up_is_no_fault_of_the_server(authority: Authority) -> None:
    async def slips(server: Subject) -> None:
        server.target.dialect = Slip("joblet")
        await server.sleeper()

    async with a_server(authority) as served, target_of(served, authority) as target:
        (result,) = await run(target, [a_case(slips)])

    assert result.verdict is Verdict.BROKEN
    assert result.words == "what it had started cannot be stopped: KeyError: 'a slip'"


async def test_what_is_left_is_told_of_a_case_that_has_failed_too(authority: Authority) -> None:
    async def fails(server: Subject) -> None:
        await leaves_a_workflow_of_two(server)
        raise Failed("on purpose")

    known = identities(authority.certificate, authority.key, {})
    async with (
        Garbage().serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=0.2) as target,
    ):
        (result,) = await run(target, [a_case(fails)])

    assert result.verdict is Verdict.FAILED
    assert result.words.startswith("on purpose; and what it had started cannot be stopped: jobs of a workflow")


@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError])
async def test_a_slip_that_looks_like_the_end_of_time_is_a_slip(
    authority: Authority, error: type[BaseException]
) -> None:
    """Only the case's own deadline is a deadline, and only who is told to stop has been cancelled."""

    async def slips(server: Subject) -> None:
        raise error

    async with a_server(authority) as served, target_of(served, authority) as target:
        (result,) = await run(target, [a_case(slips)])

    assert (result.verdict, result.words) == (Verdict.BROKEN, f"{error.__name__}: ")
