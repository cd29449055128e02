"""
Logs that are long, and read by many: every byte, in order, to everybody.

Runs in: the terminal of whoever tests a server.
Source: API specification, "GetJobLogs", "Streaming Behavior", "DataChunk".
"""

import contextlib
from typing import Final

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Failed, expect, same
from joblet_conformance.subject import Subject
from joblet_conformance.together import together

READERS: Final = 50
FEW: Final = 3
BLOCK: Final = "0123456789abcdef" * 6000  # 96 kB: an argument may have 128 KiB (execve(2))
BLOCKS: Final = 220  # 21 MB
FEWER: Final = 5  # for many readers: half a megabyte each
DEADLINE_S: Final = 600.0
LINES: Final = 96  # of 64 KiB, which a shell doubles up from 16 bytes: 6 MB without a long argument
LINE: Final = "0123456789abcdef" * 2**12
DOUBLED: Final = "x=0123456789abcdef; " + "x=$x$x; " * 12 + "; ".join(f'echo "{at} $x"' for at in range(LINES))
TAKEN_AT_MOST_BYTES: Final = 4_194_304  # of one message, by a gRPC client that has set nothing


def _script(blocks: int) -> str:
    return "; ".join(f'echo "{number} $0"' for number in range(blocks))


def _printed(blocks: int) -> bytes:
    return "".join(f"{number} {BLOCK}\n" for number in range(blocks)).encode()


def _whole(log: bytes, wanted: bytes) -> None:
    """Fail with the place, not with megabytes."""
    same("the log's length", len(log), len(wanted))
    if log != wanted:
        at = next(at for at, (came, sent) in enumerate(zip(log, wanted, strict=True)) if came != sent)
        same(f"the log from byte {at} on", log[at : at + 40], wanted[at : at + 40])


@case(
    "load.long-log",
    "get-job-logs.clients",
    "get-job-logs.history",
    "get-job-logs.live",
    "data-chunk.payload",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("GetJobLogs=OK", "DataChunk.payload"),
)
async def a_long_log_is_whole_for_each_reader(server: Subject) -> None:
    """Twenty megabytes arrive whole and in order at three readers while a fourth does not read; and once more later."""
    job = await server.shell(_script(BLOCKS), BLOCK)
    async with server.reader(job.id, fresh=True) as slow:
        await slow.piece()
        logs = await together(*(server.log(job.id) for _ in range(FEW)))
        logs.append(await server.log(job.id))

    wanted = _printed(BLOCKS)
    for log in logs:
        _whole(log, wanted)
    same("the job's status", (await server.status(job.id)).status, "COMPLETED")


@case(
    "load.slow-reader",
    "get-job-logs.clients",
    "get-job-logs.history",
    profile=Profile.LOAD,
    level=Level.SHOULD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("GetJobLogs=OK", "DataChunk.payload"),
)
async def a_slow_reader_gets_everything_too(server: Subject) -> None:
    """
    A client that reads nothing until the job has ended and others have its log then gets all of it, in order.

    A should, because the specification lets a server remove it.
    """
    job = await server.shell(_script(BLOCKS), BLOCK)
    async with server.reader(job.id, fresh=True) as slow:
        await slow.piece()
        await server.ended(job)
        await server.log(job.id)
        log = await slow.rest()

    _whole(log, _printed(BLOCKS))


def _doubled() -> bytes:
    return "".join(f"{at} {LINE}\n" for at in range(LINES)).encode()


@case(
    "load.pieces",
    "data-chunk.payload",
    "get-job-logs.history",
    profile=Profile.LOAD,
    level=Level.SHOULD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("DataChunk.payload",),
)
async def each_piece_is_small_enough_for_any_client(server: Subject) -> None:
    """A log of 6 MB arrives whole, in pieces of at most 4 MB: a gRPC client that has set nothing takes no more."""
    job = await server.shell(DOUBLED)
    await server.ended(job)
    sizes_bytes = [0]
    async with server.reader(job.id, fresh=True) as reader:
        while not reader.over:
            sizes_bytes.append(pb.DataChunk(payload=await reader.piece()).ByteSize())

    _whole(bytes(reader.data), _doubled())
    expect(max(sizes_bytes) <= TAKEN_AT_MOST_BYTES, f"a piece has {max(sizes_bytes)} bytes")


async def _read_late(server: Subject) -> tuple[bytes, bool]:
    """What a client gets that reads nothing until others have the whole log twice, and whether that ends with OK."""
    job = await server.shell(DOUBLED)
    await server.ended(job)
    async with server.reader(job.id, fresh=True) as slow:
        await slow.piece()
        for _ in range(2):
            await server.log(job.id)
        with contextlib.suppress(Failed):  # it has been removed: the specification lets a server do so
            await slow.rest()
    return bytes(slow.data), slow.over


@case(
    "load.slow-reader-gap",
    "version-2-11.integrity",
    "get-job-logs.history",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("DataChunk.payload",),
)
async def a_slow_reader_never_misses_what_is_between(server: Subject) -> None:
    """A slow client's log that ends with OK has no gap; a server that removes it may end it, or refuse the rest."""
    log, is_over = await _read_late(server)

    if is_over:
        _whole(log, _doubled()[: len(log)])


@case(
    "load.slow-reader-told",
    "version-2-11.integrity",
    "get-job-logs.history",
    profile=Profile.LOAD,
    level=Level.SHOULD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("DataChunk.payload",),
)
async def a_slow_reader_is_told_when_there_was_more(server: Subject) -> None:
    """A slow client's log that ends with OK is whole: one that is removed sees another status."""
    log, is_over = await _read_late(server)

    if is_over:
        _whole(log, _doubled())


@case(
    "load.readers",
    "get-job-logs.many",
    "get-job-logs.clients",
    profile=Profile.LOAD,
    alone=True,
    deadline_s=DEADLINE_S,
    covers=("GetJobLogs=OK", "DataChunk.payload"),
)
async def fifty_readers_get_the_same(server: Subject) -> None:
    """Fifty clients that come before, while and after half a megabyte is printed all get the same bytes."""
    pause = f"; {server.programs.sleep} 0.3; "
    job = await server.shell(f"echo begin{pause}{_script(FEWER)}{pause}echo end", BLOCK)

    async def while_it_prints() -> list[bytes]:
        async with server.reader(job.id) as first:
            await first.until(b"0 ")
            late = (server.log(job.id, role="viewer") for _ in range(READERS // 2 - 1))
            return await together(first.rest(), *late)

    early = together(*(server.log(job.id) for _ in range(READERS // 2)))
    logs = [log for some in await together(early, while_it_prints()) for log in some]
    logs.append(await server.log(job.id))

    wanted = b"begin\n" + _printed(FEWER) + b"end\n"
    for log in logs:
        _whole(log, wanted)
