"""
How cases are run: each with a deadline, those that are alone alone, and nothing of them is left.

Runs in: pytest.
"""

import asyncio
from collections.abc import Awaitable, Callable

from certificates import Authority
from served import Served, a_server

from joblet_conformance.case import Case, Level, Profile
from joblet_conformance.cases.workflows import run as run_workflow
from joblet_conformance.certificates import identities
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


async def test_a_case_that_takes_too_long_has_failed(authority: Authority) -> None:
    async def waits(server: Subject) -> None:
        await asyncio.Event().wait()

    async with a_server(authority) as served, target_of(served, authority) as target:
        (result,) = await run(target, [a_case(waits, deadline_s=0.05)])

    assert (result.verdict, result.words) == (Verdict.FAILED, "not done after 0.05 s")


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
