"""
`rnx` as a process: Ctrl+C, SIGTERM, a terminal, a reader that leaves.

Runs in: pytest.
"""

import os
import pty
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from rnx_process import DEADLINE_S, environment, run, start
from scripted import JOB_ID, Scripted, ScriptedJob, serving, write_certificates

from joblet.wire import joblet_pb2 as pb


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return folder


@pytest.fixture
def script() -> Scripted:
    """A job that has printed one line and runs on."""
    return Scripted(ScriptedJob(log=b"line\n", ends=threading.Event()))


@pytest.fixture
def environ(script: Scripted, folder: Path) -> Iterator[Mapping[str, str]]:
    with serving(script, folder) as address:
        yield environment(address, folder)


def test_the_program_exits_as_the_command_line_did(script: Scripted, environ: Mapping[str, str]) -> None:
    script.job = ScriptedJob(log=b"x" * 100_000, exit_code=3)

    done = run("run", "-f", "true", environ=environ)

    assert (done.returncode, done.stdout) == (3, b"x" * 100_000)


def test_ctrl_c_in_a_log_is_quiet_and_leaves_the_job_alone(script: Scripted, environ: Mapping[str, str]) -> None:
    process = start("log", JOB_ID, environ=environ)
    assert process.stdout is not None
    assert process.stdout.read(5) == b"line\n"

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (130, b"")
    assert err == f"Logs for job {JOB_ID} (Press Ctrl+C to exit if streaming):\n".encode()
    assert not any(isinstance(asked, pb.StopJobReq) for asked in script.asked)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_follow_stops_the_job_and_says_so(
    script: Scripted, environ: Mapping[str, str], number: signal.Signals, status: int
) -> None:
    process = start("run", "--follow", "sleep", "600", environ=environ)
    assert process.stdout is not None
    assert process.stdout.read(5) == b"line\n"

    process.send_signal(number)
    _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == status
    assert script.asked[-1] == pb.StopJobReq(id=JOB_ID)
    assert err.decode().endswith(f"Stopping job {JOB_ID} (Ctrl+C again leaves it running)\nJob {JOB_ID} STOPPED\n")


def read_five_bytes_of(*arguments: str, environ: Mapping[str, str]) -> tuple[int, str]:
    """Like `rnx … | head -c 5`: the exit status and what stood on stderr."""
    with start(*arguments, environ=environ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(5)
        process.stdout.close()
        return process.wait(DEADLINE_S), process.stderr.read().decode()


def test_a_reader_that_leaves_ends_a_log_without_a_word(script: Scripted, environ: Mapping[str, str]) -> None:
    script.job = ScriptedJob(log=b"line\n" * 1_000_000)

    status, printed = read_five_bytes_of("log", JOB_ID, environ=environ)

    assert status == 141
    assert printed == f"Logs for job {JOB_ID} (Press Ctrl+C to exit if streaming):\n"


def test_a_reader_that_leaves_run_follow_leaves_the_job_running(script: Scripted, environ: Mapping[str, str]) -> None:
    script.job = ScriptedJob(log=b"line\n" * 1_000_000)

    status, printed = read_five_bytes_of("run", "-f", "yes", environ=environ)

    assert status == 141
    assert f"job {JOB_ID} runs on" in printed


def test_on_a_terminal_the_heading_stands_above_the_log(script: Scripted, environ: Mapping[str, str]) -> None:
    """As the specification shows it, on stdout."""
    script.job = ScriptedJob(
        log=b"Starting script...\nProcessing item 1\nProcessing item 2\n...\nScript completed successfully\n"
    )
    ours, theirs = pty.openpty()
    process = start("log", "-f", JOB_ID, environ=environ, stdout=theirs)
    os.close(theirs)
    shown = b""

    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that a terminal's other side is closed
        pass
    finally:
        os.close(ours)

    _, err = process.communicate(timeout=DEADLINE_S)
    golden = (Path(__file__).parents[1] / "unit" / "golden" / "log.txt").read_bytes()
    assert (process.returncode, err) == (0, b"")
    assert shown.replace(b"\r\n", b"\n") == golden
