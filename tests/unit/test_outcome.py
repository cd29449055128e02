"""How a job's end is worded, from what is known of it.

Runs in: pytest.
"""

import errno
import os
import signal

import pytest

from joblet.domain.job import JobState
from joblet.domain.reconcile import LOST_RUNNING
from joblet.supervisor.outcome import Evidence, Outcome, outcome, set_up_failure, stop_reason

EXIT_0, EXIT_3, SIGTERM, SIGKILL = 0, 3 << 8, int(signal.SIGTERM), int(signal.SIGKILL)


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(EXIT_0), Outcome(JobState.COMPLETED, 0)),
        (Evidence(EXIT_3), Outcome(JobState.FAILED, 3)),
        (Evidence(SIGTERM), Outcome(JobState.FAILED, 143, "killed by signal 15 (SIGTERM)", 15)),
        (Evidence(40), Outcome(JobState.FAILED, 168, "killed by signal 40 (40)", 40)),
        (Evidence(None), Outcome(JobState.FAILED, 137, "its init process was killed from outside", 9)),
        (Evidence(None, unwatched=True), Outcome(JobState.FAILED, 125, LOST_RUNNING)),
        (Evidence(EXIT_3, unwatched=True), Outcome(JobState.FAILED, 3)),
        (
            Evidence(127 << 8, failure="command not found: nothing"),
            Outcome(JobState.FAILED, 127, "command not found: nothing"),
        ),
        (Evidence(EXIT_0, stop_reason="stopped on request"), Outcome(JobState.STOPPED, -1, "stopped on request")),
        (Evidence(SIGTERM, stop_reason="r"), Outcome(JobState.STOPPED, -1, "r", 15)),
        (Evidence(None, stop_reason="r"), Outcome(JobState.STOPPED, -1, "r")),
        (
            Evidence(SIGKILL, oom_kills=1, memory_max_bytes=64 << 20),
            Outcome(JobState.FAILED, 137, "out of memory: 1 process was killed by the kernel (maxMemory: 64 MB)", 9),
        ),
        (
            Evidence(EXIT_0, oom_kills=2),
            Outcome(JobState.FAILED, 137, "out of memory: 2 processes were killed by the kernel"),
        ),
        (
            Evidence(EXIT_3, oom_kills=1),
            Outcome(JobState.FAILED, 3, "out of memory: 1 process was killed by the kernel"),
        ),
    ],
)
def test_the_end_is_what_the_evidence_says(evidence: Evidence, expected: Outcome) -> None:
    assert outcome(evidence) == expected


@pytest.mark.parametrize(
    ("stopping_ns", "timeout_s", "words"),
    [
        (100, 0, "stopped on request"),
        (1_500_000_099, 1.5, "stopped on request"),
        (1_500_000_100, 1.5, "timed out after 1.5 s"),
    ],
)
def test_a_stop_that_a_dead_supervisor_began_is_a_timeout_when_it_was_time(
    stopping_ns: int, timeout_s: float, words: str
) -> None:
    assert stop_reason(stopping_ns, started_ns=100, timeout_s=timeout_s) == words


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (os.CLD_EXITED, errno.ENOSPC, "no space left on device"),
        (os.CLD_KILLED, SIGKILL, "its init process was killed from outside"),
    ],
)
def test_an_init_that_could_not_tell_why_it_ends_tells_it_by_its_exit_status(
    code: int, status: int, words: str
) -> None:
    pid, uid = 1, 0

    assert set_up_failure(os.waitid_result((pid, uid, signal.SIGCHLD, status, code))) == words
