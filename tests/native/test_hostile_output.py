"""
Jobs that nobody would wish for, through a whole server: each has its true end, and the server goes on.

What a job may not reach or do is proved closer to the kernel, in `isolation/`.

Runs in: pytest, as root.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from gate import Gate
from leftovers import showing
from real_server import Follower, RealServer, Settings, log_of, real_server

from joblet.client import AsyncJobletClient, InvalidCommand, JobStatus, UnexpectedAnswer
from joblet.domain.job import STOP_GRACE_MS
from joblet.supervisor.preparation import BASE_ENVIRONMENT

pytestmark = pytest.mark.native

PYTHON: Final = "/usr/bin/python3"
LINE_BYTES: Final = 100_000_000
PIDS_MAX: Final = 64
STOP_AT_MOST_S: Final = 10.0  # a loaded machine; the grace itself is 0.1


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory, cgroups_mode: str) -> Iterator[RealServer]:
    """One server for them all: each finds it as the one before left it."""
    settings: Settings = {
        "grpc": {"maxRecvMsgSize": "16MB"},
        "joblet": {"pidsLimit": PIDS_MAX},
        "isolation": {"cgroups": cgroups_mode},
    }
    environ = {"JOBLET_CONFIG": "/nowhere", "JOBLET_TOKEN": "the server's own", "LD_LIBRARY_PATH": "/nowhere"}
    with real_server(tmp_path_factory.mktemp("server"), settings, environ) as server:
        yield server


async def ran(client: AsyncJobletClient, command: str, *args: str, **spec: dict[str, str]) -> tuple[JobStatus, bytes]:
    """A job's end and its log."""
    job = await client.run_job(command, args, **spec)  # type: ignore[arg-type]
    return await client.wait(job.id), await log_of(client, job.id)


async def test_a_line_of_100_mb_arrives_byte_for_byte(hosting: RealServer) -> None:
    expected = hashlib.sha256()
    for _ in range(100):
        expected.update(b"x" * (LINE_BYTES // 100))
    async with hosting.client() as client:
        job = await client.run_job("sh", ["-c", f"head -c {LINE_BYTES} /dev/zero | tr '\\0' x"])
        received, size_bytes = hashlib.sha256(), 0
        async for chunk in client.get_job_logs(job.id):
            received.update(chunk)
            size_bytes += len(chunk)

        assert (await client.wait(job.id)).log_bytes == size_bytes == LINE_BYTES
        assert received.digest() == expected.digest()


async def test_every_byte_there_is_may_be_printed(hosting: RealServer) -> None:
    """NUL, control characters, and what is no UTF-8."""
    async with hosting.client() as client:
        ended, log = await ran(client, PYTHON, "-c", "import os; os.write(1, bytes(range(256)) * 4)")
        rnx = hosting.rnx("log", ended.id)
        async with rnx as process:
            assert await process.ended() == 0

        assert ended.exit_code == 0
        assert log == await process.out.everything() == bytes(range(256)) * 4


async def test_a_job_that_closes_its_output_runs_on(hosting: RealServer) -> None:
    """Its log ends when the job does, not when its last writer is gone."""
    async with Gate() as gate, hosting.client() as client:
        script = "echo last words; exec >&- 2>&-; echo closed >&3; read -r word <&3; exit 5"
        job = await client.run_job(*gate.knocking("job", "bash", "-c", script))
        follower = Follower(client.get_job_logs(job.id))
        await follower.received(len(b"last words\n"))
        visitor = await gate.visitor("job")
        assert await visitor.says() == "closed"

        assert (await client.get_job_status(job.id)).status == "RUNNING"
        visitor.tell()

        assert await follower.everything() == b"last words\n"
        assert (await client.wait(job.id)).exit_code == 5


async def test_input_is_at_its_end(hosting: RealServer) -> None:
    async with hosting.client() as client:
        ended, log = await ran(client, "sh", "-c", "cat; read -r line || echo nothing to read")

        assert (ended.status, log) == ("COMPLETED", b"nothing to read\n")


async def test_a_job_that_ignores_sigterm_is_stopped_after_the_grace(hosting: RealServer) -> None:
    async with Gate() as gate, hosting.client() as client:
        script = "trap 'echo asked' TERM; trap '' HUP INT; echo ready >&3; while :; do read -r word <&3; done"
        job = await client.run_job(*gate.knocking("job", "bash", "-c", script))
        assert await (await gate.visitor("job")).says() == "ready"
        now_s = asyncio.get_running_loop().time
        began_s = now_s()

        stopped = await client.stop_job(job.id)

        assert (stopped.status, stopped.exit_code) == ("STOPPED", -1)
        assert STOP_GRACE_MS / 1000 <= now_s() - began_s < STOP_AT_MOST_S
        assert await log_of(client, job.id) == b"asked\n"
        await (await gate.visitor("job")).left()


async def test_daemons_end_with_their_job(hosting: RealServer) -> None:
    """Forked twice, in sessions of their own, deaf to signals, with the job's output in their hands."""
    mark = f"9876.{os.getpid()}"
    daemon = (
        "import os, signal\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "            os.write(3, b'up\\n')\n"
        f"            os.execvp('sleep', ['sleep', '{mark}'])\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "while os.read(3, 100) != b'go\\n': pass\n"
        "os._exit(4)\n"
    )
    async with Gate() as gate, hosting.client() as client:
        job = await client.run_job(*gate.knocking("job", PYTHON, "-c", daemon))
        visitor = await gate.visitor("job")
        for _ in range(8):
            assert await visitor.says() == "up"
        visitor.tell()

        assert (await client.wait(job.id)).exit_code == 4

        await visitor.left()
        assert showing(mark) == []


async def test_a_fork_bomb_meets_pids_limit_and_is_stopped(hosting: RealServer) -> None:
    bomb = (
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True:\n"
        "    try: os.fork()\n"
        "    except OSError: os.write(3, b'full\\n'); signal.pause()\n"
    )
    async with Gate() as gate, hosting.client() as client:
        job = await client.run_job(*gate.knocking("job", PYTHON, "-c", bomb))
        visitor = await gate.visitor("job")
        assert await visitor.says() == "full"
        assert len(showing("except OSError: os.write(3")) <= PIDS_MAX + 1  # its init shows the zygote's arguments

        assert (await client.stop_job(job.id)).status == "STOPPED"

        await visitor.left()
        ended, log = await ran(client, "echo", "as before")
        assert (ended.exit_code, log) == (0, b"as before\n")


async def test_a_hundred_thousand_arguments_arrive(hosting: RealServer) -> None:
    arguments = [f"a{number:05}" for number in range(100_000)]
    async with hosting.client() as client:
        ended, log = await ran(client, "printf", r"%s\n", *arguments)

        assert ended.exit_code == 0
        assert log.decode().split() == arguments
        assert ended.args == (r"%s\n", *arguments)


async def test_a_hundred_thousand_arguments_are_too_large_for_a_server_that_was_not_told(server: RealServer) -> None:
    """maxRecvMsgSize at its default, 512 KB; the connection and the server go on."""
    async with server.client() as client:
        with pytest.raises(UnexpectedAnswer, match="larger than"):
            await client.run_job("true", [f"a{number:05}" for number in range(100_000)])

        ended, log = await ran(client, "echo", "as before")
        assert (ended.exit_code, log) == (0, b"as before\n")
        assert len(await client.list_jobs()) == 1


async def test_an_argument_of_100_kib_arrives(hosting: RealServer) -> None:
    argument = "é" * (50 * 1024)
    async with hosting.client() as client:
        ended, log = await ran(client, "printf", "%s", argument)

        assert (ended.exit_code, log.decode()) == (0, argument)


async def test_an_argument_with_nul_is_refused(hosting: RealServer) -> None:
    async with hosting.client() as client:
        jobs = len(await client.list_jobs())

        with pytest.raises(InvalidCommand, match="NUL"):
            await client.run_job("echo", ["one", "t\0wo"])

        assert len(await client.list_jobs()) == jobs


@pytest.fixture
def wrong_format() -> Iterator[str]:
    """An executable that is neither a program nor a script, where jobs see it."""
    path = Path(f"/usr/local/lib/joblet-test-{os.getpid()}")
    try:
        path.write_bytes(b"\1\2\3\4 neither program nor script\n")
    except OSError as error:
        pytest.skip(f"jobs see nothing of ours on this machine: {error}")
    try:
        path.chmod(0o755)
        yield str(path)
    finally:
        path.unlink()


async def test_what_cannot_be_executed_fails_with_its_reason(hosting: RealServer, wrong_format: str) -> None:
    """A job that FAILED with 127 or 126, never an error of the call; the reason is the last line of its log."""
    async with hosting.client() as client:
        for command, exit_code, reason in (
            ("no-such-program", 127, "command not found: no-such-program"),
            ("/usr/bin/no-such-program", 127, "command not found: /usr/bin/no-such-program"),
            ("/etc/passwd", 126, "cannot execute /etc/passwd: permission denied"),
            ("/usr", 126, "cannot execute /usr: permission denied"),
            (wrong_format, 126, f"cannot execute {wrong_format}: exec format error"),
        ):
            ended, log = await ran(client, command)

            assert (ended.status, ended.exit_code, ended.reason) == ("FAILED", exit_code, reason)
            assert log.decode() == f"joblet: {reason}\n"


async def test_the_environment_is_built_from_nothing(hosting: RealServer) -> None:
    """Neither the server's variables nor those of whoever started it."""
    async with hosting.client() as client:
        ended, log = await ran(client, "env")

        assert dict(line.split("=", 1) for line in log.decode().splitlines()) == {
            **BASE_ENVIRONMENT,
            "HOSTNAME": ended.id[:8],
        }


async def test_variables_that_look_dangerous_reach_the_job_and_nothing_else(hosting: RealServer) -> None:
    """The loader of the job's own programs heeds LD_PRELOAD, and complains; nothing of ours does."""
    asked = {
        "LD_PRELOAD": "/work/evil.so",
        "LD_AUDIT": "/work/evil.so",
        "PATH": "/nowhere:/usr/bin:/bin",
        "PYTHONPATH": "/work",
        "JOBLET_CONFIG": "/work/config.yml",
        "JOBLET_SERVER": "127.0.0.1:1",
        "GRPC_TRACE": "all",
        "NOTIFY_SOCKET": "/work/socket",
        "HOSTNAME": "mine",
    }
    async with hosting.client() as client:
        script = "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; env"
        ended, log = await ran(client, "sh", "-c", script, environment=asked)
        _, none = await ran(client, "sh", "-c", "true", environment={"PATH": "/work"})

        lines = log.decode().splitlines()
        assert ended.exit_code == 0
        assert {f"{name}={value}" for name, value in asked.items()} <= set(lines)
        assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(lines)
        assert none == b"joblet: command not found: sh\n"
        ended, log = await ran(client, "env")
        assert log.decode().count("evil") == 0


async def test_a_job_reaches_nothing_of_its_server(hosting: RealServer) -> None:
    """Certificates and keys, database, other jobs' logs, sockets, by the names they have on the host."""
    state = hosting.state
    paths = [state.root, state.database, state.socket, state.logs, state.run, state.address, hosting.certificates]
    paths += [*hosting.certificates.iterdir(), Path(f"/proc/{hosting.pid}"), Path(f"/proc/{hosting.supervisor_pid}/fd")]
    async with hosting.client() as client:
        script = 'for path; do if [ -e "$path" ]; then echo "$path"; fi; done; ls /run /home /root /opt /sys'
        ended, log = await ran(client, "sh", "-c", script, "sh", *map(str, paths))

        assert ended.exit_code == 0
        assert [line for line in log.decode().split() if not line.endswith(":")] == []
