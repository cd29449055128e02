"""
`rnx run --workflow` before a server that is lost, slow, or says less than it should.

Runs in: pytest, over real TLS on loopback.
"""

import asyncio
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from rnx_process import DEADLINE_S, environment, run, start
from scripted import JOB_ID, WORKFLOW_ID, Scripted, ScriptedJob, serving, write_certificates

from joblet.client import AsyncJobletClient, Credentials, JobletClient, StartedWorkflow
from joblet.wire import joblet_pb2 as pb

ONE: Final = "jobs: {a: {command: echo}}"


def a_state(status: str = "RUNNING") -> pb.GetWorkflowStatusResponse:
    """A workflow of one job whose log is the script's."""
    ended = None if status == "RUNNING" else pb.Timestamp(seconds=1)
    return pb.GetWorkflowStatusResponse(
        workflow=pb.WorkflowInfo(uuid=WORKFLOW_ID, workflow="one.yaml", status=status, totalJobs=1, completedAt=ended),
        jobs=[pb.WorkflowJob(jobId=JOB_ID, jobName="a", status=status, endTime=ended)],
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    (folder / "one.yaml").write_text(ONE)
    return folder


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def address(script: Scripted, folder: Path) -> Iterator[str]:
    with serving(script, folder) as address:
        yield address


@pytest.fixture
def environ(address: str, folder: Path) -> Mapping[str, str]:
    return environment(address, folder)


def test_the_id_of_a_started_workflow_needs_no_second_answer(address: str, folder: Path) -> None:
    """Each client returns what RunWorkflow said, though the status of the workflow cannot be had."""
    credentials = Credentials.from_files(folder / "admin-cert.pem", folder / "admin-key.pem", folder / "ca-cert.pem")

    async def started() -> StartedWorkflow:
        async with AsyncJobletClient(address, credentials) as client:
            return await client.run_workflow(ONE, name="one.yaml")

    with JobletClient(address, credentials) as client:
        one = client.run_workflow(ONE, name="one.yaml")

    assert one == asyncio.run(started()) == StartedWorkflow(id=WORKFLOW_ID, name="one.yaml", status="RUNNING")


def test_what_run_workflow_prints_needs_no_second_answer(environ: Mapping[str, str], folder: Path) -> None:
    text = run("run", f"--workflow={folder / 'one.yaml'}", environ=environ)
    as_json = run("run", f"--workflow={folder / 'one.yaml'}", "-o", "json", environ=environ)

    assert text.stdout.decode().splitlines() == [
        "Workflow started:",
        f"ID: {WORKFLOW_ID}",
        "Workflow: one.yaml",
        "Status: RUNNING",
        "Jobs: 1",
    ]
    assert json.loads(as_json.stdout) == {
        "uuid": WORKFLOW_ID,
        "workflow": "one.yaml",
        "status": "RUNNING",
        "totalJobs": 1,
    }
    assert (text.returncode, as_json.returncode) == (0, 0)


@pytest.fixture
def endless(script: Scripted) -> Scripted:
    """The workflow's only job has printed a line and runs on."""
    script.job = ScriptedJob(log=b"line\n", ends=threading.Event())
    script.states = a_state
    return script


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_while_it_is_being_stopped_leaves_the_workflow(
    endless: Scripted, environ: Mapping[str, str], folder: Path, number: signal.Signals, status: int
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def stopping() -> None:
        asked.set()
        assert ended.wait(DEADLINE_S)

    endless.stopping = stopping
    process = start("run", f"--workflow={folder / 'one.yaml'}", "-f", environ=environ)
    assert process.stdout is not None
    assert process.stdout.read(9) == b"a | line\n"

    process.send_signal(number)
    assert asked.wait(DEADLINE_S)
    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_S)
    ended.set()

    assert process.returncode == status
    assert err.decode().splitlines()[-2:] == [
        f"Stopping workflow {WORKFLOW_ID} (Ctrl+C again leaves it running)",
        f"Workflow {WORKFLOW_ID} may still be running (rnx status --workflow {WORKFLOW_ID})",
    ]


def test_beside_a_followed_workflow_stderr_has_a_json_document_a_line(
    endless: Scripted, environ: Mapping[str, str], folder: Path
) -> None:
    process = start("run", f"--workflow={folder / 'one.yaml'}", "-f", "-o", "json", environ=environ)
    assert process.stdout is not None
    assert process.stdout.read(9) == b"a | line\n"

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)

    started, note, stopped = map(json.loads, err.splitlines())
    assert (out, started["status"], stopped["status"]) == (b"", "RUNNING", "STOPPED")
    assert started["uuid"] == stopped["uuid"] == WORKFLOW_ID
    assert note == {"note": f"Stopping workflow {WORKFLOW_ID} (Ctrl+C again leaves it running)"}


def test_beside_a_followed_job_stderr_has_a_json_document_a_line(endless: Scripted, environ: Mapping[str, str]) -> None:
    process = start("run", "-f", "-o", "json", "sleep", "600", environ=environ)
    assert process.stdout is not None
    assert process.stdout.read(5) == b"line\n"

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)

    started, note, stopped = map(json.loads, err.splitlines())
    assert (started["id"], stopped["id"], stopped["exitCode"]) == (JOB_ID, JOB_ID, -1)
    assert note == {"note": f"Stopping job {JOB_ID} (Ctrl+C again leaves it running)"}


def test_a_log_is_waited_for_while_the_server_is_started_again(
    script: Scripted, environ: Mapping[str, str], folder: Path
) -> None:
    """It is away just when a job's log is to be opened: neither that log nor the others are given up."""
    script.job = ScriptedJob(log=b"line\n")
    script.states = lambda: a_state("COMPLETED")
    script.refused_about_jobs = 3

    done = run("run", f"--workflow={folder / 'one.yaml'}", "-f", environ=environ)

    assert (done.returncode, done.stdout) == (0, b"a | line\n"), done.stderr
    assert script.refused_about_jobs == 0


def test_what_is_not_kept_of_a_jobs_log_is_told(script: Scripted, environ: Mapping[str, str], folder: Path) -> None:
    script.job = ScriptedJob(log=b"gone\nline\n", first_bytes=5)
    script.states = lambda: a_state("COMPLETED")

    done = run("run", f"--workflow={folder / 'one.yaml'}", "-f", environ=environ)

    assert done.stdout == b"a | line\n"
    assert b"a: Note: the first 5 bytes are not kept any more\n" in done.stderr
