"""
GetJobLogs: every byte, in order, to everybody, from the first to the last.

Runs in: the terminal of whoever tests a server.
Source: API specification, "GetJobLogs", "Streaming Behavior", "DataChunk".
"""

import asyncio
from typing import Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.cable import cable
from joblet_conformance.case import Level, case
from joblet_conformance.evidence import expect, same
from joblet_conformance.reader import Reader
from joblet_conformance.subject import Subject
from joblet_conformance.together import together

READERS: Final = 10
# A megabyte, of a request that is small: what it may hold has limits of its own.
LINE: Final = "0123456789abcdef" * 256
LINES: Final = 256
MEGABYTE: Final = "; ".join(f'echo "{number} $0"' for number in range(LINES))
DOUBLINGS: Final = 12
SILENT_S: Final = 2.5
FURTHER: Final = 20  # lines that are waited for after somebody has left


@case(
    "get-job-logs.whole",
    "get-job-logs.streams",
    "version-2-10.history",
    "get-job-logs.history",
    "get-job-logs.response",
    "service.get-job-logs",
    "data-chunk.payload",
    "characteristics.streaming",
    covers=("GetJobLogs=OK", "GetJobLogsReq.id", "DataChunk.payload"),
)
async def the_log_of_a_job_that_has_ended_is_all_it_printed(server: Subject) -> None:
    """Afterwards the log is what the job printed, byte for byte, as often as it is asked for."""
    job = await server.shell("echo one; echo two; echo three")
    await server.ended(job)

    for _ in range(2):
        same("the log", await server.log(job.id), b"one\ntwo\nthree\n")


@case(
    "get-job-logs.live", "get-job-logs.live", "version-2-10.live", "get-job-logs.streams", covers=("DataChunk.payload",)
)
async def output_arrives_while_the_job_runs(server: Subject) -> None:
    """What a job prints is delivered while it is still running, not when it ends."""
    job = await server.shell(f"echo first; {server.programs.sleep} 3600")
    async with server.reader(job.id) as reader:
        await reader.until(b"first\n")

        same("the status when the output has arrived", (await server.status(job.id)).status, "RUNNING")


@case("get-job-logs.history-then-live", "get-job-logs.history", "get-job-logs.live", covers=("GetJobLogs=OK",))
async def history_comes_first_then_what_is_new(server: Subject) -> None:
    """A reader that comes late gets what was printed before, then the rest: no gap, no repeat."""
    job = await server.shell(f"echo early; {server.programs.sleep} 0.4; echo late")
    async with server.reader(job.id) as first:
        await first.until(b"early\n")
        async with server.reader(job.id) as second:
            await second.until(b"early\n")

            same("the log", await second.rest(), b"early\nlate\n")
        same("the log", await first.rest(), b"early\nlate\n")


@case("get-job-logs.completion", "get-job-logs.completion", covers=("GetJobLogs=OK",))
async def the_stream_ends_with_the_job(server: Subject) -> None:
    """The stream ends with OK when the job completes, fails or is stopped, and not before it has said its last word."""
    sleep = server.programs.sleep
    jobs = [await server.shell(f"echo going; {sleep} 0.2; echo gone; exit {code}") for code in (0, 1)]
    stopped = await server.shell(f"echo going; {sleep} 3600")
    for job, status in ((jobs[0], "COMPLETED"), (jobs[1], "FAILED"), (stopped, "STOPPED")):
        async with server.reader(job.id) as reader:
            await reader.until(b"going")
            if job is stopped:
                await server.stop(job.id)
            log = await reader.rest()

        if job is stopped:  # its shell may have told of the signal
            expect(log.startswith(b"going\n"), f"the log when the stream has ended is {log!r}")
        else:
            same("the log when the stream has ended", log, b"going\ngone\n")
        same("the status", (await server.ended(job)).status, status)


@case("get-job-logs.end-is-known", "get-job-logs.completion", level=Level.SHOULD, covers=("GetJobLogs=OK",))
async def who_has_the_whole_log_finds_the_end(server: Subject) -> None:
    """When the stream has ended, the job's status is already that of its end."""
    for script, status in (("exit 0", "COMPLETED"), ("exit 1", "FAILED")):
        job = await server.shell(f"echo going; {server.programs.sleep} 0.2; {script}")
        await server.log(job.id)

        same("the status when the stream has ended", (await server.status(job.id)).status, status)


@case("get-job-logs.silence", "get-job-logs.completion", "get-job-logs.live", covers=("GetJobLogs=OK",))
async def a_stream_outlasts_silence(server: Subject) -> None:
    """A job that prints nothing for some seconds has not ended, and its stream goes on."""
    job = await server.shell(f"echo before; {server.programs.sleep} {SILENT_S}; echo after")

    same("the log", await server.log(job.id), b"before\nafter\n")


@case("get-job-logs.silent", "get-job-logs.completion", covers=("GetJobLogs=OK",))
async def a_job_that_prints_nothing_has_an_empty_log(server: Subject) -> None:
    """Its stream ends with OK, and without a byte."""
    job = await server.shell("exit 0")

    same("the log", await server.log(job.id), b"")


@case("get-job-logs.merged", "data-chunk.payload", "get-job-logs.response", covers=("DataChunk.payload",))
async def standard_error_is_in_the_log(server: Subject) -> None:
    """Standard output and standard error are one log."""
    job = await server.shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2")
    lines = (await server.log(job.id)).splitlines(keepends=True)

    same("the lines of the log, sorted", sorted(lines), [b"1\n", b"2\n", b"3\n", b"4\n"])


# A should, as the specification says that the two are merged, and not how.
@case("get-job-logs.merged-in-order", "data-chunk.payload", level=Level.SHOULD, covers=("DataChunk.payload",))
async def standard_error_is_in_the_log_in_order(server: Subject) -> None:
    """What was written to standard output and standard error is in the log in the order in which it was written."""
    job = await server.shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2")

    same("the log", await server.log(job.id), b"1\n2\n3\n4\n")


@case("get-job-logs.binary", "data-chunk.binary", "data-chunk.payload", covers=("DataChunk.payload",))
async def bytes_are_bytes(server: Subject) -> None:
    """NUL, a lone 0xff, half of a UTF-8 character and carriage returns arrive as they were printed."""
    job = await server.shell(r"printf 'a\000b\377c\303\r\n\033[1m'")

    same("the log", await server.log(job.id), b"a\0b\xffc\xc3\r\n\x1b[1m")


@case("get-job-logs.no-newline", "data-chunk.payload", covers=("DataChunk.payload",))
async def an_unfinished_line_is_delivered(server: Subject) -> None:
    """What has no newline is delivered like all else, while the job runs."""
    job = await server.shell(f"printf unfinished; {server.programs.sleep} 3600")
    async with server.reader(job.id) as reader:
        await reader.until(b"unfinished")

        same("the status when it has arrived", (await server.status(job.id)).status, "RUNNING")


@case(
    "get-job-logs.large",
    "data-chunk.payload",
    "version-2-11.integrity",
    "get-job-logs.history",
    deadline_s=300.0,
    covers=("GetJobLogs=OK", "DataChunk.payload"),
)
async def a_large_log_is_whole(server: Subject) -> None:
    """A megabyte arrives whole and in order, while it is printed and afterwards."""
    job = await server.shell(MEGABYTE, LINE)
    wanted = _megabyte()
    for when in ("while it is printed", "afterwards"):
        log = await server.log(job.id)

        same(f"the log's length, {when}", len(log), len(wanted))
        expect(log == wanted, f"the log has the right length, {when}, but other bytes")
        await server.ended(job)


@case("get-job-logs.long-line", "data-chunk.payload", "get-job-logs.response", covers=("DataChunk.payload",))
async def a_line_may_be_long(server: Subject) -> None:
    """A line of 256 KB is a line like others."""
    job = await server.shell(f"x={LINE[:64]}; {'x=$x$x; ' * DOUBLINGS}echo $x; echo end")
    log = await server.log(job.id)

    same("the log's length", len(log), (64 << DOUBLINGS) + len("\nend\n"))
    expect(log == LINE[:64].encode() * (1 << DOUBLINGS) + b"\nend\n", "the log has the right length, but other bytes")


@case(
    "get-job-logs.many-readers",
    "get-job-logs.many",
    "get-job-logs.clients",
    "version-2-10.clients",
    covers=("GetJobLogs=OK",),
)
async def many_clients_read_one_log(server: Subject) -> None:
    """Ten clients, some of them viewers and some late, each get the whole log."""
    job = await server.shell(
        f"echo begin; {server.programs.sleep} 0.3; echo middle; {server.programs.sleep} 0.3; echo end"
    )
    middle = asyncio.Event()
    async with server.reader(job.id) as first:
        await first.until(b"begin\n")

        async def lead() -> bytes:
            await first.until(b"middle\n")
            middle.set()
            return await first.rest()

        async def late(role: str) -> bytes:
            await middle.wait()
            return await server.log(job.id, role=role)

        early = [server.log(job.id, role=_role(number)) for number in range(READERS // 2)]
        logs = await together(lead(), *early, *(late(_role(number)) for number in range(READERS // 2)))

    same("the different logs", set(logs), {b"begin\nmiddle\nend\n"})


def _megabyte() -> bytes:
    return "".join(f"{number} {LINE}\n" for number in range(LINES)).encode()


def _role(number: int) -> str:
    return "viewer" if number % 2 else "admin"


@case(
    "get-job-logs.slow-reader",
    "get-job-logs.clients",
    level=Level.SHOULD,
    covers=("GetJobLogs=OK",),
)
async def a_client_that_does_not_read_holds_up_nobody(server: Subject) -> None:
    """While one client reads nothing of a megabyte, the job ends and another client gets all of it."""
    job = await server.shell(MEGABYTE, LINE)
    async with server.reader(job.id, fresh=True) as slow:
        await slow.begun()
        ended = await server.ended(job)
        log = await server.log(job.id)

    same("the status", ended.status, "COMPLETED")
    same("the log's length", len(log), len(_megabyte()))


@case(
    "get-job-logs.cancelled",
    "code.canceled",
    covers=("GetJobLogs=CANCELLED", "GetJobLogs=OK"),
)
async def a_client_that_leaves_changes_nothing(server: Subject) -> None:
    """A client that cancels its stream sees CANCELLED; the job runs on, and so do other readers."""
    job = await _prints_on(server)
    async with server.reader(job.id) as stays:
        async with server.reader(job.id) as leaves:
            await leaves.until(b"tick\n")
            same("the status that the client sees", await leaves.cancelled(), StatusCode.CANCELLED)
        await _goes_on(server, job, stays, leaves)


@case("get-job-logs.deadline", "get-job-logs.clients", level=Level.SHOULD, covers=("GetJobLogs=OK",))
async def a_client_whose_time_is_up_changes_nothing(server: Subject) -> None:
    """A stream that ends at the client's own deadline does not end the job, nor other streams."""
    job = await server.shell(f"echo begin; {server.programs.sleep} 3600")
    async with server.reader(job.id) as stays:
        await stays.until(b"begin\n")
        outcome = await server.outcome("GetJobLogs", pb.GetJobLogsReq(id=job.id), within_s=0.2)

        same("the status that the client sees", outcome.code.name, "DEADLINE_EXCEEDED")
        same("the job's status", (await server.status(job.id)).status, "RUNNING")
        await server.stop(job.id)
        expect((await stays.rest()).startswith(b"begin\n"), "the other reader has not got the log")


@case("get-job-logs.gone", "code.canceled", "get-job-logs.clients", covers=("GetJobLogs=OK",))
async def a_client_that_disconnects_changes_nothing(server: Subject) -> None:
    """A client whose connection is cut in the middle of a stream takes neither the job nor other readers with it."""
    job = await _prints_on(server)
    async with server.reader(job.id) as stays:
        async with cable(server.target.address) as line, server.reader(job.id, through=line.address) as leaves:
            await leaves.until(b"tick\n")
            line.cut()
            await leaves.cancelled()
        await _goes_on(server, job, stays, leaves)


async def _prints_on(server: Subject) -> pb.RunJobRes:
    """A job that prints until it is stopped."""
    return await server.shell(f"while true; do echo tick; {server.programs.sleep} 0.02; done")


async def _goes_on(server: Subject, job: pb.RunJobRes, stays: Reader, left: Reader) -> None:
    """One reader has left: the job prints on, the other reader gets it, and the end when it is stopped."""
    while stays.data.count(b"tick\n") < left.data.count(b"tick\n") + FURTHER:
        await stays.piece()
        expect(not stays.over, f"the log of the reader that stays ends after {len(stays.data)} bytes")
    same("the job's status", (await server.status(job.id)).status, "RUNNING")

    await server.stop(job.id)
    same("the log of the reader that stays", await stays.rest(), await server.log(job.id))
