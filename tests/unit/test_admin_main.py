"""The command line `joblet`: finds its verbs, says what is wrong in words, and never shows a traceback."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from joblet.admin import main


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, stdout, stderr of one command line."""
    status = main.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", main.VERBS)
def test_every_verb_has_its_module_and_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"joblet.admin.{name}")
    status, out, err = told(capsys, name, "--help")

    assert {"add_arguments", "run"} <= set(dir(module))
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: joblet {name}")


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, "--help")

    assert (status, err) == (0, "")
    for name, what in main.VERBS.items():
        assert re.search(rf"^  {name} +{what}$", out, re.MULTILINE)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--version") == (0, "joblet 0.1.0\n", "")


def test_no_verb_is_a_mistake_that_is_answered_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys)

    assert (status, out) == (2, "")
    assert err.startswith("usage: joblet")


def test_a_misspelt_verb_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = told(capsys, "serv")

    assert status == 2
    assert err.splitlines()[0] == "joblet: there is no verb 'serv'; did you mean serve?"


@pytest.mark.parametrize("arguments", [["--nonsense"], ["certs"], ["certs", "init", "--days", "x"], ["down", "extra"]])
def test_a_command_that_cannot_be_understood_ends_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    status, out, err = told(capsys, *arguments)

    assert (status, out) == (2, "")
    assert "Traceback" not in err


def test_a_failure_is_told_with_what_to_do_and_ends_with_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = told(capsys, "certs", "issue", "--dir", str(tmp_path), "--name", "a", "--role", "admin")

    assert (status, out) == (1, "")
    assert err.splitlines() == [
        f"joblet: cannot read {tmp_path}/ca-cert.pem: no such file or directory",
        f"        name the folder of your CA with --dir; joblet certs init --dir {tmp_path} makes a new one",
    ]


def run(*arguments: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """As a process of its own; `code` is Python that runs before."""
    command = f"{code}\nimport sys; from joblet.admin.main import main; sys.exit(main({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", command],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BROKEN = "import joblet.admin.config as verb\ndef run(options): raise {error}\nverb.run = run"


def test_an_error_that_nobody_foresaw_says_so_without_a_traceback() -> None:
    done = run("config", "keys", code=BROKEN.format(error="KeyError('x')"))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "joblet: internal error: KeyError: 'x'",
        "        this is a fault in joblet: JOBLET_DEBUG=1 shows where",
    ]


def test_the_traceback_is_shown_to_who_asks_for_it() -> None:
    done = run("config", "keys", code=BROKEN.format(error="KeyError('x')"), JOBLET_DEBUG="1")

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_ctrl_c_is_quiet() -> None:
    done = run("config", "keys", code=BROKEN.format(error="KeyboardInterrupt"))

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_has_gone_is_no_reason_for_words() -> None:
    """`joblet config keys | head -1`"""
    process = subprocess.Popen(
        [sys.executable, "-m", "joblet.admin.main", "config", "keys"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    words = process.stderr.read()
    process.stderr.close()

    assert (process.wait(timeout=60), words) == (1, b"")


def test_help_loads_no_verb_and_nothing_heavy() -> None:
    code = (
        "import sys; from joblet.admin.main import main; main(['--help']); print(*sorted(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    loaded = set(done.stderr.split())
    assert loaded & {"grpc", "cryptography", "yaml", "ssl", "asyncio", "joblet.config"} == set()
    assert [name for name in loaded if name.startswith("joblet.admin.")] == ["joblet.admin.main"]
