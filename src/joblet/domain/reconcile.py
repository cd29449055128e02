"""
What to do when the engine answers: make the store and the machine agree.

One table decides. A row is what the store says, a column what the engine says:

                     | runs                  | has an end to tell | knows nothing of it
    INITIALIZING     | mark it RUNNING       | wait for the end   | it is lost
    RUNNING          | nothing (same start)  | wait for the end   | it is lost
    start in flight  | nothing: the start's own answer comes
    ended, or absent | kill it               | nothing            | nothing

Runs in: server loop. May not: do I/O, read a clock.
Source: docs/contributors.md, "After a crash".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from joblet.domain.job import Job, JobId, Running, Waiting

# What env(1), timeout(1) and nohup(1) return when they themselves fail: the command's own code is not known.
UNKNOWN_EXIT_CODE: Final = 125

LOST_IN_SETUP: Final = "lost: Joblet was interrupted while the job was being set up"
LOST_RUNNING: Final = "lost: the machine or Joblet's supervisor went down while the job ran"


@dataclass(frozen=True, slots=True)
class MarkRunning:
    """It has been started after all."""

    job_id: JobId
    running: Running


@dataclass(frozen=True, slots=True)
class MarkLost:
    """
    It will never be heard of again: FAILED, for this reason.

    The engine is told to stop it all the same: a set-up that outlives the server that asked
    for it runs nothing yet, and must not become a job that the store calls FAILED.
    """

    job_id: JobId
    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """It runs, but no answer to any user says so."""

    job_id: JobId


Action = MarkRunning | MarkLost | Kill


def reconcile(
    unfinished: Iterable[Job],
    *,
    running: Mapping[JobId, Running],
    ended: Collection[JobId],
    in_flight: Collection[JobId] = (),
) -> Sequence[Action]:
    """
    The actions that make store and engine agree, at most one a job.

    Args:
        unfinished: Every stored job that has not ended.
        running: What the engine runs.
        ended: Jobs whose end the engine is about to tell.
        in_flight: Jobs whose start has been asked for and not answered.
    """
    actions: list[Action] = []
    known = set(in_flight)
    for job in unfinished:
        if job.id in known:
            continue
        known.add(job.id)
        if job.id in running:
            if job.phase != running[job.id]:
                actions.append(MarkRunning(job.id, running[job.id]))
        elif job.id not in ended:
            reason = LOST_IN_SETUP if isinstance(job.phase, Waiting) else LOST_RUNNING
            actions.append(MarkLost(job.id, reason))
    actions += [Kill(job_id) for job_id in running if job_id not in known]
    return actions
