"""What clients may do to a server: too much, nonsense, nothing at all. The server is a process, as in production."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from certificates import Authority, Credentials, write_server_certificates
from grpc import StatusCode, aio
from served import channel_credentials, read_all, refusal
from serving_process import Process, a_process

from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

MIB = 1024 * 1024
# What 64-bit allocators keep of a burst; a leak of one message or stream per round would be many times this.
KEPT_BYTES = 24 * MIB


@pytest.fixture
def certs(tmp_path: Path, authority: Authority) -> Path:
    """The server's three files."""
    folder = tmp_path / "certs"
    folder.mkdir()
    write_server_certificates(folder, authority, authority.issue("server", for_server=True))
    return folder


@asynccontextmanager
async def a_channel(process: Process, authority: Authority, credentials: Credentials) -> AsyncIterator[aio.Channel]:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    async with aio.secure_channel(
        f"localhost:{process.port}", channel_credentials(authority, credentials), options=options
    ) as channel:
        yield channel


@asynccontextmanager
async def a_client(
    process: Process, authority: Authority, credentials: Credentials
) -> "AsyncIterator[joblet_pb2_grpc.JobServiceAsyncStub]":
    """JobService's calls, typed."""
    async with a_channel(process, authority, credentials) as channel:
        yield cast("joblet_pb2_grpc.JobServiceAsyncStub", joblet_pb2_grpc.JobServiceStub(channel))


async def test_a_message_larger_than_allowed_is_refused(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """RESOURCE_EXHAUSTED for one byte over maxRecvMsgSize and for 100 MB; at the limit it is judged as usual."""
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs) as process, a_client(process, authority, admin) as client:
        fitting = pb.RunJobReq(command="true", args=["x" * 500_000])
        fitting.args[0] += "x" * (524_288 - fitting.ByteSize())
        assert fitting.ByteSize() == 524_288
        assert (await client.RunJob(fitting)).status == "RUNNING"

        fitting.args[0] += "x"
        for request in (fitting, pb.RunJobReq(command="x" * 100 * MIB)):
            code, message = await refusal(client.RunJob(request))
            assert code is StatusCode.RESOURCE_EXHAUSTED
            assert "larger than max" in message

        assert len((await client.ListJobs(pb.EmptyRequest())).jobs) == 1


async def test_fields_of_a_later_version_are_ignored(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Unknown numbers of every wire type, and the reserved ones: the job runs."""
    unknown = (
        b"\x30\x05"  # 6: a reserved number
        b"\xf8\x3f\x01"  # 1023: varint
        b"\xf9\x3f12345678"  # 1023: 64 bits
        b"\xfa\x3f\x03abc"  # 1023: bytes
        b"\xfd\x3f1234"  # 1023: 32 bits
    )
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs) as process, a_channel(process, authority, admin) as channel:
        run: Any = channel.unary_unary("/joblet.JobService/RunJob", None, pb.RunJobRes.FromString)

        job = await run(pb.RunJobReq(command="true").SerializeToString() + unknown)

        assert job.status == "RUNNING"


async def test_bytes_that_are_no_message_do_not_hurt(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Each gets an answer, none of them OK; the server answers the next call."""
    noise = random.Random(4)
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs) as process, a_channel(process, authority, admin) as channel:
        run: Any = channel.unary_unary("/joblet.JobService/RunJob", None, None)
        for body in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28", b"\x0b"):
            answer = await refusal(run(body))
            assert answer == (
                StatusCode.INVALID_ARGUMENT, "invalid request: its bytes are no message of this method"
            )  # fmt: skip
        for body in map(noise.randbytes, range(1, 60)):
            code, _ = await refusal(run(body))
            assert code is not StatusCode.OK
        list_jobs: Any = channel.unary_unary("/joblet.JobService/ListJobs", None, pb.Jobs.FromString)

        assert list((await list_jobs(b"")).jobs) == []
        assert [line for line in process.lines if "Traceback" in line or "traceback=" in line] == []


async def test_rubbish_on_the_port_does_not_hurt(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Random bytes, HTTP/1, halves of a handshake, connections that say nothing: other clients are served meanwhile."""
    noise = random.Random(5)
    words = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",  # the beginning of a ClientHello
        b"\x16\x03\x01\xff\xff" + bytes(100_000),
        *(noise.randbytes(1 << size) for size in range(18)),
    ]
    async with a_process(tmp_path / "state", certs) as process:
        connections = []
        for said in [*words, *[b""] * 100]:
            _, writer = await asyncio.open_connection("127.0.0.1", process.port)
            writer.write(said)
            connections.append(writer)
        async with a_client(process, authority, certificates["viewer"]) as viewer:
            assert list((await viewer.ListJobs(pb.EmptyRequest(), timeout=10)).jobs) == []
        for writer in connections:
            writer.transport.abort()
        async with a_client(process, authority, certificates["viewer"]) as viewer:
            assert list((await viewer.ListJobs(pb.EmptyRequest(), timeout=10)).jobs) == []
        assert [line for line in process.lines if "Traceback" in line or "traceback=" in line] == []


async def test_memory_returns_to_where_it_was(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """After rounds of streams, stalled readers, vanished clients and huge messages, a further round costs nothing."""
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs, level="DEBUG") as process:
        async with a_client(process, authority, admin) as client:
            big = await client.RunJob(pb.RunJobReq(command="head", args=["-c", str(8 * MIB), "/dev/zero"]))
            assert len(await read_all(client.GetJobLogs(pb.GetJobLogsReq(id=big.id)))) == 8 * MIB
            quiet = await client.RunJob(pb.RunJobReq(command="sleep", args=["infinity"]))

        async def round_of_abuse() -> None:
            async with a_client(process, authority, admin) as client:
                open_ = [client.GetJobLogs(pb.GetJobLogsReq(id=quiet.id)) for _ in range(200)]
                await asyncio.gather(*(stream.initial_metadata() for stream in open_))
                # Readers that take one piece and then nothing more.
                stalled = [client.GetJobLogs(pb.GetJobLogsReq(id=big.id)) for _ in range(20)]
                await asyncio.gather(*(anext(aiter(stream)) for stream in stalled))
                for size in (1, 5, 20):
                    await refusal(client.RunJob(pb.RunJobReq(command="x" * size * MIB)))
            # The connection is gone, with all of its streams.

        async def settled_bytes(rounds: int) -> int:
            """RAM in use once every stream has ended and what they left is given back."""
            await process.saying("method=/joblet.JobService/GetJobLogs", times=1 + 220 * rounds)
            given_back = len([line for line in process.lines if "] memory given back" in line])
            await process.saying("] memory given back", times=given_back + 1)
            return process.resident_bytes()

        for _ in range(2):
            await round_of_abuse()
        before = await settled_bytes(rounds=2)
        for _ in range(3):
            await round_of_abuse()
        after = await settled_bytes(rounds=5)
        async with a_client(process, authority, admin) as client:
            assert len((await client.ListJobs(pb.EmptyRequest())).jobs) == 2

        assert after - before < KEPT_BYTES
