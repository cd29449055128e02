"""
How a job ended, from what is known of it: one pure function.

Runs in: supervisor. May not: do I/O.
Source: API specification, "Job Status Values", "StopJob"; bash(1) "EXIT STATUS" for 126, 127 and 128 + n.
"""

import os
import signal
from dataclasses import dataclass
from typing import Final

from joblet.domain.job import STOPPED_EXIT_CODE, TIMED_OUT, JobState, Usage
from joblet.domain.reconcile import LOST_RUNNING, UNKNOWN_EXIT_CODE
from joblet.engine.protocol import JobEnd

KILLED_EXIT_CODE: Final = 128 + signal.SIGKILL
INIT_KILLED: Final = "its init process was killed from outside"


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What is known when nothing of the job is left.

    Args:
        wait_status: Of the command, as wait(2) gives it; None when its init died before telling.
        stop_reason: Why a stop was asked for before the command ended; None when none was.
        oom_kills: Processes of the job that the kernel killed for memory.
        failure: Why the command could not be executed (exit code 126 or 127); empty otherwise.
        memory_max_bytes: For the words.
        unwatched: Its init died while no supervisor ran: with the machine, or with the supervisor before this one.
    """

    wait_status: int | None
    stop_reason: str | None = None
    oom_kills: int = 0
    failure: str = ""
    memory_max_bytes: int = 0
    unwatched: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is reported of it."""

    state: JobState
    exit_code: int
    reason: str = ""
    signal: int = 0


def outcome(evidence: Evidence) -> Outcome:
    """The one end that the evidence allows."""
    status = evidence.wait_status
    by_signal = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
    if evidence.stop_reason is not None:
        return Outcome(JobState.STOPPED, STOPPED_EXIT_CODE, evidence.stop_reason, by_signal)
    if status is None and evidence.unwatched:
        code, reason = UNKNOWN_EXIT_CODE, LOST_RUNNING
    elif status is None:
        code, reason = KILLED_EXIT_CODE, INIT_KILLED
        by_signal = signal.SIGKILL
    elif by_signal:
        code, reason = 128 + by_signal, f"killed by signal {by_signal} ({signal_name(by_signal)})"
    else:
        code, reason = os.WEXITSTATUS(status), evidence.failure
    if evidence.oom_kills:
        # A parent that does not notice its killed child and exits 0 must not look like success.
        code = code or KILLED_EXIT_CODE
        limit = f" (maxMemory: {evidence.memory_max_bytes // (1024 * 1024)} MB)" if evidence.memory_max_bytes else ""
        noun = "process was" if evidence.oom_kills == 1 else "processes were"
        reason = f"out of memory: {evidence.oom_kills} {noun} killed by the kernel{limit}"
    return Outcome(JobState.COMPLETED if code == 0 else JobState.FAILED, code, reason, by_signal)


def job_end(job_id: str, evidence: Evidence, started_ns: int, ended_ns: int, log_bytes: int, usage: Usage) -> JobEnd:
    """The message that tells this end."""
    found = outcome(evidence)
    return JobEnd(
        job_id=job_id,
        state=found.state.value,
        exit_code=found.exit_code,
        started_ns=started_ns,
        ended_ns=ended_ns,
        reason=found.reason,
        signal=found.signal,
        oom_killed=bool(evidence.oom_kills),
        log_bytes=log_bytes,
        cpu_usec=usage.cpu_usec,
        memory_peak_bytes=usage.memory_peak_bytes,
        io_read_bytes=usage.io_read_bytes,
        io_write_bytes=usage.io_write_bytes,
    )


def set_up_failure(end: os.waitid_result | None) -> str:
    """
    Why an init ended that has told nothing.

    Args:
        end: Of the init; None when it was another process's child.
    """
    # One that cannot write to its status file exits with the reason's number.
    number = end.si_status if end is not None and end.si_code == os.CLD_EXITED else 0
    return os.strerror(number).lower() if number else INIT_KILLED


def timeout_words(timeout_s: float) -> str:
    """Why a job was stopped that ran too long."""
    return f"{TIMED_OUT} {timeout_s:g} s"


def stop_reason(stopping_ns: int, started_ns: int, timeout_s: float) -> str:
    """
    Why a supervisor that left no word of it has stopped a job.

    Args:
        stopping_ns: When its init passed SIGTERM on.
        timeout_s: How long it might run; 0 for ever.
    """
    timed_out = timeout_s and stopping_ns >= started_ns + int(timeout_s * 1e9)
    return timeout_words(timeout_s) if timed_out else "stopped on request"


def signal_name(number: int) -> str:
    """SIGTERM for 15; the number itself for one without a name (a real-time signal)."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
