"""
What the server writes to systemd's journal, and what nothing writes there.

Runs in: pytest in the test machine, as root.
Source: API specification, "Log Levels and Format".
"""

import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from installed import MIB, SERVER, Installed
from journal import RECORD, Journal
from settings import configured

from joblet.client import JobletError


@pytest.fixture(scope="module")
def talkative(joblet: Installed) -> Iterator[Installed]:
    """A server that says all it has to say."""
    with configured("logs:\n  level: DEBUG\n"):
        yield joblet


def test_every_line_of_the_server_has_the_specified_format(talkative: Installed) -> None:
    journal = Journal(SERVER)

    last = one_of_each(talkative, {})

    journal.until(f"job completed | jobId={last}")
    lines = journal.said()
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
    journal = Journal(SERVER)

    ended, _ = talkative.run("sh", "-c", 'echo "hello"')

    found = RECORD.fullmatch(journal.until(f"job started successfully | jobId={ended.id}"))
    assert found is not None
    assert ended.started_at is not None
    later = datetime.fromisoformat(found["time"]) - ended.started_at  # in whole seconds, rounded down
    assert timedelta(seconds=-1) < later < timedelta(minutes=1)
    assert re.fullmatch(
        rf'jobId={ended.id} pid=\d+ command="sh -c echo \\"hello\\"" duration=\d+(\.\d)?ms', found["fields"] or ""
    )


def test_no_secret_value_is_in_any_line_of_the_journal(talkative: Installed) -> None:
    """Not even with DEBUG, nor in what the journal stores with a line, nor in the lines of another unit."""
    journal = Journal(SERVER)
    secret = secrets.token_hex(16)

    last = one_of_each(talkative, {"PASSWORD": secret})

    _, output = talkative.run("sh", "-c", 'echo "$PASSWORD"', secret_environment={"PASSWORD": secret})
    assert output == f"{secret}\n".encode()  # the job itself has it
    journal.until(f"job completed | jobId={last}")
    everything = journal.of_everybody()
    assert "job timed out" in everything
    assert secret not in everything


def one_of_each(joblet: Installed, secret: dict[str, str]) -> str:
    """A job for each way to end, and requests that are refused; the id of the last job, which completes."""
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
    last, _ = joblet.run("true", secret_environment=secret)
    return last.id
