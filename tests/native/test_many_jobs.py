"""
Many jobs at once on one server: each has its true end, the surplus is refused, and nothing is left of any.

Runs in: pytest, as root.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeVar

import pytest
from gate import Gate
from leftovers import Belongings, belongings, emptied, open_logs
from real_server import RealServer, log_of, real_server

from joblet.client import AsyncJobletClient, Job, TooManyJobs
from joblet.logs.reader import OPEN_MAX

pytestmark = pytest.mark.native

JOBS: Final = 1000
IN_FLIGHT: Final = 32
SLEEPERS: Final = 200
DEFAULT_LIMIT: Final = 100
SURPLUS: Final = 40

Item = TypeVar("Item")
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server that takes as many jobs as these tests have."""
    with real_server(tmp_path_factory.mktemp("server"), {"joblet": {"maxConcurrentJobs": 2 * JOBS}}) as server:
        yield server


async def for_each(items: Iterable[Item], call: Callable[[Item], Coroutine[Any, Any, Result]]) -> list[Result]:
    """The result of the call for each item, IN_FLIGHT of them at a time."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def one(item: Item) -> Result:
        async with free:
            return await call(item)

    return await asyncio.gather(*map(one, items))


def mixed(number: int) -> tuple[str, list[str], int, bytes]:
    """One of several kinds of jobs: command, arguments, exit code, output."""
    match number % 5:
        case 0:
            return "true", [], 0, b""
        case 1:
            code = number % 256
            return "sh", ["-c", f"echo {number}; echo again >&2; exit {code}"], code, f"{number}\nagain\n".encode()
        case 2:
            return "printf", [r"\000\377%s\n", str(number)], 0, b"\0\xff%d\n" % number
        case 3:
            # Leaves a process, files and folders behind.
            script = f"mkdir -p a/b; echo {number} | tee a/b/c; (setsid sleep 1000 &) >/dev/null 2>&1; kill -9 $$"
            return "sh", ["-c", script], 137, f"{number}\n".encode()
        case _:
            reason = f"joblet: command not found: no-such-program-{number}\n"
            return f"no-such-program-{number}", [], 127, reason.encode()


async def settled(server: RealServer) -> Belongings:
    """What the server has once it has stored every end."""
    async with asyncio.timeout(30):
        await emptied(server.state.run)
    return belongings(server)


async def warmed_up(server: RealServer, client: AsyncJobletClient) -> Belongings:
    """What the server has when it has had all kinds of jobs."""
    for number in range(10):
        command, arguments, _, output = mixed(number)
        job = await client.run_job(command, arguments)
        assert await log_of(client, job.id) == output
    return await settled(server)


async def test_a_thousand_jobs_reach_their_true_ends_and_leave_nothing(roomy: RealServer) -> None:
    async with roomy.client() as client:
        before = await warmed_up(roomy, client)
        wanted = [mixed(number) for number in range(JOBS)]

        jobs = await for_each(wanted, lambda wish: client.run_job(wish[0], wish[1]))
        ends = await for_each(jobs, lambda job: client.wait(job.id))
        after = await settled(roomy)

        assert [end.exit_code for end in ends] == [code for _, _, code, _ in wanted]
        assert [end.status for end in ends] == ["FAILED" if code else "COMPLETED" for _, _, code, _ in wanted]
        assert len({job.id for job in jobs}) == JOBS
        assert after == before
        logs = await for_each(jobs, lambda job: log_of(client, job.id))
        assert logs == [output for _, _, _, output in wanted]
        assert belongings(roomy) == before
        assert open_logs(roomy) <= OPEN_MAX


async def test_two_hundred_sleeping_jobs_are_stopped_at_once(roomy: RealServer) -> None:
    async with roomy.client() as client:
        before = await warmed_up(roomy, client)
        jobs = await asyncio.gather(*(client.run_job("sleep", ["1000"]) for _ in range(SLEEPERS)))
        status = {job.id: job.status for job in await client.list_jobs()}
        assert [status[job.id] for job in jobs] == ["RUNNING"] * SLEEPERS

        stopped = await asyncio.gather(*(client.stop_job(job.id) for job in jobs))

        assert {(end.status, end.exit_code) for end in stopped} == {("STOPPED", -1)}
        assert await settled(roomy) == before


async def test_the_surplus_is_refused_and_the_accepted_end_well(server: RealServer) -> None:
    """maxConcurrentJobs at its default."""
    async with Gate() as gate, server.client() as client:
        before = await warmed_up(server, client)
        names = [f"job{number}" for number in range(DEFAULT_LIMIT + SURPLUS)]
        script = 'read -r word <&3; echo "$word"; exit "$word"'
        answers = await asyncio.gather(
            *(client.run_job(*gate.knocking(name, "bash", "-c", script)) for name in names),
            return_exceptions=True,
        )
        accepted = {name: answer for name, answer in zip(names, answers, strict=True) if isinstance(answer, Job)}
        refused = [answer for answer in answers if not isinstance(answer, Job)]

        assert len(accepted) == DEFAULT_LIMIT
        assert {type(error) for error in refused} == {TooManyJobs}
        assert {str(error) for error in refused} == {"too many jobs: 100 are already running (maxConcurrentJobs: 100)"}
        assert len(await client.list_jobs()) == 10 + DEFAULT_LIMIT
        for number, name in enumerate(accepted):
            (await gate.visitor(name)).tell(str(number))
        for number, job in enumerate(accepted.values()):
            assert (await client.wait(job.id)).exit_code == number
            assert await log_of(client, job.id) == f"{number}\n".encode()
        assert (await client.wait((await client.run_job("true")).id)).exit_code == 0
        assert await settled(server) == before
