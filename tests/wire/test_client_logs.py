"""
Logs and waiting over connections that are lost: no byte missing, none twice.

Runs in: pytest, over real TLS on loopback.
"""

import asyncio
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scripted import DEADLINE_S, JOB_ID, CuttingProxy, Scripted, ScriptedJob, serving, write_certificates

from joblet.client import AsyncJobletClient, Credentials, JobletClient, JobNotFound, ServerUnreachable
from joblet.wire import joblet_pb2 as pb

LOG = random.Random(20240115).randbytes(1_000_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return folder


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def proxy(script: Scripted, folder: Path) -> Iterator[CuttingProxy]:
    with serving(script, folder) as address, CuttingProxy(address) as proxy:
        yield proxy


@pytest.fixture
def credentials(folder: Path) -> Credentials:
    return Credentials.from_files(folder / "admin-cert.pem", folder / "admin-key.pem", folder / "ca-cert.pem")


def cuts(proxy: CuttingProxy, *offsets: int) -> ScriptedJob:
    """A job whose log's connection is cut when the server gets to these offsets for the first time."""
    left = list(offsets)

    def before_piece(offset: int) -> None:
        if left and offset >= left[0]:
            left.pop(0)
            proxy.cut()

    return ScriptedJob(log=LOG, piece_bytes=50_000, before_piece=before_piece)


def test_a_log_arrives_as_it_was_printed(script: Scripted, proxy: CuttingProxy, credentials: Credentials) -> None:
    script.job = ScriptedJob(log=LOG, piece_bytes=65_536)

    with JobletClient(proxy.address, credentials) as client:
        assert b"".join(client.get_job_logs(JOB_ID)) == LOG


def test_a_log_can_be_read_from_any_offset_by_the_beginning_of_an_id(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = ScriptedJob(log=LOG)

    with JobletClient(proxy.address, credentials) as client, client.get_job_logs("f47ac", offset_bytes=999_990) as log:
        assert b"".join(log) == LOG[999_990:]
        assert (log.job_id, log.offset_bytes) == (JOB_ID, 1_000_000)


def test_a_log_goes_on_after_its_connection_was_cut(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    """Three times in the middle, also with pieces under way that do not arrive any more."""
    script.job = cuts(proxy, 0, 300_000, 700_000)

    with JobletClient(proxy.address, credentials) as client:
        read = b"".join(client.get_job_logs(JOB_ID))

    assert read == LOG
    assert proxy.connections >= 4


async def a_whole_log(address: str, credentials: Credentials) -> bytes:
    async with AsyncJobletClient(address, credentials) as client:
        return b"".join([chunk async for chunk in client.get_job_logs(JOB_ID)])


def test_an_async_log_goes_on_after_its_connection_was_cut(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = cuts(proxy, 0, 300_000, 700_000)

    assert asyncio.run(a_whole_log(proxy.address, credentials)) == LOG


def test_a_log_without_its_beginning_is_counted_from_where_it_begins(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    """Also after the connection was cut: byte n stays byte n."""
    script.job = cuts(proxy, 0, 300_000)
    script.job.first_bytes = 65_536

    with JobletClient(proxy.address, credentials) as client:
        log = client.get_job_logs(JOB_ID)
        first = next(log)
        assert log.offset_bytes - len(first) == 65_536
        assert first + b"".join(log) == LOG[65_536:]
        assert log.offset_bytes == len(LOG)


def test_a_tail_is_asked_for_until_its_first_piece_and_then_by_offset(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    """A tail that is asked for again after half of it would begin anew."""
    script.job = cuts(proxy, 0, 60_000)
    script.job.log = b"line 56789\n" * 10_000
    since = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)

    with JobletClient(proxy.address, credentials) as client:
        read = b"".join(client.get_job_logs(JOB_ID, tail_lines=9000, since=since))

    assert read == b"line 56789\n" * 9000
    asked = [request for request in script.asked if isinstance(request, pb.GetJobLogsReq)]
    assert len(asked) >= 2
    for request in asked:
        assert (request.tail, request.since) == ((9000, "2024-01-15T10:30:00Z") if not request.offset else (0, ""))


async def a_tail(address: str, credentials: Credentials) -> tuple[bytes, int]:
    async with AsyncJobletClient(address, credentials) as client:
        log = client.get_job_logs(JOB_ID, tail_lines=2)
        read = b"".join([chunk async for chunk in log])
        return read, log.offset_bytes


def test_an_async_tail_is_counted_from_where_it_begins(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = ScriptedJob(log=b"one\ntwo\nthree\n")

    assert asyncio.run(a_tail(proxy.address, credentials)) == (b"two\nthree\n", 14)


def test_a_log_whose_server_does_not_come_back_says_where_it_broke_off(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = ScriptedJob(
        log=LOG, piece_bytes=50_000, before_piece=lambda offset: proxy.refuse() if offset == 200_000 else None
    )
    read: list[bytes] = []

    with JobletClient(proxy.address, credentials, patience_s=0.3) as client:
        log = client.get_job_logs(JOB_ID)
        with pytest.raises(ServerUnreachable, match="was lost at byte") as caught:
            read.extend(log)

    assert b"".join(read) == LOG[: log.offset_bytes]
    assert JOB_ID in caught.value.mend


def test_a_log_of_an_unknown_job_is_refused_before_the_first_chunk(
    proxy: CuttingProxy, credentials: Credentials
) -> None:
    with JobletClient(proxy.address, credentials) as client, pytest.raises(JobNotFound, match="job not found: beef"):
        client.get_job_logs("beef")


def test_a_log_that_is_not_followed_ends_at_what_is_there(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = ScriptedJob(log=b"so far", ends=threading.Event())

    with JobletClient(proxy.address, credentials) as client:
        assert b"".join(client.get_job_logs(JOB_ID, follow=False)) == b"so far"


def test_a_log_can_be_closed_from_another_thread(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    script.job = ScriptedJob(log=b"first", ends=threading.Event())

    with JobletClient(proxy.address, credentials) as client:
        log = client.get_job_logs(JOB_ID)
        assert next(log) == b"first"
        closing = threading.Timer(0, log.close)
        closing.start()

        assert list(log) == []
        closing.join(DEADLINE_S)


def test_wait_returns_when_the_job_has_ended_and_asks_for_none_of_its_log(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    ends = threading.Event()
    script.job = ScriptedJob(log=LOG, ends=ends, exit_code=3)

    def end_once_followed() -> None:
        assert script.job.followed.wait(DEADLINE_S)
        ends.set()

    threading.Thread(target=end_once_followed).start()

    with JobletClient(proxy.address, credentials) as client:
        status = client.wait(JOB_ID)

    assert (status.exit_code, status.status) == (3, "FAILED")
    assert [request.offset > len(LOG) for request in script.asked if hasattr(request, "offset")] == [True]


WAITED = [pb.RunJobReq, pb.GetJobLogsReq, pb.GetJobStatusReq]


def test_a_job_run_and_waited_for_takes_three_calls(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    """Its whole id is known from the start, so its status is asked for only once it has ended."""
    with JobletClient(proxy.address, credentials) as client:
        client.wait(client.run_job("true").id)

    assert [type(request) for request in script.asked] == WAITED


def test_the_asynchronous_client_takes_no_more_calls_either(
    script: Scripted, proxy: CuttingProxy, credentials: Credentials
) -> None:
    async def waited() -> None:
        async with AsyncJobletClient(proxy.address, credentials) as client:
            await client.wait((await client.run_job("true")).id)

    asyncio.run(waited())

    assert [type(request) for request in script.asked] == WAITED


def test_wait_for_a_server_that_never_answered_fails_at_once(proxy: CuttingProxy, credentials: Credentials) -> None:
    """Patience is for a server that was there: this one may be another's address."""
    proxy.refuse()

    with JobletClient(proxy.address, credentials) as client, pytest.raises(ServerUnreachable):
        client.wait(JOB_ID)


def test_wait_outlasts_a_lost_connection(script: Scripted, proxy: CuttingProxy, credentials: Credentials) -> None:
    ends = threading.Event()
    script.job = ScriptedJob(ends=ends)

    async def waited() -> int | None:
        async with AsyncJobletClient(proxy.address, credentials) as client:
            waiting = asyncio.create_task(client.wait(JOB_ID))
            assert await asyncio.to_thread(script.job.followed.wait, DEADLINE_S)
            script.job.followed.clear()
            proxy.cut()
            assert await asyncio.to_thread(script.job.followed.wait, DEADLINE_S)
            ends.set()
            return (await asyncio.wait_for(waiting, DEADLINE_S)).exit_code

    assert asyncio.run(waited()) == 0


def test_a_request_carries_what_was_asked_for(script: Scripted, proxy: CuttingProxy, credentials: Credentials) -> None:
    with JobletClient(proxy.address, credentials) as client:
        job = client.run_job(
            "make",
            ["-j", "4"],
            cpu_max_percent=50,
            memory_max_bytes=64 * 1024 * 1024 + 1,
            timeout_s=90,
            environment={"A": "1"},
            secret_environment={"B": "2"},
        )

    (request,) = script.asked
    assert (request.command, list(request.args), request.maxCPU, request.timeout) == ("make", ["-j", "4"], 50, 90)
    assert (dict(request.environment), dict(request.secret_environment)) == ({"A": "1"}, {"B": "2"})
    assert request.maxMemory == 65  # rounded up: a job is never given less than was asked for
    assert not job.ended
