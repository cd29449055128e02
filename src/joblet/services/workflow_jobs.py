"""
A workflow's job, as the other services see it, and one of theirs as the scheduler does.

Runs in: server loop. May not: do I/O.
"""

import errno
import os
from collections.abc import Sequence
from typing import Final

from joblet.domain.errors import IsolationFailed
from joblet.domain.job import Ended, Job, JobState, Running
from joblet.domain.reconcile import LOST_IN_SETUP
from joblet.domain.workflow.definition import Definition, JobDefinition
from joblet.domain.workflow.states import NodeState
from joblet.domain.workflow.workflow import WorkflowJob
from joblet.services.request import JobRequest

_DISK_FULL: Final = tuple(os.strerror(number).lower() for number in (errno.ENOSPC, errno.EDQUOT))


def request_of(definition: JobDefinition) -> JobRequest:
    """A job as it is asked for, when its turn has come."""
    return JobRequest(
        command=definition.command,
        args=definition.args,
        cpu_max_percent=definition.cpu_max_percent,
        cpu_cores=definition.cpu_cores,
        memory_max_bytes=definition.memory_max_bytes,
        io_max_bytes_per_s=definition.io_max_bytes_per_s,
        timeout_s=definition.timeout_s,
        name=definition.name,
        work_dir=definition.work_dir,
        environment=definition.environment,
        secret_environment=definition.secret_environment,
    )


def definition_of(jobs: Sequence[Job]) -> Definition:
    """As much of a workflow as can be told from what it has made: its jobs, waiting for nothing."""
    found = {job.spec.name: job for job in jobs}
    return Definition(
        {name: JobDefinition(name, job.spec.command, dependencies=job.dependencies) for name, job in found.items()}
    )


def end_of(job: Job) -> NodeState | None:
    """What an attempt is to the scheduler; None when its command never ran and it is to be made again."""
    match job.phase:
        case Ended(state=JobState.COMPLETED):
            return NodeState.COMPLETED
        case Ended(started_ns=0, reason=reason) if reason == LOST_IN_SETUP or no_room_on_disk(job):
            return None
        case Ended(state=JobState.STOPPED, timed_out=False):
            return NodeState.STOPPED
        case Ended():
            return NodeState.FAILED
        case _:
            return NodeState.RUNNING


def no_room_on_disk(job: Job) -> bool:
    """Whether it was not set up because of a full disk: as when its record is refused, it waits."""
    phase = job.phase
    return (
        isinstance(phase, Ended)
        and not phase.started_ns
        and phase.reason.startswith(str(IsolationFailed("")))
        and any(words in phase.reason for words in _DISK_FULL)
    )


def made(job: Job, status: str, attempts: int, because: str = "") -> WorkflowJob:
    """
    A job of a workflow of which there is an attempt.

    Args:
        job: The newest attempt.
        because: Why it was canceled; empty otherwise.
    """
    phase = job.phase
    ended = phase if isinstance(phase, Ended) else None
    return WorkflowJob(
        name=job.spec.name,
        dependencies=job.dependencies,
        status=status,
        job_id=job.id,
        started_ns=phase.started_ns if isinstance(phase, Ended | Running) else 0,
        ended_ns=ended.ended_ns if ended is not None else 0,
        exit_code=ended.exit_code if ended is not None else 0,
        reason=because or (ended.reason if ended is not None else ""),
        attempts=attempts,
    )
