"""
`rnx` against a server over real TLS: what it asks, what it prints, how it exits.

Runs in: pytest.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from rnx_process import environment
from scripted import END, JOB_ID, START, Scripted, ScriptedJob, serving, write_certificates

from joblet.rnx.main import execute
from joblet.wire import joblet_pb2 as pb

GOLDEN = Path(__file__).parents[1] / "unit" / "golden"
BINARY = bytes(range(256)) * 1000


@dataclass(frozen=True, slots=True)
class Done:
    """How one command line went."""

    status: int
    out: bytes
    err: str


Rnx = Callable[..., Done]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return folder


@pytest.fixture
def script() -> Scripted:
    return Scripted()


@pytest.fixture
def address(script: Scripted, folder: Path) -> Iterator[str]:
    with serving(script, folder) as address:
        yield address


@pytest.fixture
def rnx(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Rnx:
    """Runs a command line against the scripted server, as the admin that the environment names."""
    for name, value in environment(address, folder).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Done:
        status = execute(arguments)
        captured = capsysbinary.readouterr()
        return Done(status, captured.out, captured.err.decode())

    return run


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.txt").read_bytes()


def test_run_starts_the_job_and_prints_it(rnx: Rnx, script: Scripted) -> None:
    done = rnx("run", "--max-cpu=50", "--max-memory=512", "python3", "script.py")

    assert done == Done(0, golden("run"), "")
    assert script.asked == [pb.RunJobReq(command="python3", args=["script.py"], maxCPU=50, maxMemory=512)]


def test_run_hands_on_everything_it_was_given(rnx: Rnx, script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    monkeypatch.setenv("TOKEN", "s3cret")

    done = rnx(
        *("run", "--max-iobps", "1000", "--cpu-cores", "0-1", "--name=nightly", "--timeout", "1h30m", "--workdir=/tmp"),
        *("--env", "A=1=2", "-e", "FROM_HERE", "--secret-env", "TOKEN", "--", "ls", "-la", "--max-cpu=3"),
    )

    assert done.status == 0
    assert script.asked == [
        pb.RunJobReq(
            command="ls",
            args=["-la", "--max-cpu=3"],
            maxIOBPS=1000,
            cpuCores="0-1",
            name="nightly",
            timeout=5400,
            workDir="/tmp",
            environment={"A": "1=2", "FROM_HERE": "here"},
            secret_environment={"TOKEN": "s3cret"},
        )
    ]
    assert "s3cret" not in done.err + done.out.decode()


def test_a_secret_on_the_command_line_is_taken_with_a_warning_that_does_not_show_it(rnx: Rnx, script: Scripted) -> None:
    done = rnx("run", "--secret-env", "TOKEN=s3cret", "true")

    assert script.asked[0].secret_environment == {"TOKEN": "s3cret"}
    assert done.err.startswith("Warning: the value of TOKEN stands on the command line")
    assert "s3cret" not in done.err


def test_text_that_is_not_unicode_is_refused_without_being_shown(rnx: Rnx, script: Scripted) -> None:
    """Python gives an argument's stray bytes as surrogates; the wire has no place for them."""
    done = rnx("run", "--secret-env", "TOKEN=s3\udcff", "true")

    assert done.status == 1
    assert "is not valid UTF-8" in done.err
    assert "s3" not in done.err
    assert script.asked == []


def test_status_prints_the_job(rnx: Rnx, script: Scripted) -> None:
    script.job = ScriptedJob(exit_code=137, reason="killed by signal 9\x1b[0m")

    done = rnx("status", "f47ac10b")

    assert done.out.decode().splitlines()[2:] == [
        "Status: FAILED",
        f"Started At: {START}",
        f"Ended At: {END}",
        "MaxCPU: 50",
        "MaxMemory: 512",
        "MaxIOBPS: 0",
        "ExitCode: 137",
        "Reason: killed by signal 9\\x1b[0m",
    ]


def test_list_prints_one_line_a_job(rnx: Rnx, script: Scripted) -> None:
    script.listed = (
        pb.Job(id=JOB_ID, status="COMPLETED", startTime=START, endTime=END, command="echo", args=["hello"]),
        pb.Job(
            id="6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            status="RUNNING",
            startTime="2024-01-15T10:35:00.123456789Z",
            command="python3",
            args=["script.py"],
        ),
        pb.Job(
            id="6ba7b811-9dad-11d1-80b4-00c04fd430c8",
            status="FAILED",
            startTime="2024-01-15T10:40:00Z",
            command="invalid-command",
        ),
    )

    assert rnx("list") == Done(0, golden("list"), "")


def test_list_of_nothing_prints_nothing_where_a_script_counts_lines(rnx: Rnx) -> None:
    assert rnx("list") == Done(0, b"", "No jobs yet\n")
    assert rnx("list", "-o", "json").out == b"[]\n"


def test_a_status_that_this_client_does_not_know_is_shown_as_it_is(rnx: Rnx, script: Scripted) -> None:
    """A newer server's."""
    script.listed = (pb.Job(id=JOB_ID, status="SCHEDULED", command="true"),)

    assert rnx("list").out == f"{JOB_ID} SCHEDULED StartTime:  Command: true\n".encode()


def test_stop_stops_the_job_and_says_so(rnx: Rnx) -> None:
    assert rnx("stop", JOB_ID) == Done(0, golden("stop"), "")


def test_a_log_that_is_redirected_is_the_jobs_bytes_and_nothing_else(rnx: Rnx, script: Scripted) -> None:
    script.job = ScriptedJob(log=BINARY)

    done = rnx("log", "f47a")

    assert done.out == BINARY
    assert done.err == f"Logs for job {JOB_ID} (Press Ctrl+C to exit if streaming):\n"


def test_log_follows_unless_told_otherwise(rnx: Rnx, script: Scripted) -> None:
    for arguments in (("log", JOB_ID), ("log", "-f", JOB_ID), ("log", JOB_ID, "--follow=false")):
        rnx(*arguments)

    assert [asked.noFollow for asked in script.asked if isinstance(asked, pb.GetJobLogsReq)] == [False, False, True]


def test_a_log_as_json_is_one_piece_a_line(rnx: Rnx, script: Scripted) -> None:
    script.job = ScriptedJob(log=BINARY, piece_bytes=100_000)

    pieces = [json.loads(line) for line in rnx("log", "--output", "json", JOB_ID).out.splitlines()]

    assert [piece["offset"] for piece in pieces] == [0, 100_000, 200_000]
    assert b"".join(base64.b64decode(piece["payload"]) for piece in pieces) == BINARY


def test_a_log_whose_beginning_is_not_kept_says_so_and_goes_on(rnx: Rnx, script: Scripted) -> None:
    script.job = ScriptedJob(log=BINARY, first_bytes=8192)

    done = rnx("log", JOB_ID)

    assert (done.status, done.out) == (0, BINARY[8192:])
    assert done.err.splitlines()[1:] == ["Note: the first 8192 bytes are not kept any more"]
    assert json.loads(rnx("log", JOB_ID, "--output=json").out.splitlines()[0])["offset"] == 8192
    assert "the first 8192 bytes are not kept" in rnx("run", "--follow", "true").err


def test_a_part_of_a_log_is_asked_for_as_such_and_needs_no_note(rnx: Rnx, script: Scripted) -> None:
    script.job = ScriptedJob(log=b"one\ntwo\nthree\n", first_bytes=4)

    done = rnx("log", "--tail", "1", "--since=2024-01-15T11:30:00+01:00", JOB_ID)

    assert done.out == b"three\n"
    assert len(done.err.splitlines()) == 1
    assert script.asked[-1] == pb.GetJobLogsReq(id=JOB_ID, tail=1, since="2024-01-15T10:30:00Z")


def test_since_so_long_ago_is_a_time_by_this_machines_clock(rnx: Rnx, script: Scripted) -> None:
    before = datetime.now(UTC)

    rnx("log", "--since=90m", JOB_ID)

    since = datetime.fromisoformat(script.asked[-1].since)
    assert timedelta(0) <= since - (before - timedelta(minutes=90)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "flag", ["--since=yesterday", "--since=2024-01-15", "--since=10x", "--since=0s", "--tail=-1", "--tail=x"]
)
def test_a_part_of_a_log_that_cannot_be_meant_is_refused(rnx: Rnx, script: Scripted, flag: str) -> None:
    done = rnx("log", flag, JOB_ID)

    assert done.status == 2
    assert flag.partition("=")[0] in done.err
    assert script.asked == []


def test_a_log_that_was_removed_is_an_error_in_words(rnx: Rnx, script: Scripted) -> None:
    words = f"the log of job {JOB_ID} is not kept any more: its 10 bytes were removed to make room"
    script.refusal = (grpc.StatusCode.OUT_OF_RANGE, words)

    done = rnx("log", JOB_ID)

    assert (done.status, done.err) == (1, f"Error: {words}\n")


@pytest.mark.parametrize(("exit_code", "status"), [(0, 0), (3, 3), (137, 137), (-1, 255)])
def test_run_follow_prints_the_log_and_exits_as_the_job_did(
    rnx: Rnx, script: Scripted, exit_code: int, status: int
) -> None:
    script.job = ScriptedJob(log=BINARY, exit_code=exit_code)

    done = rnx("run", "--follow", "python3", "script.py")

    assert done.status == status
    assert done.out == BINARY
    assert done.err.startswith("Job started:\n")
    assert done.err.endswith(f" ExitCode: {exit_code}\n")


@pytest.mark.parametrize(("exit_code", "status"), [(0, 0), (3, 3), (137, 137), (-1, 255)])
def test_wait_exits_as_the_job_did(rnx: Rnx, script: Scripted, exit_code: int, status: int) -> None:
    script.job = ScriptedJob(exit_code=exit_code)

    done = rnx("wait", JOB_ID)

    assert done.status == status
    assert done.out == f"{JOB_ID} {script.job.status} ExitCode: {exit_code}\n".encode()


@pytest.mark.parametrize("arguments", [("status", JOB_ID), ("stop", JOB_ID), ("wait", JOB_ID), ("run", "true")])
def test_json_is_one_document_with_the_words_of_the_api(rnx: Rnx, arguments: tuple[str, ...]) -> None:
    document = json.loads(rnx("--output=json", *arguments).out)

    assert document["id"] == JOB_ID
    assert {"status", "endTime", "exitCode"} <= set(document)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "role viewer is not allowed to perform operation list_jobs"),
        (grpc.StatusCode.UNAUTHENTICATED, "failed to extract client role: no TLS information found"),
        (grpc.StatusCode.INTERNAL, "internal server error: the server log says more"),
    ],
)
def test_an_error_of_the_server_is_printed_in_its_words(
    rnx: Rnx, script: Scripted, code: grpc.StatusCode, message: str
) -> None:
    script.refusal = (code, message)

    assert rnx("list") == Done(1, b"", f"Error: {message}\n")
    assert json.loads(rnx("list", "-o", "json").err) == {"code": code.name, "message": message, "details": []}


@pytest.mark.parametrize("verb", ["status", "stop", "log", "wait"])
def test_an_unknown_job_is_an_error_in_the_words_of_the_specification(rnx: Rnx, verb: str) -> None:
    assert rnx(verb, "beef") == Done(1, b"", "Error: job not found: beef\n")


def test_flags_win_over_the_environment_before_and_after_the_verb(
    rnx: Rnx, script: Scripted, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("JOBLET_SERVER", "JOBLET_CERT_PATH", "JOBLET_KEY_PATH", "JOBLET_CA_PATH"):
        monkeypatch.setenv(name, "nowhere:1")
    flags = (
        f"--server={address}",
        f"--cert={folder}/viewer-cert.pem",
        "--key",
        f"{folder}/viewer-key.pem",
        f"--ca={folder}/ca-cert.pem",
    )

    assert rnx(*flags, "list").status == 0
    assert rnx("list", *flags).status == 0
    assert rnx(*flags[:2], "run", *flags[2:], "ls", "--server=mine").status == 0
    assert list(script.asked[-1].args) == ["--server=mine"]
