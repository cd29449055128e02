"""
The command line, against a server that is a process of its own; and the reports that it writes.

Runs in: pytest.
"""

import asyncio
import json
from pathlib import Path
from xml.etree import ElementTree

import grpc
import pytest
from certificates import Authority, write_server_certificates
from serving_process import a_process

from joblet_conformance.certificates import Identity
from joblet_conformance.main import main
from joblet_conformance.target import Target


def write(folder: Path, authority: Authority) -> list[str]:
    """The files that a server and the suite need; the suite's flags for them."""
    folder.mkdir()
    write_server_certificates(folder, authority, authority.issue("server", for_server=True))
    (folder / "ca-key.pem").write_bytes(authority.key)
    for role in ("admin", "viewer"):
        issued = authority.issue(role, [role])
        (folder / f"{role}-cert.pem").write_bytes(issued.certificate)
        (folder / f"{role}-key.pem").write_bytes(issued.key)
    return ["--ca", str(folder / "ca-cert.pem")]


def clients(folder: Path) -> list[str]:
    """Flags for the two clients that a run cannot do without."""
    return [
        word
        for role in ("admin", "viewer")
        for part in ("cert", "key")
        for word in (f"--{role}-{part}", str(folder / f"{role}-{part}.pem"))
    ]


# The engine behind these servers runs scripts, not processes.
FAKE = ("--profile", "core,security,workflow,load")


async def run(*arguments: str) -> int:
    """The command's exit status. In a thread, because it has a loop of its own."""
    return await asyncio.to_thread(main, arguments)


async def test_a_run_with_the_key_of_the_ca_needs_nothing_else_and_writes_every_report(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 0, and the same numbers in each report."""
    ca = write(tmp_path / "certs", authority)
    reports = {name: tmp_path / f"report.{name}" for name in ("junit", "json", "markdown", "html")}
    flags = [word for name, path in reports.items() for word in (f"--{name}", str(path))]
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        key = str(tmp_path / "certs" / "ca-key.pem")
        status = await run("run", "--server", f"localhost:{process.port}", *ca, "--ca-key", key, *flags, *FAKE)

    assert status == 0, capsys.readouterr().out
    found = json.loads(reports["json"].read_text())
    suite = ElementTree.fromstring(reports["junit"].read_text())
    assert (found["schema"], found["conclusion"], found["dialect"]) == (1, "conforms", "joblet")
    assert found["counts"] == {"passed": len(found["cases"]), "failed": 0, "skipped": 0, "broken": 0}
    assert (suite.get("tests"), suite.get("failures")) == (str(len(found["cases"])), "0")
    assert reports["markdown"].read_text().startswith(f"# localhost:{process.port}: conforms\n")
    assert "Joblet API: conforms" in reports["html"].read_text()
    assert "conforms: " in capsys.readouterr().out


async def test_what_could_not_be_tried_is_told_and_leaves_the_question_open(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the CA's key there is no expired certificate: exit status 3, and how to give one."""
    ca = write(tmp_path / "certs", authority)
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        server = ("run", "--server", f"localhost:{process.port}", *ca, *clients(tmp_path / "certs"))
        status = await run(*server, "--case", "certificates.*")
        without = await run(
            *server, "--case", "certificates.*", "--except", "*-valid", "--except", "certificates.[cefrun]*"
        )

    assert (status, without) == (3, 0)
    assert "give --expired-cert and --expired-key, or --ca-key" in capsys.readouterr().out


async def test_a_failure_says_what_was_sent_what_came_and_what_is_specified(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1. The server is healthy, but has no program of the name that it is given for echo."""
    ca = write(tmp_path / "certs", authority)
    (tmp_path / "programs.toml").write_text('echo = "no-echo"\n')
    report = tmp_path / "report.json"
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        server = ("run", "--server", f"localhost:{process.port}", *ca, *clients(tmp_path / "certs"))
        status = await run(
            *server, "--programs", str(tmp_path / "programs.toml"), "--case", "run-job.no-arguments",
            "--json", str(report),
        )  # fmt: skip

    out = capsys.readouterr().out
    assert status == 1
    assert "FAILED run-job.no-arguments (must): A command without arguments runs." in out
    assert "what the job prints: b'joblet: command not found: no-echo\\n', expected b'\\n'" in out
    assert "specification, 'RunJob': args (repeated string): Command arguments (optional)" in out
    assert 'admin → RunJob(command: "no-echo")' in out
    (case,) = json.loads(report.read_text())["cases"]
    assert [exchange["call"] for exchange in case["exchanges"]] == ["RunJob", "GetJobLogs"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--expired-cert", "x.pem"], "--expired-cert and --expired-key belong together"),
        ([], "needs a client that is admin: --admin-cert and --admin-key, or --ca-key"),
        (["--ca-key", "missing.pem"], "cannot read missing.pem: no such file or directory"),
        (["--programs", "missing.toml"], "cannot use missing.toml"),
        (["--case", "no.such"], "no case is left of those chosen"),
        (["--json", "no/such/folder.json"], "cannot write no/such/folder.json: no such file or directory"),
    ],
)
def test_a_command_line_that_is_of_no_use_is_refused_in_words(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    ca = write(tmp_path / "certs", authority)
    own = [] if "needs" in words else clients(tmp_path / "certs")

    assert main(["run", "--server", "localhost:1", *ca, *own, *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            (["--patience", text], "--patience: must be a number of seconds above 0")
            for text in ("0", "nan", "inf", "x", "1e300", "86401")
        ),
        (["--patience=-5"], "--patience: must be a number of seconds above 0"),
        *((["--parallel", text], "--parallel: must be a whole number, 1 or more") for text in ("x", "0", "1.5")),
        *(
            (["--server", text], "--server: must be HOST:PORT or [IPv6]:PORT")
            for text in (
                "",
                "localhost",
                "localhost:",
                ":50051",
                "localhost:x",
                "localhost:0",
                "localhost:65536",
                "::1:5",
            )
        ),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_its_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--ca", "ca.pem", "--server", "localhost:1", *arguments])

    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"admin-key": "viewer-key"}, "--admin-key is not the key of --admin-cert"),
        ({"viewer-cert": "admin-cert", "viewer-key": "admin-key"}, "--viewer-cert has OU=admin, expected OU=viewer"),
        ({"expired-cert": "admin-cert", "expired-key": "admin-key"}, "which does not fit its name"),
        ({"role-less-cert": "admin-cert", "role-less-key": "admin-key"}, "has OU=admin, expected none"),
        ({"capitals-cert": "ca-key", "capitals-key": "ca-key"}, "--capitals-cert or --capitals-key cannot be read"),
    ],
)
def test_a_client_that_is_not_what_its_flag_says_is_refused(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str], flags: dict[str, str], words: str
) -> None:
    """Else the server would be blamed."""
    folder = tmp_path / "certs"
    ca = write(folder, authority)
    given = [word for flag, name in flags.items() for word in (f"--{flag}", str(folder / f"{name}.pem"))]

    assert main(["run", "--server", "localhost:1", *ca, *clients(folder), *given]) == 2
    assert words in capsys.readouterr().err


def test_a_server_that_cannot_be_reached_is_told_before_any_case(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a hundred failures, but one sentence."""
    ca = write(tmp_path / "certs", authority)
    key = str(tmp_path / "certs" / "ca-key.pem")

    assert main(["run", "--server", "localhost:1", *ca, "--ca-key", key]) == 2
    assert "cannot list the jobs of localhost:1 as admin: UNAVAILABLE" in capsys.readouterr().err


async def test_a_server_with_job_service_alone_needs_no_reflection(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it answers to ListJobs tells."""

    async def no_jobs(request: bytes, context: object) -> bytes:
        return b""

    ca = write(tmp_path / "certs", authority)
    issued = authority.issue("server", for_server=True)
    server = grpc.aio.server()
    calls = {"ListJobs": grpc.unary_unary_rpc_method_handler(no_jobs)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("joblet.JobService", calls),))
    credentials = grpc.ssl_server_credentials([(issued.key, issued.certificate)], authority.certificate, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    status = await run(
        "run", "--server", f"localhost:{port}", *ca, *clients(tmp_path / "certs"), "--case", "messages.same-*"
    )  # fmt: skip
    await server.stop(None)

    assert status == 3
    assert "dialect jobservice" in capsys.readouterr().out


def test_a_case_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--case", "stop-job.*"]) == 0
    assert main(["explain", "stop-job.sigkill"]) == 0

    out = capsys.readouterr().out
    assert "stop-job.sigkill" in out
    assert "stop-job.grace, in 'StopJob':\n    Wait 100ms for graceful shutdown" in out


def test_the_coverage_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage"]) == 0
    assert "| `RunJob=INTERNAL` | needs a server that is broken |" in capsys.readouterr().out


def test_an_unknown_case_cannot_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "no.such"]) == 2
    assert "there is no case no.such" in capsys.readouterr().err


def test_a_client_that_is_written_out_keeps_its_key_to_itself() -> None:
    """And so does the server that it is a client of."""
    known = {"admin": Identity(b"a certificate", b"a key")}

    assert "a key" not in repr(Target("localhost:1", b"a CA", known))
    assert "a certificate" in repr(known)
