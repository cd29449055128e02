"""
Workflows by `rnx` and the client library, against the real servicers on a fake engine.

Runs in: pytest, over real TLS on loopback.
"""

import asyncio
import json
import os
import pty
import signal
from pathlib import Path
from typing import Final

import pytest
from certificates import Authority, write_client_files
from certificates import Credentials as Pem
from rnx_process import start
from served import a_server
from test_rnx_server import a_client, environ_of, rnx

from joblet.client import (
    InvalidRequest,
    InvalidWorkflow,
    NotAllowed,
    UnavailableInWorkflow,
    WorkflowNotFound,
    WorkflowNotRunning,
)

DEADLINE_S: Final = 20.0

BROKEN: Final = """
jobs:
  fetch: {command: echo, args: [fetched]}
  build: {command: sh, args: [-c, "echo building; exit 3"], requires: [{fetch: COMPLETED}]}
  ship: {command: echo, args: [shipped], requires: [{build: COMPLETED}]}
  alarm: {command: echo, args: [alarm], requires: [{build: FAILED}]}
"""
WELL: Final = "jobs: {a: {command: echo, args: [one]}, b: {command: echo, args: [two], requires: [{a: COMPLETED}]}}"
ENDLESS: Final = (
    "jobs: {a: {command: sh, args: [-c, 'echo here; sleep infinity']}, b: {command: echo, requires: [{a: FINISHED}]}}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority, certificates: dict[str, Pem]) -> Path:
    """The certificate files of every kind of client, and workflows."""
    folder = tmp_path_factory.mktemp("certs")
    write_client_files(folder, authority, certificates)
    for name, text in {"broken": BROKEN, "well": WELL, "endless": ENDLESS}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


async def test_a_workflow_through_the_client_from_its_file_to_its_end(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        started = await client.run_workflow(BROKEN, name="broken.yaml")
        while not (status := await client.get_workflow_status(started.id[:12])).workflow.ended:
            pass
        (listed,) = await client.list_workflows()
        under_way = await client.list_workflows(ended=False)
        build = next(job for job in status.jobs if job.name == "build")
        assert build.job_id is not None
        job = await client.get_job_status(build.job_id)
        with pytest.raises(WorkflowNotRunning, match="current status: FAILED"):
            await client.stop_workflow(started.id)

    workflow = status.workflow
    assert (workflow.name, workflow.status, workflow.total_jobs) == ("broken.yaml", "FAILED", 4)
    assert (workflow.completed_jobs, workflow.failed_jobs, workflow.canceled_jobs) == (2, 1, 1)
    assert workflow.yaml == BROKEN
    assert workflow.created_at is not None
    assert workflow.started_at is not None
    assert workflow.ended_at is not None
    assert workflow.created_at <= workflow.started_at <= workflow.ended_at
    assert (listed.id, listed.yaml, under_way) == (workflow.id, "", ())
    by_name = {job.name: job for job in status.jobs}
    assert (by_name["build"].exit_code, by_name["build"].attempts) == (3, 1)
    assert (by_name["ship"].job_id, by_name["ship"].status, by_name["ship"].reason) == (
        None,
        "CANCELED",
        "build FAILED",
    )
    assert (job.workflow_id, job.dependencies, job.name) == (workflow.id, ("fetch",), "build")


async def test_every_problem_of_a_file_crosses_the_wire(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        with pytest.raises(InvalidWorkflow) as caught:
            await client.run_workflow(
                "jobs:\n  a: {comand: x}\n  b: {command: x, requires: [{c: COMPLETED}]}", name="w.yaml"
            )
        with pytest.raises(UnavailableInWorkflow, match=r"w\.yaml:1:\d+: jobs\.a\.runtime"):
            await client.run_workflow("jobs: {a: {command: x, runtime: python}}", name="w.yaml")
        with pytest.raises(InvalidRequest, match="workflow is a name of at most 255 characters"):
            await client.run_workflow(WELL, name="n" * 256)
        with pytest.raises(WorkflowNotFound):
            await client.get_workflow_status("nobody")
        with pytest.raises(InvalidWorkflow, match=r"and [0-9]+ more"):
            await client.run_workflow("jobs:\n" + "\n".join(f"  j{n}: {{comand: x}}" for n in range(200)))
    assert "w.yaml:2:" in str(caught.value)
    assert "w.yaml:3:" in str(caught.value)


async def test_a_viewer_may_look_and_not_run_or_stop(authority: Authority, folder: Path) -> None:
    async with (
        a_server(authority) as server,
        a_client(server, folder) as admin,
        a_client(server, folder, "viewer") as viewer,
    ):
        workflow = await admin.run_workflow(ENDLESS)
        assert (await viewer.get_workflow_status(workflow.id)).workflow.id == workflow.id
        with pytest.raises(NotAllowed, match="operation run_workflow"):
            await viewer.run_workflow(WELL)
        with pytest.raises(NotAllowed, match="operation stop_workflow"):
            await viewer.stop_workflow(workflow.id)
        stopped = await admin.stop_workflow(workflow.id)
    assert (stopped.status, stopped.canceled_jobs) == ("STOPPED", 2)


async def test_following_prints_each_line_behind_its_jobs_name(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server:
        environ = environ_of(server, folder)
        well = await rnx("run", f"--workflow={folder / 'well.yaml'}", "--follow", environ=environ)
        broken = await rnx("run", f"--workflow={folder / 'broken.yaml'}", "-f", environ=environ)

    assert (well.returncode, sorted(well.stdout.splitlines())) == (0, [b"a | one", b"b | two"])
    assert b"Workflow started:" in well.stderr
    assert b"b: COMPLETED" in well.stderr
    assert broken.returncode == 1
    # Each log has a reader of its own: which of two jobs' lines comes first is not promised.
    assert sorted(broken.stdout.splitlines()) == [b"alarm | alarm", b"build | building", b"fetch | fetched"]
    assert b"ship: CANCELED: build FAILED" in broken.stderr


async def test_a_workflow_is_started_listed_shown_and_stopped(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server:
        environ = environ_of(server, folder)
        run = await rnx("run", f"--workflow={folder / 'endless.yaml'}", "--output=json", environ=environ)
        workflow_id = json.loads(run.stdout)["uuid"]
        listed = await rnx("list", "--workflow", environ=environ)
        shown = await rnx("status", "--workflow", workflow_id, environ=environ)
        as_json = await rnx("status", "--workflow", "-o", "json", workflow_id, environ=environ)
        stopped = await rnx("stop", "--workflow", workflow_id, environ=environ)
        again = await rnx("stop", "--workflow", workflow_id, environ=environ)

    assert run.returncode == listed.returncode == shown.returncode == stopped.returncode == 0
    assert workflow_id in listed.stdout.decode()
    lines = shown.stdout.decode().splitlines()
    header = lines.index(
        "JOB ID                                   JOB NAME             STATUS       EXIT CODE  DEPENDENCIES        "
    )
    assert lines[header + 3] == f"{'0':41}{'b':21}PENDING      -          a                   "
    jobs = json.loads(as_json.stdout)["jobs"]
    assert [(job["jobName"], job["status"], job["exitCode"]) for job in jobs] == [
        ("a", "RUNNING", None),
        ("b", "PENDING", None),
    ]
    assert stopped.stdout.decode().splitlines()[:3] == [
        "Workflow stopped successfully:",
        f"ID: {workflow_id}",
        "Status: STOPPED",
    ]
    assert (again.returncode, again.stdout) == (1, b"")
    assert b"workflow is not running" in again.stderr


async def test_ctrl_c_stops_the_workflow_that_is_followed(authority: Authority, folder: Path) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        process = start("run", f"--workflow={folder / 'endless.yaml'}", "-f", environ=environ_of(server, folder))
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"a | here\n"

        process.send_signal(signal.SIGINT)
        _, err = await asyncio.to_thread(process.communicate, None, DEADLINE_S)
        (workflow,) = await client.list_workflows()

    assert process.returncode == 130
    assert workflow.status == "STOPPED"
    assert f"Workflow {workflow.id} STOPPED" in err.decode()


@pytest.mark.parametrize("term", ["xterm", "dumb"])
async def test_watching_on_a_terminal_draws_in_place_where_it_can(
    authority: Authority, folder: Path, term: str
) -> None:
    async with a_server(authority) as server, a_client(server, folder) as client:
        workflow = await client.run_workflow(ENDLESS)
        master, slave = pty.openpty()
        environ = {**environ_of(server, folder), "TERM": term}
        process = start("status", "-w", "--watch", workflow.id, environ=environ, stdout=slave)
        os.close(slave)
        first = await asyncio.to_thread(os.read, master, 100_000)
        await client.stop_workflow(workflow.id)
        status = await asyncio.to_thread(process.wait, DEADLINE_S)
        last = await asyncio.to_thread(os.read, master, 1_000_000)
        os.close(master)
        assert process.stderr is not None
        process.stderr.close()

    assert status == 1
    assert first.startswith(b"Workflow: " if term == "dumb" else b"\x1b[H\x1b[J")
    assert (b"\x1b" in first + last) == (term != "dumb")
    assert b"2 canceled" in last


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--workflow=w.yaml", "echo"], "--workflow takes no command (given: echo)"),
        (["run", "--workflow=w.yaml", "--max-cpu=5"], "--max-cpu is for one job"),
        (["workflow", "draw", "w.yaml"], "unknown action: draw"),
        (["workflow", "graph", "--format=png", "w.yaml"], "--format must be text, dot, mermaid, svg"),
        (["workflow", "graph", "-o", "json", "w.yaml"], "a graph cannot be drawn as JSON"),
        (["run", "--workflow="], "--workflow needs the name of a file"),
        (["status", "--watch", "a1b2"], "--watch is for --workflow"),
        (["run"], "rnx run needs <command> [args...]"),
    ],
)
async def test_what_cannot_be_meant_is_said_before_a_server_is_asked(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = await rnx(*arguments, environ={"JOBLET_SERVER": "localhost:1"})

    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--workflow=missing.yaml"], "missing.yaml: cannot be read: no such file or directory"),
        (["workflow", "check", "."], "cannot be read: is a directory"),
    ],
)
async def test_a_file_that_cannot_be_read_is_told_before_a_server_is_asked(arguments: list[str], words: str) -> None:
    done = await rnx(*arguments, environ={"JOBLET_SERVER": "localhost:1"})

    assert (done.returncode, done.stdout) == (1, b"")
    assert words in done.stderr.decode()


async def test_a_check_tells_programs_each_problem_with_its_place(tmp_path: Path) -> None:
    bad, wish = tmp_path / "bad.yaml", tmp_path / "wish.yaml"
    bad.write_text("jobs:\n  a: {comand: x}\n")
    wish.write_text("jobs: {a: {command: x, runtime: python}}")

    wrong, missing, right = [
        await rnx("workflow", "check", "-o", "json", str(file), environ={}) for file in (bad, tmp_path / "no", wish)
    ]

    assert (wrong.returncode, missing.returncode, right.returncode) == (1, 1, 0)
    assert wrong.stderr + missing.stderr + right.stderr == b""
    report = json.loads(wrong.stdout)
    assert (report["valid"], report["jobs"]) == (False, [])
    assert report["problems"][0] == {"line": 2, "column": 3, "path": "jobs.a", "message": "has no command"}
    (unreadable,) = json.loads(missing.stdout)["problems"]
    assert (unreadable["line"], unreadable["message"]) == (None, "cannot be read: no such file or directory")
    found = json.loads(right.stdout)
    assert (found["valid"], found["jobs"], found["problems"]) == (True, ["a"], [])
    assert [each["path"] for each in found["unavailable"]] == ["jobs.a.runtime"]
