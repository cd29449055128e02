"""
Writes what a user or a script reads: the specification's layouts, JSON, and a job's bytes as they are.

Text on stdout is what the specification shows; notes and errors go to stderr. Names, commands and reasons come
from whoever started the job, so control characters in them are escaped: a listing must not act on a terminal.

JSON (`--output json`) is UTF-8 with the field names of the API: `job_object`, `status_object`, `stopped_object`.
With `run --follow` stderr has one document a line.
Times are RFC 3339 or null, `exitCode` is null until the job has ended. Fields may be added, never renamed.

Runs in: the user's terminal. May not: know the wire.
Source: API specification, the "Expected Response" blocks and "Error Response Format".
"""

import sys
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from joblet.client import Job, JobStatus, StoppedJob

MIB: Final = 1024 * 1024


class Output(NamedTuple):
    """
    Where a command's output goes.

    Args:
        as_json: `--output json`.
    """

    stdout: BinaryIO
    stderr: BinaryIO
    stdout_is_terminal: bool
    as_json: bool = False

    def lines(self, *lines: str) -> None:
        """Text for stdout."""
        self.stdout.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
        self.stdout.flush()

    def data(self, payload: bytes) -> None:
        """A job's own bytes for stdout, at once."""
        self.stdout.write(payload)
        self.stdout.flush()

    def json(self, value: object) -> None:
        """One JSON document for stdout."""
        self.lines(json_text(value, indent=2))

    def json_line(self, value: object) -> None:
        """One JSON document on a line of its own, of several."""
        self.lines(json_text(value))

    def note(self, *lines: str) -> None:
        """Text for stderr."""
        self.stderr.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
        self.stderr.flush()

    def remark(self, text: str) -> None:
        """A line for stderr beside the results; between JSON documents it is one too: {"note": "…"}."""
        self.note(json_text({"note": text}) if self.as_json else text)


def standard_output() -> Output:
    """The process's own; a closed stream swallows what is written."""
    return Output(
        stdout=_binary(sys.stdout),
        stderr=_binary(sys.stderr),
        stdout_is_terminal=sys.stdout is not None and sys.stdout.isatty(),
    )


def _binary(stream: object) -> BinaryIO:
    buffer = getattr(stream, "buffer", None)
    if buffer is None:  # started with the descriptor closed
        return open("/dev/null", "wb")
    found: BinaryIO = buffer
    return found


def json_text(value: object, indent: int | None = None) -> str:
    """JSON as it is printed: UTF-8 is not escaped."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def escaped(text: str) -> str:
    """Text from a stranger, with whatever a terminal might act on made visible."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def time_text(time: "datetime | None") -> str:
    """As the specification shows times: UTC, whole seconds; empty when not yet known."""
    return "" if time is None else f"{_utc(time):%Y-%m-%dT%H:%M:%SZ}"


def command_line(job: "Job") -> str:
    """A job's command and arguments as one line."""
    return escaped(" ".join((job.command, *job.args)))


def started_lines(job: "Job") -> "Sequence[str]":
    """The layout of "RunJob"."""
    return (
        "Job started:",
        f"ID: {escaped(job.id)}",
        f"Command: {command_line(job)}",
        f"Status: {escaped(job.status)}",
        f"StartTime: {time_text(job.started_at)}",
        f"MaxCPU: {job.cpu_max_percent}",
        f"MaxMemory: {job.memory_max_bytes // MIB}",
        "Network: host (shared with system)",
    )


def status_lines(status: "JobStatus") -> "Sequence[str]":
    """The layout of "GetJobStatus", then what else there is to say about this job."""
    lines = [
        f"Id: {escaped(status.id)}",
        f"Command: {command_line(status)}",
        f"Status: {escaped(status.status)}",
        f"Started At: {time_text(status.started_at)}",
        f"Ended At: {time_text(status.ended_at)}",
        f"MaxCPU: {status.cpu_max_percent}",
        f"MaxMemory: {status.memory_max_bytes // MIB}",
        f"MaxIOBPS: {status.io_max_bytes_per_s}",
        f"ExitCode: {status.exit_code or 0}",
    ]
    if status.name:
        lines.append(f"Name: {escaped(status.name)}")
    if status.cpu_cores:
        lines.append(f"CpuCores: {escaped(status.cpu_cores)}")
    if status.reason:
        lines.append(f"Reason: {escaped(status.reason)}")
    if status.limits_enforced not in ("", "yes"):
        lines.append(f"Limits: not enforced ({escaped(status.limits_enforced)})")
    return lines


def listed_line(job: "Job") -> str:
    """The layout of "ListJobs"."""
    return (
        f"{escaped(job.id)} {escaped(job.status)} StartTime: {time_text(job.started_at)} Command: {command_line(job)}"
    )


def stopped_lines(job: "StoppedJob") -> "Sequence[str]":
    """The layout of "StopJob"."""
    return (
        "Job stopped successfully:",
        f"ID: {escaped(job.id)}",
        f"Status: {escaped(job.status)}",
        f"ExitCode: {job.exit_code}",
        f"EndTime: {time_text(job.ended_at)}",
    )


def job_object(job: "Job") -> dict[str, object]:
    """A job for JSON."""
    return {
        "id": job.id,
        "name": job.name,
        "command": job.command,
        "args": list(job.args),
        "status": job.status,
        "startTime": time_or_null(job.started_at),
        "endTime": time_or_null(job.ended_at),
        "exitCode": job.exit_code,
        "maxCPU": job.cpu_max_percent,
        "cpuCores": job.cpu_cores,
        "maxMemory": job.memory_max_bytes // MIB,
        "maxIOBPS": job.io_max_bytes_per_s,
        "environment": dict(job.environment),
        "secret_environment": dict(job.secret_environment),
    }


def status_object(status: "JobStatus") -> dict[str, object]:
    """A job with everything known about it, for JSON."""
    return {
        **job_object(status),
        "workDir": status.work_dir,
        "timeout": status.timeout_s,
        "reason": status.reason,
        "signal": status.signal,
        "oomKilled": status.oom_killed,
        "cpuUsageUsec": status.usage.cpu_usec,
        "memoryPeakBytes": status.usage.memory_peak_bytes,
        "ioReadBytes": status.usage.io_read_bytes,
        "ioWriteBytes": status.usage.io_write_bytes,
        "logBytes": status.log_bytes,
        "limitsEnforced": status.limits_enforced,
    }


def stopped_object(job: "StoppedJob") -> dict[str, object]:
    """A stopped job for JSON."""
    return {
        "id": job.id,
        "status": job.status,
        "endTime": time_or_null(job.ended_at),
        "exitCode": job.exit_code,
    }


def time_or_null(time: "datetime | None") -> str | None:
    """For JSON."""
    return None if time is None else _utc(time).isoformat().replace("+00:00", "Z")


def _utc(time: "datetime") -> "datetime":
    from datetime import UTC

    return time.astimezone(UTC)
