"""
What the server log says of a job's life, in the words of the specification.

Never part of a line: an environment variable's value.

Runs in: server loop. May not: decide anything.
Source: API specification, "Log Levels and Format".
"""

from typing import Final

from joblet.domain.job import Ended, Job, JobState, Running
from joblet.ports import Journal

_COMMAND_SHOWN: Final = 200

_END: Final = {
    JobState.COMPLETED: ("INFO", "job completed"),
    JobState.FAILED: ("ERROR", "job failed"),
    JobState.STOPPED: ("INFO", "job stopped"),
}


def milliseconds(span_ns: int) -> str:
    """A length of time as the specification's example writes it: `50ms`; tenths only where they matter, `0.4ms`."""
    span_ms = span_ns / 1_000_000
    return f"{span_ms:.0f}ms" if span_ms >= 10 else f"{span_ms:.1f}".removesuffix(".0") + "ms"


def started(journal: Journal, job: Job, running: Running, *, took_ns: int) -> None:
    """Its command runs; RunJob took so long."""
    journal.log(
        "INFO",
        "job started successfully",
        jobId=job.id,
        pid=running.pid,
        command=_command(job),
        duration=milliseconds(took_ns),
    )


def failed_to_start(journal: Journal, job: Job, error: BaseException) -> None:
    """Its command never ran."""
    journal.log("ERROR", "job failed to start", jobId=job.id, command=_command(job), error=str(error) or repr(error))


def ended(journal: Journal, job: Job, end: Ended) -> None:
    """It is over."""
    level, message = _END[end.state]
    facts: dict[str, object] = {"jobId": job.id, "exitCode": end.exit_code}
    if end.started_ns:
        facts["duration"] = milliseconds(end.ended_ns - end.started_ns)
    facts["logBytes"] = end.log_bytes
    if end.usage.cpu_usec:
        facts["cpu"] = milliseconds(end.usage.cpu_usec * 1000)
    if end.usage.memory_peak_bytes:
        facts["memoryPeakBytes"] = end.usage.memory_peak_bytes
    if end.reason:
        facts["reason"] = end.reason
    journal.log(level, message, **facts)
    if end.oom_killed:
        journal.log("WARN", "memory limit exceeded", jobId=job.id, maxMemoryBytes=job.spec.limits.memory_max_bytes)


def _command(job: Job) -> str:
    # Cut twice: joining 100,000 arguments to show 200 characters would cost the loop milliseconds.
    words = " ".join((job.spec.command, *job.spec.args[:_COMMAND_SHOWN]))
    return words if len(words) <= _COMMAND_SHOWN else f"{words[:_COMMAND_SHOWN]}…"
