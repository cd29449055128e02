"""The server as a process: how it starts, what it logs, and how it ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from certificates import Authority, Credentials, write_server_certificates
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served import channel_credentials, read_all, refusal
from serving_process import Process, a_process, an_attempt

from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

if TYPE_CHECKING:
    Client = joblet_pb2_grpc.JobServiceAsyncStub

RECORD = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\] \[(DEBUG|INFO|WARN|ERROR)\] [^|]+( \| \S+=.*)?")


@pytest.fixture
def certs(tmp_path: Path, authority: Authority) -> Path:
    """The server's three files."""
    folder = tmp_path / "certs"
    folder.mkdir()
    write_server_certificates(folder, authority, authority.issue("server", for_server=True))
    return folder


@contextlib.asynccontextmanager
async def a_client(process: Process, authority: Authority, credentials: Credentials) -> "AsyncIterator[Client]":
    """JobService's calls, typed."""
    async with a_channel(process, authority, credentials) as channel:
        yield cast("Client", joblet_pb2_grpc.JobServiceStub(channel))


def a_channel(process: Process, authority: Authority, credentials: Credentials | None) -> aio.Channel:
    """A connection of its own."""
    return aio.secure_channel(
        f"localhost:{process.port}",
        channel_credentials(authority, credentials),
        options=[("grpc.use_local_subchannel_pool", 1)],
    )


async def test_sigterm_ends_streams_and_lets_calls_finish(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The stop under way is answered, the log stream says that the server is shutting down, the exit status is 0."""
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs) as process, a_client(process, authority, admin) as client:
        job = await client.RunJob(pb.RunJobReq(command="sh", args=["-c", "trap '' TERM; echo begin; sleep 60"]))
        stream = client.GetJobLogs(pb.GetJobLogsReq(id=job.id))
        assert (await anext(aiter(stream))).payload == b"begin\n"
        other = await client.RunJob(pb.RunJobReq(command="sleep", args=["infinity"]))
        open_stream = client.GetJobLogs(pb.GetJobLogsReq(id=other.id))
        await open_stream.initial_metadata()
        stopping = asyncio.ensure_future(client.StopJob(pb.StopJobReq(id=job.id)))  # takes the 100 ms of grace
        await process.saying("job stop requested")

        process.signal(signal.SIGTERM)

        assert (await stopping).status == "STOPPED"
        assert await refusal(open_stream) == (
            StatusCode.UNAVAILABLE,
            "server is shutting down: its jobs keep running, connect again when it is back",
        )
        assert await process.ended() == 0
        assert not (tmp_path / "state" / "address").exists()


async def test_a_second_signal_ends_the_process_at_once(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """With a call under way that takes its time."""
    async with (
        a_process(tmp_path / "state", certs) as process,
        a_channel(process, authority, certificates["viewer"]) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
        os.kill(process.pid, signal.SIGSTOP)
        process.signal(signal.SIGTERM)
        process.signal(signal.SIGINT)
        os.kill(process.pid, signal.SIGCONT)

        assert await process.ended() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


async def test_each_line_is_a_record_in_the_specifications_format(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Start, job, refused clients and end, at every level; no secret and no traceback."""
    async with a_process(tmp_path / "state", certs, level="DEBUG") as process:
        async with a_client(process, authority, certificates["admin"]) as client:
            job = await client.RunJob(
                pb.RunJobReq(
                    command="echo", args=["two\nlines"], secret_environment={"TOKEN": "s3cr3t"}, environment={"A": "b"}
                )
            )
            assert await read_all(client.GetJobLogs(pb.GetJobLogsReq(id=job.id))) == b"two\nlines\n"
            found = await client.GetJobStatus(pb.GetJobStatusReq(id=job.id))
            assert dict(found.secret_environment) == {"TOKEN": "***"}
        for kind in ("expired", "not yet valid", "other CA", "none"):
            async with a_channel(process, authority, certificates.get(kind)) as channel:
                stub = cast("Client", joblet_pb2_grpc.JobServiceStub(channel))
                code, _ = await refusal(stub.ListJobs(pb.EmptyRequest()))
                assert code is StatusCode.UNAVAILABLE
        await process.saying("client refused in the TLS handshake", times=4)
        process.signal(signal.SIGTERM)
        await process.ended()

    assert [line for line in process.lines if not RECORD.fullmatch(line)] == []
    everything = "\n".join(process.lines)
    assert "s3cr3t" not in everything
    assert "traceback" not in everything
    assert f"[INFO] job started successfully | jobId={job.id}" in everything
    assert "[DEBUG] call served | request=1 method=/joblet.JobService/RunJob peer=ipv4:127.0.0.1:" in everything
    for reason in (
        "certificate verify failed: certificate has expired",
        "certificate verify failed: certificate is not yet valid",
        "certificate verify failed: unable to get local issuer certificate",
        "no client certificate",
    ):
        assert f'[ERROR] client refused in the TLS handshake | reason="{reason}"' in everything


async def test_one_state_folder_has_one_server(tmp_path: Path, certs: Path) -> None:
    """The second one says who the first is, and ends."""
    async with a_process(tmp_path / "state", certs) as process:
        async with an_attempt(tmp_path / "state", certs) as second:
            assert await second.ended() == 1
        assert f"another server does (process {process.pid})" in second.lines[0]
    async with a_process(tmp_path / "state", certs):
        pass  # the lock of a killed server is gone with it


async def test_an_address_in_use_is_named(tmp_path: Path, certs: Path) -> None:
    """Two servers on one port would each get half of the connections."""
    async with a_process(tmp_path / "first", certs) as first:
        async with an_attempt(tmp_path / "second", certs, address=f"127.0.0.1:{first.port}") as second:
            assert await second.ended() == 1
        assert f"cannot listen on 127.0.0.1:{first.port}: address already in use" in second.lines


@pytest.mark.parametrize("name", ["ca-cert.pem", "server-cert.pem", "server-key.pem"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n"])
async def test_a_certificate_file_that_cannot_be_used_is_named(
    tmp_path: Path, certs: Path, name: str, content: bytes | None
) -> None:
    """Missing, empty, rubbish: the file, why, and what to do; no traceback."""
    path = certs / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    async with an_attempt(tmp_path / "state", certs) as process:
        assert await process.ended() == 1
    assert str(path) in process.lines[0]
    assert "joblet certs" in process.lines[1]
    assert "Traceback" not in "".join(process.lines)


async def test_the_state_folder_is_for_its_owner_only(tmp_path: Path, certs: Path) -> None:
    """0700, whatever the umask; it tells where the server listens."""
    async with a_process(tmp_path / "state", certs) as process:
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        assert (tmp_path / "state" / "address").read_text() == f"127.0.0.1:{process.port}\n"


async def test_a_state_folder_that_was_open_to_others_is_closed_and_told_of(tmp_path: Path, certs: Path) -> None:
    """What could be seen meanwhile is for the administrator to judge."""
    (tmp_path / "state").mkdir(mode=0o755)
    (tmp_path / "state").chmod(0o755)

    async with a_process(tmp_path / "state", certs) as process:
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        (line,) = await process.saying("state folder was open to others")
        assert "[WARN]" in line
        assert line.endswith("mode=0755 now=0700")


async def test_the_service_manager_is_told(tmp_path: Path, certs: Path) -> None:
    """READY once calls are taken, STOPPING when asked to end."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20)
        async with a_process(tmp_path / "state", certs, environ={"NOTIFY_SOCKET": address}) as process:
            assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
            process.signal(signal.SIGTERM)
            assert await asyncio.to_thread(manager.recv, 100) == b"STOPPING=1"


async def test_a_restarted_server_knows_the_jobs_of_the_one_before(
    tmp_path: Path, certs: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Ended jobs and their logs; this fake machine has lost the running one, and that is said."""
    admin = certificates["admin"]
    async with a_process(tmp_path / "state", certs) as process, a_client(process, authority, admin) as client:
        done = await client.RunJob(pb.RunJobReq(command="echo", args=["kept"]))
        assert await read_all(client.GetJobLogs(pb.GetJobLogsReq(id=done.id))) == b"kept\n"
        lost = await client.RunJob(pb.RunJobReq(command="sleep", args=["infinity"]))

    async with a_process(tmp_path / "state", certs) as process, a_client(process, authority, admin) as client:
        assert await read_all(client.GetJobLogs(pb.GetJobLogsReq(id=done.id))) == b"kept\n"
        states = {job.id: job.status for job in (await client.ListJobs(pb.EmptyRequest())).jobs}

    assert states == {done.id: "COMPLETED", lost.id: "FAILED"}
