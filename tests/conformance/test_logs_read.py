"""
How the suite reads logs: with patience for each piece, without an end to memory, and deaf to no cancellation.

Runs in: pytest.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from broken_server import Broken, Write
from certificates import Authority
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Case, Level, Profile
from joblet_conformance.certificates import identities
from joblet_conformance.evidence import Evidence, Failed
from joblet_conformance.reader import Reader
from joblet_conformance.runner import Result, Verdict, run
from joblet_conformance.subject import Subject
from joblet_conformance.target import Target


async def tried(
    server: Broken, authority: Authority, *bodies: Callable[[Subject], Awaitable[None]], patience_s: float = 30.0
) -> list[Result]:
    """How these go."""
    known = identities(authority.certificate, authority.key, {})
    cases = [Case(body.__name__, "", (), Level.MUST, Profile.CORE, (), False, 20.0, body) for body in bodies]
    async with (
        server.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=patience_s) as target,
    ):
        return list(await run(target, cases))


class Hangs(Broken, caught_by=""):
    """A log never ends."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        await write(b"so far")
        await asyncio.Event().wait()


async def reads_all(server: Subject) -> None:
    """The log of a job that was stopped."""
    job = await server.sleeper()
    await server.stop(job.id)
    await server.log(job.id)


async def test_a_log_that_does_not_end_with_its_job_is_told_so(authority: Authority) -> None:
    (result,) = await tried(Hangs(), authority, reads_all, patience_s=0.5)

    assert result.words == "after StopJob the log stream neither goes on nor ends for 0.5 s; it has given b'so far'"
    assert [(each.call, each.code) for each in result.exchanges][-1] == ("GetJobLogs", "CANCELLED")


class Dribbles(Broken, caught_by=""):
    """A log comes byte by byte, each long after the one before."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        for byte in b"slow":
            later = asyncio.Event()
            asyncio.get_running_loop().call_later(0.4, later.set)
            await later.wait()
            await write(bytes([byte]))


async def test_a_server_has_the_users_patience_for_each_piece_of_a_log(authority: Authority) -> None:
    """Not for all of them together."""

    async def reads(server: Subject) -> None:
        job = await server.echo()
        assert await server.log(job.id) == b"slow"

    (result,) = await tried(Dribbles(), authority, reads, patience_s=1.5)

    assert (result.verdict, result.words) == (Verdict.PASSED, "")


class Endless(Broken, caught_by=""):
    """A log goes on and on."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        while True:
            await write(b"x" * 2**20)


async def test_a_log_without_end_fails_before_the_memory_is_full(authority: Authority) -> None:
    """Whichever way it is read, and the evidence is short."""

    async def calls(server: Subject) -> None:
        job = await server.echo()
        await server.outcome("GetJobLogs", pb.GetJobLogsReq(id=job.id))

    results = await tried(Endless(), authority, reads_all, calls)

    words = "the log has more than 64 MiB: no job of this suite prints so much"
    assert [(result.verdict, result.words) for result in results] == [(Verdict.FAILED, words)] * 2
    assert max(len(each.came) for result in results for each in result.exchanges) < 1000


async def test_a_refused_log_is_told_with_its_status(authority: Authority) -> None:
    async def reads(server: Subject) -> None:
        await server.log("no-such-job")

    (result,) = await tried(Broken(), authority, reads)

    assert "the log stream ends with NOT_FOUND" in result.words


class Silent:
    """A stream from which nothing comes, not even its cancellation."""

    async def initial_metadata(self) -> None:
        """Never."""
        await asyncio.Event().wait()

    async def read(self) -> bytes:
        """Never."""
        await asyncio.Event().wait()
        return b""

    async def code(self) -> StatusCode:
        """As if it had worked."""
        return StatusCode.CANCELLED

    def cancel(self) -> None:
        """Of no effect."""


def reader(patience_s: float) -> Reader:
    """One that reads nothing."""
    exchange = Evidence().begin("admin", "GetJobLogs", "")
    return Reader(Silent(), exchange, pb.DataChunk.FromString, patience_s, lambda: "")


async def test_a_log_that_does_not_begin_is_told_so() -> None:
    with pytest.raises(Failed, match="the server has not begun to answer GetJobLogs after"):
        await reader(0.05).begun()


async def test_who_cancels_a_log_can_be_cancelled() -> None:
    """By the case's deadline, or Ctrl-C."""
    leaving = asyncio.create_task(reader(30.0).cancelled())
    await asyncio.wait([leaving], timeout=0.01)
    leaving.cancel()
    await asyncio.wait([leaving])

    assert leaving.cancelled()
