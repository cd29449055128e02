"""
The command's beginning and end: interrupted while it is imported and while it writes, and with nobody to write to.

Runs in: pytest.
"""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority, write_server_certificates
from serving_process import a_process

from joblet_conformance.interruption import Interruption
from joblet_conformance.main import main

COMMAND = (sys.executable, "-m", "joblet_conformance.main")


def with_grpc(folder: Path, text: str) -> dict[str, str]:
    """An environment in which `import grpc` does this instead."""
    (folder / "grpc.py").write_text(text)
    return {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}


def test_ctrl_c_while_it_is_imported_ends_it_without_a_traceback(tmp_path: Path) -> None:
    environment = with_grpc(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run([*COMMAND, "list"], env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_without_grpc_it_says_what_to_install(tmp_path: Path) -> None:
    environment = with_grpc(tmp_path, "raise ModuleNotFoundError(name='grpc')\n")
    done = subprocess.run([*COMMAND, "list"], env=environment, capture_output=True, check=False)

    assert done.returncode == 2
    assert done.stderr == b"joblet-conformance: grpc is missing: pip install 'joblet[conformance]'\n"


def flags(folder: Path, authority: Authority) -> list[str]:
    """The suite's, for a server whose files are written here."""
    folder.mkdir()
    write_server_certificates(folder, authority, authority.issue("server", for_server=True))
    (folder / "ca-key.pem").write_bytes(authority.key)
    return ["--ca", str(folder / "ca-cert.pem"), "--ca-key", str(folder / "ca-key.pem"), "--case", "messages.same-*"]


async def interrupted_while_it_writes(folder: Path, authority: Authority, *more: str) -> tuple[int | None, str]:
    """Exit status and standard error of a run that gets Ctrl-C behind its second report of those that it writes."""
    own = flags(folder / "certs", authority)
    first, second = folder / "junit", folder / "json"
    os.mkfifo(first)
    os.mkfifo(second)
    async with a_process(folder / "state", folder / "certs") as process:
        child = await asyncio.create_subprocess_exec(
            *(*COMMAND, "run", "--server", f"localhost:{process.port}", *own),
            *("--junit", str(first), "--json", str(second), *more),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert "<testsuite" in await asyncio.to_thread(first.read_text)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        words = await child.stderr.readline() + await child.stderr.readline()
        assert '"schema"' in await asyncio.to_thread(second.read_text)
        words += await child.stderr.read()
    return await child.wait(), words.decode()


async def test_ctrl_c_while_reports_are_written_leaves_none_out(tmp_path: Path, authority: Authority) -> None:
    """Exit status 130; and it is not said that anything is stopped."""
    last = tmp_path / "last.html"
    status, words = await interrupted_while_it_writes(tmp_path, authority, "--html", str(last))

    assert (status, words.strip()) == (
        130,
        "joblet-conformance: interrupted; writing the reports (Ctrl-C again leaves them unwritten)",
    )
    assert "</html>" in last.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
async def test_after_ctrl_c_a_report_that_cannot_be_written_is_told_and_130_stays(
    tmp_path: Path, authority: Authority
) -> None:
    status, words = await interrupted_while_it_writes(tmp_path, authority, "--html", "/dev/full")

    assert status == 130
    assert words.endswith("joblet-conformance: cannot write /dev/full: no space left on device\n")


async def test_ctrl_c_is_noted_when_what_it_would_cancel_is_over() -> None:
    """However late it comes: nothing else is cancelled, such as the closing of connections."""
    task = asyncio.current_task()
    assert task is not None
    with Interruption() as interruption:
        with interruption.cancels(task):
            pass
        signal.raise_signal(signal.SIGINT)
        await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0.01)

        assert interruption.came
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def test_ctrl_c_at_the_last_moment_of_what_it_would_cancel_cancels_nothing_else() -> None:
    task = asyncio.current_task()
    assert task is not None
    with Interruption() as interruption:
        with interruption.cancels(task):
            signal.raise_signal(signal.SIGINT)
        await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=0.01)

        assert interruption.came
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("verb", [["list"], ["coverage"], ["--version"], ["explain", "no.such"]])
def test_with_nowhere_to_write_to_it_does_what_it_would(closed: str, verb: list[str]) -> None:
    """And has no traceback."""
    words = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *verb]
    done = subprocess.run(words, capture_output=True, check=False)

    assert done.returncode == (2 if "no.such" in verb else 0)
    assert b"Traceback" not in done.stdout + done.stderr
    assert (done.stderr == b"") == ("2>" in closed or "no.such" not in verb)


async def test_a_run_without_output_writes_its_reports(tmp_path: Path, authority: Authority) -> None:
    own = flags(tmp_path / "certs", authority)
    report = tmp_path / "report.json"
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        child = await asyncio.create_subprocess_exec(
            *("sh", "-c", 'exec "$@" >&- 2>&-', "sh", *COMMAND, "run", "--server", f"localhost:{process.port}"),
            *(*own, "--json", str(report)),
        )  # fmt: skip
        assert await child.wait() == 0

    assert '"schema"' in report.read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_that_cannot_be_written_is_told(flag: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, flag], stdout=full, stderr=subprocess.PIPE, check=False)

    assert done.returncode == 1
    assert done.stderr == b"joblet-conformance: cannot write: no space left on device\n"


def test_a_link_to_a_report_that_is_not_there_yet_stays(tmp_path: Path, authority: Authority) -> None:
    """The server cannot be reached, so that nothing is written."""
    own = flags(tmp_path / "certs", authority)
    link = tmp_path / "report.json"
    link.symlink_to(tmp_path / "later.json")

    assert main(["run", "--server", "localhost:1", *own, "--json", str(link)]) == 2
    assert link.is_symlink()
    assert not link.exists()
