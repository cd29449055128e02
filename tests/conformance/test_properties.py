"""
Sentences that hold for everything, and TLS, against what is no server: the verdict is about it, in words.

Runs in: pytest.
"""

import asyncio
from typing import Any

import pytest
from certificates import Authority
from hypothesis import strategies as st
from served import a_server

from joblet_conformance.case import cases
from joblet_conformance.cases.properties import EXAMPLES, for_all
from joblet_conformance.certificates import identities
from joblet_conformance.evidence import Evidence, Failed
from joblet_conformance.runner import Verdict, run
from joblet_conformance.subject import Subject
from joblet_conformance.target import Target


def a_subject(deadline_s: float = 60.0) -> Subject:
    """Of a server that nothing here calls."""
    return Subject(Target("localhost:1", b"", {}), Evidence(), deadline_s)


async def test_the_smallest_example_is_the_one_that_fails() -> None:
    async def check(number: int) -> None:
        if number > 10:
            raise Failed(f"{number} is too much")

    with pytest.raises(Failed, match="11 is too much"):
        await for_all(a_subject(), st.integers(0, 1000), check)


async def test_two_kinds_of_failure_are_still_a_failure() -> None:
    async def check(number: int) -> None:
        if number > 500:
            raise Failed("large")
        if number % 2:
            raise Failed("odd")

    with pytest.raises(Failed, match=r"large|odd"):
        await for_all(a_subject(), st.integers(0, 1000), check)


async def test_what_fails_once_and_never_again_is_told_in_its_own_words() -> None:
    tried: list[int] = []

    async def check(number: int) -> None:
        tried.append(number)
        if len(tried) == 5:
            raise Failed("the fifth")

    with pytest.raises(Failed, match="the fifth"):
        await for_all(a_subject(), st.integers(0, 1000), check)


async def test_no_example_begins_when_half_of_the_time_is_gone_but_for_the_first() -> None:
    tried: list[int] = []

    async def check(number: int) -> None:
        tried.append(number)

    await for_all(a_subject(deadline_s=0.0), st.integers(0, 1000), check)
    assert len(tried) == 1
    await for_all(a_subject(), st.integers(0, 1000), check)
    assert len(tried) == 1 + EXAMPLES


async def test_nothing_goes_on_when_the_case_is_cut() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    tried: list[int] = []

    async def check(number: int) -> None:
        tried.append(number)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    trying = asyncio.create_task(for_all(a_subject(), st.integers(0, 1000), check))
    await begun.wait()
    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying

    assert ended.is_set()
    assert len(tried) == 1


@pytest.mark.parametrize("case_id", ["tls.1-3", "tls.expired-not-greeted"])
async def test_a_certificate_of_the_servers_that_we_cannot_verify_is_no_refusal(
    authority: Authority, case_id: str
) -> None:
    known = identities(authority.certificate, authority.key, {})
    async with (
        a_server(authority) as served,
        Target(f"localhost:{served.port}", Authority("another").certificate, known) as target,
    ):
        (result,) = await run(target, [cases()[case_id]])

    assert result.verdict is Verdict.FAILED
    assert result.words.startswith("the server's certificate cannot be verified: ")


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
@pytest.mark.parametrize("case_id", ["tls.none", "tls.1-2", "tls.expired-not-greeted"])
async def test_what_is_no_grpc_server_greets_nobody_and_passes_nothing(
    authority: Authority, case_id: str, said: bytes
) -> None:
    """That it refuses a client says nothing, when it refuses everybody."""

    async def serve(reader: asyncio.StreamReader, writer: Any) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    known = identities(authority.certificate, authority.key, {})
    async with server, Target(f"localhost:{port}", authority.certificate, known, patience_s=1.0) as target:
        (result,) = await run(target, [cases()[case_id]])

    assert result.verdict is Verdict.FAILED
    assert result.words.startswith("ListJobs is refused with UNAVAILABLE")
