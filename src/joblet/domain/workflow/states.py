"""
The states of a workflow and of its jobs, as the scheduler sees them: one table.

    PENDING ── started ──► RUNNING ── completed ─────────────► COMPLETED
       │  ▲                   ├────── failed ────────────────► FAILED
       │  │                   ├────── stopped ───────────────► STOPPED
       │  └── retried, lost ──┘
       ├── given up ─────────────────────────────────────────► FAILED      (stopped before it was tried again)
       └── canceled ─────────────────────────────────────────► CANCELED

Runs in: server loop. May not: do I/O.
Source: API specification, "Workflow API".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class NodeState(StrEnum):
    """Where a job of a workflow stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    CANCELED = "CANCELED"


class NodeEvent(StrEnum):
    """What can happen to a job of a workflow."""

    STARTED = "been started"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "failed and is tried again"
    GIVEN_UP = "failed and is not tried again after all"
    STOPPED = "been stopped"
    LOST = "never begun"
    CANCELED = "been canceled"


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    STOPPED = "STOPPED"


_S, _E = NodeState, NodeEvent

TRANSITIONS: Final[Mapping[NodeState, Mapping[NodeEvent, NodeState]]] = {
    _S.PENDING: {_E.STARTED: _S.RUNNING, _E.CANCELED: _S.CANCELED, _E.GIVEN_UP: _S.FAILED},
    _S.RUNNING: {
        _E.COMPLETED: _S.COMPLETED,
        _E.FAILED: _S.FAILED,
        _E.RETRIED: _S.PENDING,
        _E.STOPPED: _S.STOPPED,
        _E.LOST: _S.PENDING,
    },
    _S.COMPLETED: {},
    _S.FAILED: {},
    _S.STOPPED: {},
    _S.CANCELED: {},
}

ENDS: Final = frozenset(state for state, events in TRANSITIONS.items() if not events)


class IllegalEvent(Exception):
    """The event cannot happen to this job now; nothing has changed."""

    def __init__(self, name: str, state: NodeState, event: str) -> None:
        super().__init__(f"{name} is {state} and cannot have {event}")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many jobs there are, and how many ended how; stopped ones count as canceled."""

    total: int
    completed: int = 0
    failed: int = 0
    canceled: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    A recorded fact: a job was started.

    Args:
        state: How it ended (COMPLETED, FAILED or STOPPED), or RUNNING.
    """

    name: str
    state: NodeState
