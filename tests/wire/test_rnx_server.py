"""
`rnx` and the client library against the real servicers on a fake engine: the two halves of the wire agree.

Runs in: pytest, over real TLS on loopback.
"""

import asyncio
import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Authority, write_client_files
from certificates import Credentials as Pem
from rnx_process import environment, run
from served import Served, a_server

from joblet.client import (
    AsyncJobletClient,
    Credentials,
    InvalidCommand,
    InvalidLimit,
    JobletClient,
    JobNotFound,
    JobNotRunning,
    JobState,
    NotAllowed,
    Unauthenticated,
)
from joblet.testing.programs import Program, exits, killed_by, prints, runs_forever


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority, certificates: dict[str, Pem]) -> Path:
    """The certificate files of every kind of client."""
    folder = tmp_path_factory.mktemp("certs")
    write_client_files(folder, authority, certificates)
    return folder


def credentials(folder: Path, kind: str = "admin") -> Credentials:
    return Credentials.from_files(folder / f"{kind}-cert.pem", folder / f"{kind}-key.pem", folder / "ca-cert.pem")


def a_client(server: Served, folder: Path, kind: str = "admin") -> AsyncJobletClient:
    return AsyncJobletClient(f"localhost:{server.port}", credentials(folder, kind))


def environ_of(server: Served, folder: Path, kind: str = "admin") -> Mapping[str, str]:
    return environment(f"localhost:{server.port}", folder, kind)


async def rnx(*arguments: str, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """The program, while this loop serves."""
    return await asyncio.to_thread(run, *arguments, environ=environ)


async def test_a_job_from_its_start_to_its_exit_code(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        job = await client.run_job("echo", ["hello"], cpu_max_percent=50, environment={"A": "1"})
        log = b"".join([chunk async for chunk in client.get_job_logs(job.id[:8])])
        status = await client.wait(job.id)

        (listed,) = await client.list_jobs()

    assert job.status in (JobState.INITIALIZING, JobState.RUNNING)
    assert job.exit_code is None
    assert log == b"hello\n"
    assert (status.status, status.exit_code, status.log_bytes) == (JobState.COMPLETED, 0, 6)
    assert status.started_at is not None
    assert status.ended_at is not None
    assert status.started_at <= status.ended_at
    assert (listed.id, listed.status, listed.environment) == (job.id, "COMPLETED", {"A": "1"})


async def test_a_stopped_job(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        job = await client.run_job(server.engine.install(runs_forever()))
        waiting = asyncio.create_task(client.wait(job.id))

        stopped = await client.stop_job(job.id)

        assert (stopped.id, stopped.status, stopped.exit_code) == (job.id, JobState.STOPPED, -1)
        assert (await waiting).exit_code == -1
        with pytest.raises(JobNotRunning, match=f"job is not running: {job.id} \\(current status: STOPPED\\)"):
            await client.stop_job(job.id)


async def test_the_servers_errors_arrive_as_they_were_raised(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        with pytest.raises(JobNotFound, match=r"^job not found: beef$"):
            await client.get_job_status("beef")
        with pytest.raises(InvalidCommand, match=r"^invalid command: command contains dangerous characters$"):
            await client.run_job("ls; rm")
        with pytest.raises(InvalidLimit, match=r"^job creation failed: maxMemory exceeds system limits$"):
            await client.run_job("ls", memory_max_bytes=2**50)
        async with a_client(server, folder, "viewer") as viewer:
            with pytest.raises(NotAllowed, match=r"^role viewer is not allowed to perform operation run_job$"):
                await viewer.run_job("ls")
        async with a_client(server, folder, "no OU") as nobody:
            with pytest.raises(Unauthenticated, match=r"^failed to extract client role: "):
                await nobody.list_jobs()


async def test_the_synchronous_client_does_the_same(authority: Authority, folder: Path) -> None:
    def life_of_a_job(server: Served) -> tuple[bytes, int | None, int]:
        with JobletClient(f"localhost:{server.port}", credentials(folder)) as client:
            job = client.run_job("sh", ["-c", "echo one; exit 3"])
            log = b"".join(client.get_job_logs(job.id))
            return log, client.wait(job.id).exit_code, len(client.list_jobs())

    async with a_server(authority) as server:
        assert await asyncio.to_thread(life_of_a_job, server) == (b"one\n", 3, 1)


@pytest.mark.parametrize(("end", "status"), [(exits(0), 0), (exits(3), 3), (killed_by(9), 137)])
async def test_run_follow_is_the_job(authority: Authority, folder: Path, end: Program, status: int) -> None:
    binary = bytes(range(256)) * 5000
    program = replace(prints(binary), end=end.end)

    async with a_server(authority, chunk_bytes=65_536) as server:
        done = await rnx("run", "--follow", server.engine.install(program), environ=environ_of(server, folder))

    assert (done.returncode, done.stdout == binary) == (status, True)


async def test_status_says_more_only_when_there_is_more_to_say(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server:
        environ = environ_of(server, folder)
        plain = json.loads((await rnx("run", "-o", "json", "true", environ=environ)).stdout)
        missing = json.loads((await rnx("-o", "json", "run", "no-such-program", environ=environ)).stdout)
        waited = await rnx("wait", missing["id"], environ=environ)
        await rnx("wait", plain["id"], environ=environ)

        first = (await rnx("status", plain["id"], environ=environ)).stdout.decode().splitlines()
        second = (await rnx("status", missing["id"], environ=environ)).stdout.decode().splitlines()

    assert waited.returncode == 127
    assert [line.partition(":")[0] for line in first] == [
        *("Id", "Command", "Status", "Started At", "Ended At", "MaxCPU", "MaxMemory", "MaxIOBPS", "ExitCode")
    ]
    assert second[8] == "ExitCode: 127"
    assert second[9].startswith("Reason: ")


async def test_every_verb_works_for_a_viewer_as_the_roles_say(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server:
        job = await server.joblet.run(prints(b"seen\n"))
        await server.joblet.ended(job)
        environ = environ_of(server, folder, "viewer")

        exits_of = {
            verb: (await rnx(verb, *rest, environ=environ)).returncode
            for verb, *rest in (
                *(("list",), ("status", job.id), ("log", job.id), ("wait", job.id)),
                *(("run", "true"), ("stop", job.id)),
            )
        }

    assert exits_of == {"list": 0, "status": 0, "log": 0, "wait": 0, "run": 1, "stop": 1}


async def test_a_secret_is_nowhere_to_be_seen_again(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server:
        environ = {**environ_of(server, folder), "TOKEN": "s3cret-value"}
        started = await rnx("run", "-o", "json", "--secret-env", "TOKEN", "true", environ=environ)
        job_id = json.loads(started.stdout)["id"]

        shown = [await rnx("-o", "json", *verb, environ=environ) for verb in (("wait", job_id), ("list",))]

    printed = started.stdout + b"".join(done.stdout + done.stderr for done in shown)
    assert b"TOKEN" in printed
    assert b"s3cret-value" not in printed + "".join(server.log).encode()
