"""
Sentences that hold for everything: tried with what nobody would think of.

Each is alone: Python 3.11 may fail with "AST constructor recursion depth mismatch" (gh-106905) when two threads read
source, as Hypothesis does of its strategies.

Runs in: the terminal of whoever tests a server; Hypothesis in a thread of its own, its calls in the suite's loop.
Source: API specification, "RunJob", "GetJobLogs", "Common Error Scenarios", "Migration Notes".
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import StatusCode
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import case
from joblet_conformance.dialect import varint
from joblet_conformance.evidence import Failed, expect, same
from joblet_conformance.subject import Subject

EXAMPLES: Final = 15
SEED: Final = 20240115  # the same each time, so that two runs, and two servers, can be compared

# Anything that an argument can be (execve(2) ends it at a NUL), but nothing that some echo takes for an option or,
# like those of some shells, for an escape.
WORDS: Final = st.text(st.characters(exclude_characters="\0\\", exclude_categories=["Cs"]), max_size=40).filter(
    lambda text: not text.startswith("-")
)
# Ids that begin no UUID, of characters that a server has no reason to write otherwise in its message.
IDS: Final = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=60).filter(
    lambda text: not set(text.lower()) <= set("0123456789abcdef-")
)

PERCENT: Final = st.integers(10, 100)
MEGABYTES: Final = st.integers(64, 128)
BYTES_A_SECOND: Final = st.integers(2**20, 2**30)


async def for_all(server: Subject, strategy: st.SearchStrategy[Any], check: Callable[[Any], Awaitable[None]]) -> None:
    """
    Try it with examples, and fail with the smallest that fails; when half of the case's time is gone, with the first.

    Raises:
        Failed: One fails, whether or not it does so again.
    """
    loop = asyncio.get_running_loop()
    over = False
    failures: list[Exception] = []
    attempts: list[asyncio.Task[Any]] = []

    async def attempt(example: Any) -> None:
        nonlocal over
        task = asyncio.current_task()
        assert task is not None
        attempts.append(task)
        began_s = time.monotonic()
        try:
            await check(example)
        except Exception as error:
            failures.append(error)
            if time.monotonic() - began_s >= server.patience_s:
                over = True  # what does not come does so with a smaller example too, and each takes as long
            raise

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(strategy)
    def tried(example: Any) -> None:
        if not over and not (attempts and server.half_over):
            asyncio.run_coroutine_threadsafe(attempt(example), loop).result()

    searching = asyncio.create_task(asyncio.to_thread(tried))
    try:
        await asyncio.shield(searching)
    except asyncio.CancelledError:
        over = True  # the thread knows nothing of the case's end
        for task in attempts:
            task.cancel()
        await asyncio.wait([searching, *attempts])
        raise
    except Failed:
        raise
    except Exception:
        if failures:  # of what fails now and then, Hypothesis says only that
            raise failures[0] from None
        raise


@case(
    "properties.arguments",
    "run-job.args",
    "job.args",
    "data-chunk.payload",
    covers=("RunJob=OK", "GetJobLogs=OK", "RunJobReq.args"),
    alone=True,
)
async def any_arguments_reach_the_program(server: Subject) -> None:
    """Whatever the arguments, they are in the answer, in GetJobStatus, and what `echo` prints."""

    async def check(words: list[str]) -> None:
        job = await server.echo("begin", *words)
        log = await server.log(job.id)

        same("the arguments in the answer", list(job.args), ["begin", *words])
        same("the arguments in GetJobStatus", list((await server.status(job.id)).args), ["begin", *words])
        same("what echo prints", log, (" ".join(["begin", *words]) + "\n").encode())

    await for_all(server, st.lists(WORDS, max_size=4), check)


@case(
    "properties.unknown-ids",
    "error.not-found",
    "code.not-found",
    covers=("GetJobStatus=NOT_FOUND", "StopJob=NOT_FOUND", "GetJobLogs=NOT_FOUND"),
    alone=True,
)
async def any_other_id_is_not_found(server: Subject) -> None:
    """Whatever an id is that no job has, it is NOT_FOUND, and the message holds it as it was sent."""

    async def check(unknown: str) -> None:
        for name, request in (
            ("GetJobStatus", pb.GetJobStatusReq(id=unknown)),
            ("StopJob", pb.StopJobReq(id=unknown)),
            ("GetJobLogs", pb.GetJobLogsReq(id=unknown)),
        ):
            await server.refused(name, request, StatusCode.NOT_FOUND, f"job not found: {unknown}")

    await for_all(server, IDS | st.uuids(version=4).map(str), check)


@case("properties.limits", "run-job-req.max-cpu", "run-job-req.max-iobps", covers=("RunJob=OK",), alone=True)
async def any_limit_is_in_force_as_it_was_asked_for(server: Subject) -> None:
    """Whatever limits a small machine can give, they are what the answer says; 0 is the default."""

    async def check(limits: tuple[int, int, int]) -> None:
        cpu, memory, iobps = limits
        job = await server.echo(maxCPU=cpu, maxMemory=memory, maxIOBPS=iobps)

        same(
            "maxCPU, maxMemory, maxIOBPS", (job.maxCPU, job.maxMemory, job.maxIOBPS), (cpu or 100, memory or 512, iobps)
        )

    await for_all(server, st.tuples(PERCENT | st.just(0), MEGABYTES | st.just(0), BYTES_A_SECOND | st.just(0)), check)


@case(
    "properties.exit-codes",
    "job.exit-code",
    "status.failed",
    "status.completed",
    covers=("GetJobStatus=OK",),
    alone=True,
)
async def any_exit_code_is_the_jobs(server: Subject) -> None:
    """Whatever a program exits with, it is the job's exit code, and decides whether it is COMPLETED or FAILED."""

    async def check(code: int) -> None:
        ended = await server.ended(await server.shell(f"exit {code}"))

        same("status and exitCode", (ended.status, ended.exitCode), ("FAILED" if code else "COMPLETED", code))

    await for_all(server, st.integers(0, 255), check)


@case("properties.unknown-fields", "migration.compatible", covers=("RunJob=OK",), alone=True)
async def any_field_of_a_later_version_is_ignored(server: Subject) -> None:
    """Whatever number and text a field of a later version has, RunJob serves the rest."""

    async def check(later: tuple[int, bytes]) -> None:
        number, text = later
        mark = str(uuid.uuid4())
        field = varint(number << 3 | 2) + varint(len(text)) + text
        request = pb.RunJobReq(command=server.programs.echo, args=[mark]).SerializeToString() + field
        job = await server.answer("RunJob", request, pb.RunJobRes)

        expect(list(job.args) == [mark], "the job is another than was asked for")

    # Numbers below belong to versions there are; 19000 to 19999 to protobuf itself.
    await for_all(server, st.tuples(st.integers(20_000, 2**29 - 1), st.binary(max_size=50)), check)
