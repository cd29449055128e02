"""
What `rnx` prints, byte for byte as in the specification.

Runs in: pytest.
"""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from joblet.client import Job, JobStatus, StoppedJob, Usage
from joblet.rnx.output import (
    escaped,
    job_object,
    listed_line,
    started_lines,
    status_lines,
    status_object,
    stopped_lines,
    stopped_object,
)

GOLDEN = Path(__file__).parent / "golden"
JOB_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
MIB = 1024 * 1024


def at(hour: int, minute: int) -> datetime:
    return datetime(2024, 1, 15, hour, minute, tzinfo=UTC)


def a_job(job_id: str = JOB_ID, command: str = "python3 script.py", status: str = "RUNNING", minute: int = 30) -> Job:
    program, *args = command.split(" ")
    return Job(
        id=job_id,
        status=status,
        command=program,
        args=tuple(args),
        cpu_max_percent=50,
        memory_max_bytes=512 * MIB,
        started_at=at(10, minute),
    )


def a_status(
    *, reason: str = "", limits_enforced: str = "yes", name: str = "", exit_code: int | None = None
) -> JobStatus:
    return JobStatus(
        id=JOB_ID,
        status="RUNNING" if exit_code is None else "FAILED",
        command="python3",
        args=("script.py",),
        name=name,
        cpu_max_percent=50,
        memory_max_bytes=512 * MIB,
        started_at=at(10, 30),
        exit_code=exit_code,
        ended_at=None if exit_code is None else at(10, 45),
        reason=reason,
        limits_enforced=limits_enforced,
        usage=Usage(cpu_usec=7),
    )


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_run_prints_the_layout_of_the_specification() -> None:
    assert text(*started_lines(a_job(status="INITIALIZING"))) == golden("run")


def test_status_prints_the_layout_of_the_specification() -> None:
    """The space after `Ended At:` belongs to it."""
    assert text(*status_lines(a_status())) == golden("status")


def test_stop_prints_the_layout_of_the_specification() -> None:
    stopped = StoppedJob(id=JOB_ID, status="STOPPED", ended_at=at(10, 45), exit_code=-1)

    assert text(*stopped_lines(stopped)) == golden("stop")


def test_list_prints_the_layout_of_the_specification() -> None:
    jobs = (
        a_job(command="echo hello", status="COMPLETED"),
        a_job("6ba7b810-9dad-11d1-80b4-00c04fd430c8", minute=35),
        a_job("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "invalid-command", "FAILED", 40),
    )

    assert text(*map(listed_line, jobs)) == golden("list")


def test_what_else_there_is_to_say_follows_the_specified_lines() -> None:
    lines = status_lines(
        a_status(reason="killed for memory", limits_enforced="no cgroups v2", name="nightly", exit_code=137)
    )

    assert list(lines[8:]) == [
        "ExitCode: 137",
        "Name: nightly",
        "Reason: killed for memory",
        "Limits: not enforced (no cgroups v2)",
    ]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ümläut 漢字", "plain ümläut 漢字"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("two\nlines\t\r", "two\\nlines\\t\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_nothing_in_a_listing_acts_on_a_terminal(given: str, shown: str) -> None:
    assert escaped(given) == shown


def test_every_text_a_stranger_may_have_written_is_escaped() -> None:
    evil = "\x1b[2J"
    job = Job(id=evil, status=evil, command=evil, args=(evil,), name=evil)
    status = JobStatus(
        id=evil, status=evil, command=evil, name=evil, cpu_cores=evil, reason=evil, limits_enforced=evil, usage=Usage()
    )
    stopped = StoppedJob(id=evil, status=evil, ended_at=None, exit_code=-1)

    printed = text(*started_lines(job), listed_line(job), *status_lines(status), *stopped_lines(stopped))

    assert "\x1b" not in printed


def test_times_are_shown_in_utc_and_whole_seconds() -> None:
    elsewhere = datetime(2024, 1, 15, 12, 30, 0, 999999, tzinfo=timezone(timedelta(hours=2)))
    job = Job(id=JOB_ID, status="RUNNING", command="true", started_at=elsewhere)

    assert "StartTime: 2024-01-15T10:30:00Z " in listed_line(job)


def test_the_json_of_a_job_has_these_fields() -> None:
    """Scripts rely on them: fields may be added, none may go or change its name."""
    assert job_object(a_job()) == {
        "id": JOB_ID,
        "name": "",
        "command": "python3",
        "args": ["script.py"],
        "status": "RUNNING",
        "startTime": "2024-01-15T10:30:00Z",
        "endTime": None,
        "exitCode": None,
        "maxCPU": 50,
        "cpuCores": "",
        "maxMemory": 512,
        "maxIOBPS": 0,
        "environment": {},
        "secret_environment": {},
    }


def test_the_json_of_a_status_has_these_fields_more() -> None:
    assert {
        key: value for key, value in status_object(a_status(exit_code=3)).items() if key not in job_object(a_job())
    } == {
        "workDir": "",
        "timeout": 0,
        "reason": "",
        "signal": 0,
        "oomKilled": False,
        "cpuUsageUsec": 7,
        "memoryPeakBytes": 0,
        "ioReadBytes": 0,
        "ioWriteBytes": 0,
        "logBytes": 0,
        "limitsEnforced": "yes",
    }


def test_the_json_of_a_stopped_job_has_these_fields() -> None:
    stopped = StoppedJob(id=JOB_ID, status="STOPPED", ended_at=at(10, 45), exit_code=-1)

    assert stopped_object(stopped) == {
        "id": JOB_ID,
        "status": "STOPPED",
        "endTime": "2024-01-15T10:45:00Z",
        "exitCode": -1,
    }
