"""
A workflow as users see it: how far it has come, and each of its jobs.

Runs in: server loop. May not: do I/O, read a clock.
Source: API specification, "Workflow Messages".
"""

from dataclasses import dataclass, field
from typing import NewType

from joblet.domain.workflow.states import Counts, WorkflowState

WorkflowId = NewType("WorkflowId", str)


@dataclass(frozen=True, slots=True)
class Workflow:
    """
    Args:
        name: What the user calls it: mostly the name of its file.
        created_ns: Nanoseconds since the epoch, as all times here; 0 for not yet.
        yaml: Its file, with the values of secrets masked.
        started_ns: When the first of its jobs was made.
        reason: Why it ended, where its jobs do not say so; empty otherwise.
    """

    id: WorkflowId
    name: str
    created_ns: int
    yaml: str = field(repr=False)
    counts: Counts
    state: WorkflowState = WorkflowState.PENDING
    started_ns: int = 0
    ended_ns: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkflowJob:
    """
    One job of a workflow.

    Args:
        status: PENDING until it is started, then as the job's own; CANCELED when it never will be.
        job_id: UUID of its newest attempt; empty when there was none.
        exit_code: 0 until it has ended.
        reason: Why it was canceled, or ended so; empty for a plain exit.
        attempts: How often it was started.
    """

    name: str
    dependencies: tuple[str, ...]
    status: str
    job_id: str = ""
    started_ns: int = 0
    ended_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    attempts: int = 0
