"""GetJobLogs over real TLS: history then live, many readers, slow and vanishing ones."""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from pathlib import Path

import pytest
from certificates import Authority, Credentials
from grpc import StatusCode, aio
from served import Served, a_server, read_all, refusal

from joblet.api.server import WireOptions
from joblet.domain.job import Job
from joblet.testing.logs import FakeLogKeeper
from joblet.testing.programs import Prints, Sleeps, prints, runs_forever
from joblet.wire import joblet_pb2 as pb

MIB = 1024 * 1024
BYTES = random.Random(20240115).randbytes(5 * MIB + 17)


async def ended(served: Served, data: bytes) -> Job:
    """A job that has printed this and ended."""
    job = await served.joblet.run(prints(data))
    await served.joblet.ended(job)
    return job


async def test_every_byte_arrives_in_order(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """Any bytes, in pieces of at most 1 MiB, to admin and viewer."""
    async with a_server(authority) as served:
        job = await ended(served, BYTES)
        for kind in ("admin", "viewer"):
            async with served.client(certificates[kind]) as client:
                pieces = [chunk.payload async for chunk in client.GetJobLogs(pb.GetJobLogsReq(id=job.id))]

            assert b"".join(pieces) == BYTES
            assert max(map(len, pieces)) <= MIB


async def test_history_comes_first_then_what_is_printed_live(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """A late reader misses nothing and gets nothing twice; the stream ends with the job."""
    program = prints(b"one\n").then_sleeps(0.1).then_prints(b"two\n").then_sleeps(0.1).then_prints(b"three\n")
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await served.joblet.run(program)
        early, late = viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id)), viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id))
        first = await anext(aiter(early))

        assert first.payload == b"one\n"
        assert await read_all(late) == b"one\ntwo\nthree\n"
        assert b"".join([chunk.payload async for chunk in aiter(early)]) == b"two\nthree\n"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pb.GetJobLogsReq(offset=4), b"b\nccc\n"),
        (pb.GetJobLogsReq(offset=1000), b""),
        (pb.GetJobLogsReq(tail=1), b"ccc\n"),
        (pb.GetJobLogsReq(tail=2), b"bbb\nccc\n"),
        (pb.GetJobLogsReq(tail=100), b"a\nbbb\nccc\n"),
        (pb.GetJobLogsReq(noFollow=True), b"a\nbbb\nccc\n"),
    ],
)
async def test_a_part_of_the_log_can_be_asked_for(
    authority: Authority, certificates: dict[str, Credentials], request_: pb.GetJobLogsReq, expected: bytes
) -> None:
    """By offset, by number of last lines, and without waiting for more."""
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await ended(served, b"a\nbbb\nccc\n")
        request = pb.GetJobLogsReq(id=job.id)
        request.MergeFrom(request_)

        assert await read_all(viewer.GetJobLogs(request)) == expected


async def test_a_piece_says_where_it_begins_when_that_is_not_where_it_was_expected(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """A beginning that was removed, and a tail; a piece that follows the one before it says nothing."""
    async with a_server(authority, chunk_bytes=10_000) as served, served.client(certificates["viewer"]) as viewer:
        job = await ended(served, BYTES[:30_000])
        await FakeLogKeeper(served.engine.logs).trim(job.id, 8192)

        async def begins(offset: int = 0, tail: int = 0) -> list[int]:
            request = pb.GetJobLogsReq(id=job.id, offset=offset, tail=tail)
            return [chunk.offset async for chunk in viewer.GetJobLogs(request)]

        assert await begins() == [8192, 0, 0]
        assert await begins(offset=8192) == [0, 0, 0]
        assert await begins(offset=29_000) == [0]
        assert await begins(tail=1) == [BYTES.rindex(b"\n", 0, 30_000) + 1]


async def test_a_log_that_was_removed_is_out_of_range_and_its_length_stays(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await ended(served, b"0123456789")
        await FakeLogKeeper(served.engine.logs).remove(job.id)

        stream = viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id))
        with pytest.raises(aio.AioRpcError):
            await read_all(stream)

        assert await refusal(stream) == (
            StatusCode.OUT_OF_RANGE,
            f"the log of job {job.id} is not kept any more: its 10 bytes were removed to make room",
        )
        assert (await viewer.GetJobStatus(pb.GetJobStatusReq(id=job.id))).logBytes == 10
        assert await read_all(viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id, offset=10))) == b""


async def test_a_time_that_is_none_is_refused(authority: Authority, certificates: dict[str, Credentials]) -> None:
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await ended(served, b"x")

        stream = viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id, since="yesterday"))
        with pytest.raises(aio.AioRpcError):
            await read_all(stream)

        code, details = await refusal(stream)
        assert code is StatusCode.INVALID_ARGUMENT
        assert details == "invalid request: since must be an RFC 3339 time such as 2024-01-15T10:30:00Z"


async def test_without_follow_the_log_of_a_running_job_ends_at_what_is_there(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The job runs on."""
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await served.joblet.run(prints(b"so far\n").then_runs_forever())

        assert await read_all(viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id, noFollow=True))) == b"so far\n"
        assert job.id in served.engine.running


async def test_a_reader_that_stalls_is_removed_and_told_where_to_resume(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """RESOURCE_EXHAUSTED with an offset; resumed there, the two parts are the whole log. Others are not held up."""
    log = BYTES * 8
    async with a_server(authority, options=WireOptions(stall_timeout_s=0.3)) as served:
        job = await ended(served, log)
        async with served.client(certificates["viewer"]) as slow, served.client(certificates["viewer"]) as quick:
            stalled = slow.GetJobLogs(pb.GetJobLogsReq(id=job.id))
            pieces = aiter(stalled)
            received = (await anext(pieces)).payload
            assert await read_all(quick.GetJobLogs(pb.GetJobLogsReq(id=job.id))) == log
            await served.log.saying("slow client removed")

            with contextlib.suppress(aio.AioRpcError):
                async for chunk in pieces:
                    received += chunk.payload
            code, details = await refusal(stalled)
            assert code is StatusCode.RESOURCE_EXHAUSTED
            words, _, offset = details.rpartition("resume at offset ")
            assert words == f"slow client removed: the log stream of {job.id} made no progress for 0.3 s ("
            start = int(offset.removesuffix(")"))
            rest = await read_all(slow.GetJobLogs(pb.GetJobLogsReq(id=job.id, offset=start)))
            assert received[:start] + rest == log


async def test_a_thousand_streams_are_open_at_once(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """Each gets every byte; the server answers other calls meanwhile."""
    program = prints(b"begin\n").then_runs_forever(Sleeps(0.5), Prints(b"tick\n"))
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await served.joblet.run(program)
        streams = [viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id)) for _ in range(1000)]
        begun = await asyncio.gather(*(anext(aiter(stream)) for stream in streams))
        assert len((await viewer.ListJobs(pb.EmptyRequest(), timeout=5)).jobs) == 1

        await served.joblet.jobs.stop(job.id)
        rest = await asyncio.gather(*(read_all(stream) for stream in streams))

    everything = {first.payload + later for first, later in zip(begun, rest, strict=True)}
    assert len(everything) == 1
    assert everything.pop() == served.engine.logs.whole(job.id)


async def test_clients_that_vanish_leave_nothing_behind(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Cancelled calls and cut connections: every stream is gone, and nobody watches the job's log any more."""
    async with a_server(authority) as served:
        job = await served.joblet.run(prints(b"begin\n").then_runs_forever())
        for _ in range(50):
            async with served.client(certificates["viewer"]) as viewer:
                streams = [viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id)) for _ in range(4)]
                await asyncio.gather(*(anext(aiter(stream)) for stream in streams))
                streams[0].cancel()

        await served.log.saying("code=CANCELLED", times=200)
        assert served.engine.watched == frozenset()
        async with served.client(certificates["admin"]) as admin:
            assert (await admin.StopJob(pb.StopJobReq(id=job.id))).status == "STOPPED"


async def test_a_client_cut_off_in_the_middle_of_a_piece_does_not_matter(
    authority: Authority, certificates: dict[str, Credentials], tmp_path: Path
) -> None:
    """RST in the middle of the transfer: logged as a call cancelled, without a traceback."""
    async with a_server(authority) as served:
        job = await ended(served, BYTES * 4)
        await asyncio.to_thread(read_a_little_then_reset, served, certificates["viewer"], job.id, tmp_path)

        await served.log.saying("code=CANCELLED")
        assert [line for line in served.log if "traceback" in line] == []


def read_a_little_then_reset(served: Served, credentials: Credentials, job_id: str, folder: Path) -> None:
    """A client that asks for a log in raw HTTP/2 and resets the connection after 100 kB."""
    pem = folder / "client.pem"
    pem.write_bytes(credentials.certificate + credentials.key)
    context = ssl.create_default_context(cadata=served.authority.certificate.decode())
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    raw = socket.create_connection(("127.0.0.1", served.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with context.wrap_socket(raw, server_hostname="localhost") as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
        tls.sendall(frame(8, 0, 0, struct.pack(">I", 2**30)))
        headers = b"".join(
            literal(name, value)
            for name, value in (
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":path", b"/joblet.JobService/GetJobLogs"),
                (b":authority", b"localhost"),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
            )
        )
        message = pb.GetJobLogsReq(id=job_id).SerializeToString()
        tls.sendall(frame(1, 4, 1, headers))
        tls.sendall(frame(0, 1, 1, struct.pack(">BI", 0, len(message)) + message))
        received = 0
        while received < 100_000:
            received += len(tls.recv(65536))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """One header, not indexed (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


async def test_a_piece_never_exceeds_what_may_be_sent(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """With a small maxSendMsgSize, pieces of the size that bootstrap chooses go through."""
    options = WireOptions(max_send_bytes=65_536)
    async with a_server(authority, options=options, chunk_bytes=65_536 - 16) as served:
        job = await ended(served, BYTES)
        async with served.client(certificates["viewer"]) as viewer:
            assert await read_all(viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id))) == BYTES


async def test_streams_end_with_the_words_that_the_server_is_shutting_down(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """UNAVAILABLE, so that a client connects again; the job runs on."""
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await served.joblet.run(prints(b"begin\n").then_runs_forever())
        stream = viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id))
        pieces = aiter(stream)
        assert (await anext(pieces)).payload == b"begin\n"

        await served.server.stop(grace_s=5)

        with pytest.raises(aio.AioRpcError):
            await anext(pieces)
        assert await refusal(stream) == (
            StatusCode.UNAVAILABLE,
            "server is shutting down: its jobs keep running, connect again when it is back",
        )
        assert served.engine.running == {job.id}


async def test_the_log_of_a_job_that_prints_nothing_ends_with_it(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """No piece, no error."""
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        job = await served.joblet.run(runs_forever())
        stream = admin.GetJobLogs(pb.GetJobLogsReq(id=job.id))
        await stream.wait_for_connection()

        await admin.StopJob(pb.StopJobReq(id=job.id))

        assert await read_all(stream) == b""
