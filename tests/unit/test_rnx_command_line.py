"""
`rnx` before it talks to a server: help, wrong usage, bad files, and the words for what nobody foresaw.

Runs in: pytest.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import pytest

from joblet.rnx.main import VERBS, execute, last_resort
from joblet.rnx.output import Output

Captured = pytest.CaptureFixture[bytes]


def program(*arguments: str, python: str = "") -> "subprocess.CompletedProcess[str]":
    """`rnx` in a process of its own."""
    code = python or "from joblet.rnx.main import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_global_flag(capsysbinary: Captured) -> None:
    assert execute(["--help"]) == 0

    printed = capsysbinary.readouterr().out.decode()
    for word in (*VERBS, "--server", "--cert", "--key", "--ca", "--output", "JOBLET_SERVER", "localhost:50051"):
        assert word in printed


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_a_help_of_its_own(verb: str, capsysbinary: Captured) -> None:
    assert execute([verb, "--help"]) == 0

    by_flag = capsysbinary.readouterr().out
    assert f"rnx {verb}".encode() in by_flag
    assert execute(["help", verb]) == 0
    assert capsysbinary.readouterr().out == by_flag


def test_the_version_is_the_packages(capsysbinary: Captured) -> None:
    assert execute(["--version"]) == 0

    assert capsysbinary.readouterr().out.decode() == f"rnx {version('joblet')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no command given"),
        (["lst"], "unknown command: lst (did you mean list?)"),
        (["\x1b[31mx"], "unknown command: \\x1b[31mx"),
        (["status"], "rnx status needs <job-uuid>"),
        (["stop", "a", "b"], "rnx stop takes <job-uuid> (too much: b)"),
        (["list", "everything"], "rnx list takes no arguments (too much: everything)"),
        (["run"], "rnx run needs <command> [args...]"),
        (["list", "-o", "xml"], "--output must be text or json (given: 'xml')"),
        (["--server"], "flag needs a value: --server"),
        (["run", "--env", "=x", "true"], "--env must be K=V or K (the name is empty)"),
        (["run", "--secret-env", "JOBLET_NO_SUCH", "true"], "there is no such variable in the environment"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_points_at_the_help(
    arguments: list[str], words: str, capsysbinary: Captured
) -> None:
    assert execute(arguments) == 2

    captured = capsysbinary.readouterr()
    assert captured.out == b""
    assert f"Error: {words}" in captured.err.decode() or words in captured.err.decode()
    assert "--help' for usage" in captured.err.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runtime", "list"], "rnx runtime is not yet available"),
        (["monitor"], "rnx monitor is not yet available"),
    ],
)
def test_what_is_not_there_yet_says_so(arguments: list[str], words: str, capsysbinary: Captured) -> None:
    assert execute(arguments) == 1

    assert words in capsysbinary.readouterr().err.decode()


@pytest.mark.parametrize("verb", ["list", "status", "stop", "log", "wait", "run"])
def test_missing_certificate_files_are_named_before_anything_is_connected(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("JOBLET_CERT_PATH", "JOBLET_KEY_PATH", "JOBLET_CA_PATH"):
        monkeypatch.delenv(variable, raising=False)

    status = execute([verb] if verb == "list" else [verb, "x"])

    printed = capsysbinary.readouterr().err.decode()
    assert status == 1
    assert printed.startswith(
        "Error: cannot read the client certificate certs/client-cert.pem: no such file or directory\n"
    )
    assert "certs/client-key.pem" in printed
    assert "certs/ca-cert.pem" in printed


def test_with_json_asked_for_an_error_is_json_too(tmp_path: Path, capsysbinary: Captured) -> None:
    """The shape is the specification's "Error Response Format"."""
    assert execute(["list", "--output=json", "--cert", str(tmp_path / "none.pem")]) == 1

    captured = capsysbinary.readouterr()
    error = json.loads(captured.err)
    assert captured.out == b""
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == "UNAUTHENTICATED"
    assert "none.pem" in error["message"]


def test_what_nobody_foresaw_is_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBLET_DEBUG", raising=False)
    stderr = BytesIO()

    assert last_resort(KeyError("over\nthere"), Output(BytesIO(), stderr, stdout_is_terminal=False)) == 1

    (line,) = stderr.getvalue().decode().splitlines()
    assert line.startswith("rnx: internal error: KeyError: 'over\\nthere'")
    assert "JOBLET_DEBUG=1" in line


def test_the_details_of_what_nobody_foresaw_come_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBLET_DEBUG", "1")
    stderr = BytesIO()

    try:
        raise KeyError("over there")
    except KeyError as error:
        last_resort(error, Output(BytesIO(), stderr, stdout_is_terminal=False))

    assert "Traceback" in stderr.getvalue().decode()


def test_help_loads_neither_grpc_nor_asyncio() -> None:
    """`rnx --help` is to start at most three times as slowly as Python itself."""
    code = (
        "import sys\nfrom joblet.rnx.main import execute\nexecute(['--help'])\n"
        "heavy = {'grpc', 'google', 'asyncio', 'argparse', 'ssl', 'dataclasses', 'json'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    assert program(python=code).stderr == "[]\n"


def test_deferred_modules_become_the_real_ones_when_they_are_used() -> None:
    code = (
        "import sys\nfrom joblet.rnx import startup\nstartup.defer()\nimport asyncio, grpc\n"
        "assert 'asyncio.base_events' not in sys.modules, 'not deferred'\n"
        "async def answer():\n    return grpc.aio.Channel.__name__\n"
        "print(asyncio.run(answer()))\n"
        "assert sys.modules['asyncio'].__file__"
    )

    done = program(python=code)

    assert (done.stdout, done.stderr) == ("Channel\n", "")


def test_a_full_disk_behind_stdout_is_an_error_in_words() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from joblet.rnx.main import main; main()", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr.decode() == "Error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("redirection", [">&-", ">&- 2>&-", "<&-"])
def test_closed_standard_streams_do_not_matter(redirection: str) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f"exec \"$0\" -c 'from joblet.rnx.main import main; main()' --help {redirection}",
            sys.executable,
        ],
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
