"""
What the server writes to systemd's journal, and what nothing writes there.

Runs in: pytest in the test machine, as root.
Source: API specification, "Log Levels and Format".
"""

import re
import secrets
import subprocess
from collections.abc import Iterator

import pytest
from installed import SERVER, Installed
from settings import configured

from joblet.client import JobletError

MIB = 1024 * 1024
_VALUE = r'(?:"(?:[^"\\]|\\.)*"|[^\s"=|\\]+)'
RECORD = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\] \[(?P<level>DEBUG|INFO|WARN|ERROR)\] (?P<message>[^|=]+?)"
    rf"(?: \| (?P<fields>\w+={_VALUE}(?: \w+={_VALUE})*))?"
)


class WholeJournal:
    """Everything that anybody writes to the journal from now on."""

    def __init__(self) -> None:
        self._cursor = journalctl("--lines=0", "--show-cursor").rpartition("-- cursor: ")[2].strip()

    def of_the_server(self) -> list[str]:
        """Lines of the server itself, without those of systemd about it."""
        return self._read("--output=cat", f"_SYSTEMD_UNIT={SERVER}").splitlines()

    def every_field(self) -> str:
        """All that is stored with every line, such as the command line of who wrote it."""
        return self._read("--output=export", "--all")

    def _read(self, *options: str) -> str:
        journalctl("--sync")
        return journalctl(f"--after-cursor={self._cursor}", *options)


def journalctl(*options: str) -> str:
    """What it says."""
    command = ["journalctl", "--no-pager", *options]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout


@pytest.fixture(scope="module")
def talkative(joblet: Installed) -> Iterator[Installed]:
    """A server that says all it has to say."""
    with configured("logs:\n  level: DEBUG\n"):
        yield joblet


def test_every_line_of_the_server_has_the_specified_format(talkative: Installed) -> None:
    journal = WholeJournal()
    one_of_each(talkative, {})

    lines = journal.of_the_server()

    assert [line for line in lines if not RECORD.fullmatch(line)] == []
    messages = {(found["level"], found["message"]) for line in lines if (found := RECORD.fullmatch(line))}
    assert messages >= {
        ("INFO", "job started successfully"),
        ("INFO", "job completed"),
        ("ERROR", "job failed"),
        ("WARN", "memory limit exceeded"),
        ("WARN", "job timed out"),
        ("INFO", "job stop requested"),
        ("INFO", "job stopped"),
    }


def test_a_line_names_its_job_and_when_it_was(talkative: Installed) -> None:
    journal = WholeJournal()

    ended, _ = talkative.run("sh", "-c", 'echo "hello"')

    (line,) = [line for line in journal.of_the_server() if "job started successfully" in line]
    found = RECORD.fullmatch(line)
    assert found is not None
    assert ended.started_at is not None
    assert found["time"][:17] == f"{ended.started_at:%Y-%m-%dT%H:%M:}"
    assert re.fullmatch(
        rf'jobId={ended.id} pid=\d+ command="sh -c echo \\"hello\\"" duration=\d+(\.\d)?ms', found["fields"] or ""
    )


def test_no_secret_value_is_in_any_line_of_the_journal(talkative: Installed) -> None:
    """Not even with DEBUG, nor in what the journal stores with a line, nor in the lines of another unit."""
    journal = WholeJournal()
    secret = secrets.token_hex(16)

    one_of_each(talkative, {"PASSWORD": secret})

    _, output = talkative.run("sh", "-c", 'echo "$PASSWORD"', secret_environment={"PASSWORD": secret})
    assert output == f"{secret}\n".encode()  # the job itself has it
    everything = journal.every_field()
    assert "job timed out" in everything
    assert secret not in everything


def one_of_each(joblet: Installed, secret: dict[str, str]) -> None:
    """A job for each way to end, and requests that are refused."""
    joblet.run("true", secret_environment=secret)
    joblet.run("no-such-command", secret_environment=secret)
    joblet.run("sh", "-c", "exit 3", secret_environment=secret)
    joblet.run("tail", "/dev/zero", memory_max_bytes=16 * MIB, secret_environment=secret)
    joblet.run("sleep", "60", timeout_s=1, secret_environment=secret)
    joblet.client.stop_job(joblet.start("sleep", "600", secret_environment=secret))
    for refused in ("no;good", ""):
        with pytest.raises(JobletError):
            joblet.start(refused, secret_environment=secret)
    with pytest.raises(JobletError):
        joblet.start("true", secret_environment={**secret, "NOT=A=NAME": "x"})
