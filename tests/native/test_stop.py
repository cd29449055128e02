"""
The SIGTERM of a stop reaches the job before its grace begins, however late that is.

Init passes the signal on, and it shares the job's share of CPU: in a job that uses up all of a small one, init may
have to wait for longer than the grace. Here it is frozen instead, which is as late as can be.

Runs in: pytest, as root.
"""

import os
import select
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from joblet.domain.job import STOP_GRACE_MS, JobState
from tests.native.test_supervisor_recovery import command_of

if TYPE_CHECKING:
    from joblet.domain.job import JobId
    from tests.native.conftest import RealEngine, Scenario

pytestmark = pytest.mark.native

SAYS_GOODBYE = "trap 'echo goodbye; exit' TERM; echo ready; sleep 60 & wait"


async def ready(real: "RealEngine") -> tuple["JobId", int]:
    """A job that says goodbye on SIGTERM, and the pid of its init."""
    job_id, running = await real.start("sh", "-c", SAYS_GOODBYE)
    real.engine.watch_log(job_id)
    await real.until(lambda: real.log(job_id) == b"ready\n")
    return job_id, running.pid


def outlives(pid: int, span_s: float) -> bool:
    """Whether a process is still there after a while."""
    pidfd = os.pidfd_open(pid)
    try:
        return not select.select([pidfd], [], [], span_s)[0]
    finally:
        os.close(pidfd)


def test_a_job_that_is_told_late_has_its_grace_all_the_same(on_real_engine: "Callable[[Scenario], None]") -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, init = await ready(real)
        os.kill(init, signal.SIGSTOP)
        await real.engine.stop(job_id)
        assert outlives(command_of(init), 2 * STOP_GRACE_MS / 1000)

        os.kill(init, signal.SIGCONT)
        ended = await real.end(job_id)

        assert (ended.state, real.log(job_id)) == (JobState.STOPPED, b"ready\ngoodbye\n")

    on_real_engine(scenario)


def test_a_job_that_cannot_be_told_is_killed(on_real_engine: "Callable[[Scenario], None]") -> None:
    """Nothing that a job does to its init may keep it alive."""

    async def scenario(real: "RealEngine") -> None:
        job_id, init = await ready(real)
        os.kill(init, signal.SIGSTOP)

        await real.engine.stop(job_id)
        ended = await real.end(job_id)

        assert (ended.state, ended.exit_code, real.log(job_id)) == (JobState.STOPPED, -1, b"ready\n")

    on_real_engine(scenario)


def test_a_stop_that_init_passes_on_after_the_supervisor_was_killed_is_finished(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    """The next one found no word of it in the status file when it came."""

    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do :; done")
        real.engine.watch_log(job_id)
        await real.until(lambda: real.log(job_id) == b"ready\n")
        os.kill(running.pid, signal.SIGSTOP)
        attached = len(real.attached)
        await real.engine.stop(job_id)
        # A round trip, so that the supervisor has heard of it.
        with pytest.raises(Exception, match="exists"):
            await real.start("true", job_id=job_id)
        real.kill_supervisor()
        await real.until(lambda: len(real.attached) > attached)

        os.kill(running.pid, signal.SIGCONT)
        ended = await real.end(job_id)

        assert (ended.state, ended.exit_code, ended.reason) == (JobState.STOPPED, -1, "stopped on request")

    on_real_engine(scenario)
