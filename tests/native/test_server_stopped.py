"""
SIGTERM to the server: jobs run on, the next server finds them; and `joblet down`, after which nothing is left.

Runs in: pytest, as root.
"""

import asyncio
from pathlib import Path

import pytest
from gate import Gate
from leftovers import belongings, showing
from real_server import Follower, RealServer, log_of

from joblet.client import JobNotRunning

pytestmark = pytest.mark.native

TWO_PARTS = 'echo "$0 one"; read -r word <&3; echo "$0 two"; exit "$1"'


async def test_jobs_run_on_through_a_restart_and_readers_go_on(server: RealServer) -> None:
    """One job ends while no server is there, one is stopped by the next, one ends after it; all are told truly."""
    async with Gate() as gate, server.client() as client:
        names = ["away", "stopped", "after"]
        jobs = {
            name: await client.run_job(*gate.knocking(name, "bash", "-c", TWO_PARTS, name, "7"), name=name)
            for name in names
        }
        visitors = {name: await gate.visitor(name) for name in names}
        async with server.rnx("log", jobs["away"].id) as rnx:
            readers = {name: Follower(client.get_job_logs(job.id)) for name, job in jobs.items()}
            for name, reader in [*readers.items(), ("away", rnx.out)]:
                await reader.received(len(f"{name} one\n"))
            supervisor = server.supervisor_pid

            exit_status = await asyncio.to_thread(server.terminate)
            visitors["away"].tell()
            await visitors["away"].left()
            await asyncio.to_thread(server.start)

            assert exit_status == 0
            assert server.supervisor_pid == supervisor
            assert await readers["away"].everything() == b"away one\naway two\n"
            told = {job.name: (job.status, job.exit_code) for job in await client.list_jobs()}
            assert told == {"away": ("FAILED", 7), "stopped": ("RUNNING", None), "after": ("RUNNING", None)}
            assert await rnx.ended() == 0
            assert await rnx.out.everything() == b"away one\naway two\n"
        assert (await client.stop_job(jobs["stopped"].id)).status == "STOPPED"
        assert await readers["stopped"].everything() == b"stopped one\n"
        visitors["after"].tell()
        assert await readers["after"].everything() == b"after one\nafter two\n"
        assert (await client.wait(jobs["after"].id)).exit_code == 7


async def test_starts_under_way_are_answered_before_the_server_ends(server: RealServer) -> None:
    async with server.client() as client:
        asked = [asyncio.create_task(client.run_job("echo", [str(number)])) for number in range(50)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)

        assert await asyncio.to_thread(server.terminate) == 0
        jobs = await asyncio.gather(*asked)

    await asyncio.to_thread(server.start)
    async with server.client() as client:
        for number, job in enumerate(jobs):
            assert (await client.wait(job.id)).exit_code == 0
            assert await log_of(client, job.id) == f"{number}\n".encode()
        assert len(await client.list_jobs()) == len(jobs)


async def test_down_leaves_nothing_but_what_was_stored(server: RealServer) -> None:
    async with Gate() as gate, server.client() as client:
        before = belongings(server)
        script = "mkdir a; echo kept; echo ready >&3; trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done"
        jobs = [await client.run_job(*gate.knocking(name, "bash", "-c", script)) for name in map(str, range(10))]
        visitors = [await gate.visitor(name) for name in map(str, range(10))]
        for visitor in visitors:
            assert await visitor.says() == "ready"

        ended = await asyncio.to_thread(server.down)

        assert len([line for line in ended if line.startswith("stopped job ")]) == 10
        for visitor in visitors:
            await visitor.left()
        assert showing(str(server.state.root)) == []
        assert str(server.state.root) not in Path("/proc/self/mountinfo").read_text()
        assert not any(job.id in path.name for path in Path("/sys/fs/cgroup").rglob("*") for job in jobs)
        assert list(server.state.work.iterdir()) == []
        assert list(server.temporary.iterdir()) == []
        left = {path.name for path in server.state.root.iterdir()}
        assert left == {"joblet.db", "secrets.key", "logs", "run", "tree", "work"} | {
            "server.lock",
            "supervisor.lock",
            "supervisor.log",
        }
    await asyncio.to_thread(server.start)
    async with server.client() as client:
        for job in jobs:
            status = await client.wait(job.id)
            assert (status.status, status.exit_code) == ("STOPPED", -1)
            assert await log_of(client, job.id) == b"kept\n"
            with pytest.raises(JobNotRunning):
                await client.stop_job(job.id)
        assert belongings(server).mounts == before.mounts
