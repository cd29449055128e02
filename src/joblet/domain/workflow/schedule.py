"""
The scheduler of one workflow: events in, actions out.

A job that waits for a retry, or for room on the machine, is PENDING. Nothing here is ever stored: after a crash,
`resume` makes the same machine from the attempts that were recorded. So what happens follows from the set of facts
alone, not from when they were told.

Runs in: server loop. May not: do I/O, read a clock, wait.
Source: docs/contributors.md, "Workflows"; API specification, "Workflow API".
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from joblet.domain.workflow.condition import Pending
from joblet.domain.workflow.definition import Definition, JobDefinition, Outcome
from joblet.domain.workflow.states import (
    ENDS,
    TRANSITIONS,
    Attempt,
    Counts,
    IllegalEvent,
    NodeEvent,
    NodeState,
    WorkflowState,
)

LONGEST_BACKOFF_S: Final = 3600.0
STOPPED: Final = "the workflow was stopped"


_S, _E = NodeState, NodeEvent


@dataclass(frozen=True, slots=True)
class Start:
    """It may run: make an attempt as soon as there is room, then tell `Schedule.started`."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the attempt that runs; its end is told as any other."""

    name: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """It will never run. For the log only: it is done."""

    name: str
    because: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Tell `Schedule.retry_due` after so many seconds: this attempt is the `attempt`-th."""

    name: str
    attempt: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Every job has ended. Nothing comes after it."""

    state: WorkflowState


Action = Start | Stop | Cancel | Retry | Finished


@dataclass(slots=True)
class Node:
    """
    A job as the scheduler sees it; for others to read.

    Args:
        attempts: How often it was started.
        because: Why it was canceled; empty otherwise.
        ready: Its Start was given out and not yet answered.
        retrying: It waits for a retry.
    """

    definition: JobDefinition
    pending: Pending
    state: NodeState = NodeState.PENDING
    attempts: int = 0
    because: str = ""
    ready: bool = False
    retrying: bool = False


class Schedule:
    """
    One workflow under way. Each event gives the actions that follow from it, in order.

    Raises:
        IllegalEvent: By every event that cannot happen now; nothing has changed then.
    """

    def __init__(self, definition: Definition) -> None:
        self._nodes = {name: Node(job, Pending(job.requires)) for name, job in definition.jobs.items()}
        self._waiting: dict[str, list[Node]] = {name: [] for name in self._nodes}
        for node in self._nodes.values():
            for name in node.pending.names:
                self._waiting[name].append(node)
        self._ended = dict.fromkeys(ENDS, 0)
        self._left = len(self._nodes)
        self._started = 0
        self._failed = False
        self._finished = False
        self.stopping = False

    @property
    def state(self) -> WorkflowState:
        """Where the workflow stands."""
        if self._left:
            return WorkflowState.RUNNING if self._started else WorkflowState.PENDING
        # Whatever else it did: a person who stopped it before it was through finds it stopped.
        if self.stopping and self._ended[_S.COMPLETED] < len(self._nodes):
            return WorkflowState.STOPPED if self._started else WorkflowState.CANCELED
        if self._failed:
            return WorkflowState.FAILED
        return WorkflowState.STOPPED if self._ended[_S.STOPPED] else WorkflowState.COMPLETED

    @property
    def counts(self) -> Counts:
        """How far it has come."""
        ended = self._ended
        canceled = ended[_S.CANCELED] + ended[_S.STOPPED]
        return Counts(len(self._nodes), ended[_S.COMPLETED], ended[_S.FAILED], canceled)

    def job(self, name: str) -> Node:
        """One job."""
        return self._nodes[name]

    # Events

    def begin(self) -> Sequence[Action]:
        """Start what waits for nothing, in the order of the file."""
        return self._settle(self._decided(self._nodes.values()))

    def started(self, name: str) -> Sequence[Action]:
        """An attempt has been started, or is past calling off."""
        node = self._nodes[name]
        if not node.ready:
            raise IllegalEvent(name, node.state, _E.STARTED)
        self._step(node, _E.STARTED)
        self._begun(node)
        return ()

    def ended(self, name: str, state: NodeState) -> Sequence[Action]:
        """
        The attempt under way is over.

        Args:
            state: COMPLETED, FAILED or STOPPED (by a person).
        """
        node = self._nodes[name]
        if state is _S.FAILED and not self.stopping and node.attempts <= node.definition.retries.most:
            self._step(node, _E.RETRIED)
            return [self._retry(node)]
        self._step(node, _EVENT_OF[state])
        return self._settle(self._end(node))

    def not_started(self, name: str) -> Sequence[Action]:
        """The attempt turned out never to have run (a crash in its set-up): it is due again, and does not count."""
        node = self._nodes[name]
        self._step(node, _E.LOST)
        node.attempts -= 1
        self._started -= 1
        if self.stopping:
            return self._settle(self._call_off(node))
        node.ready = True
        return [Start(name)]

    def retry_due(self, name: str) -> Sequence[Action]:
        """The wait before a retry is over."""
        node = self._nodes[name]
        if not node.retrying:
            raise IllegalEvent(name, node.state, "a retry due")
        node.retrying = False
        node.ready = True
        return [Start(name)]

    def stop(self) -> Sequence[Action]:
        """Start nothing any more, and stop what runs. A second one, or one after the end, changes nothing."""
        if self.stopping or self._finished:
            return ()
        self.stopping = True
        actions: list[Action] = []
        for name, node in self._nodes.items():
            if node.state is _S.RUNNING:
                actions.append(Stop(name))
            elif node.state is _S.PENDING:
                actions += self._call_off(node)
        return self._settle(actions)

    # What follows

    def _step(self, node: Node, event: NodeEvent) -> None:
        try:
            node.state = TRANSITIONS[node.state][event]
        except KeyError:
            raise IllegalEvent(node.definition.name, node.state, event) from None
        node.ready = node.retrying = False

    def _begun(self, node: Node) -> None:
        node.attempts += 1
        self._started += 1

    def _retry(self, node: Node) -> Retry:
        node.retrying = True
        after_s = min(node.definition.retries.backoff_s * 2.0 ** (node.attempts - 1), LONGEST_BACKOFF_S)
        return Retry(node.definition.name, node.attempts + 1, after_s)

    def _cancel(self, node: Node, because: str) -> Cancel:
        self._step(node, _E.CANCELED)
        node.because = because
        return Cancel(node.definition.name, because)

    def _call_off(self, node: Node) -> list[Action]:
        if not node.attempts:
            return [self._cancel(node, STOPPED), *self._end(node)]
        # It has failed, and that it would have been tried again changes nothing about it.
        self._step(node, _E.GIVEN_UP)
        return self._end(node)

    def _end(self, node: Node) -> list[Action]:
        """It has ended: decide those that wait for it, and so on down the graph."""
        actions: list[Action] = []
        rest = deque([node])
        while rest:
            node = rest.popleft()
            self._count(node)
            for other in self._told(node):
                if other.pending.truth is None or other.state is not _S.PENDING or other.ready or other.retrying:
                    continue
                if other.pending.truth and not self.stopping:
                    other.ready = True
                    actions.append(Start(other.definition.name))
                elif not other.pending.truth:
                    because = STOPPED if self.stopping else f"{node.definition.name} {node.state}"
                    actions.append(self._cancel(other, because))
                    rest.append(other)
        return actions

    def _count(self, node: Node) -> None:
        self._ended[node.state] += 1
        self._left -= 1
        self._failed = self._failed or (node.state is _S.FAILED and not node.definition.continue_on_failure)

    def _told(self, node: Node) -> list[Node]:
        """Those that wait for it, having heard of its end."""
        name = node.definition.name
        failed = node.state is _S.FAILED
        holds = {
            Outcome.COMPLETED: node.state is _S.COMPLETED or (failed and node.definition.continue_on_failure),
            Outcome.FAILED: failed,
            Outcome.FINISHED: True,
        }
        waiting = self._waiting[name]
        self._waiting[name] = []
        for other in waiting:
            other.pending.ended(name, holds)
        return waiting

    def _decided(self, nodes: Iterable[Node]) -> list[Action]:
        """What is decided of jobs that wait, without another end."""
        actions: list[Action] = []
        for node in nodes:
            if node.state is not _S.PENDING or node.ready or node.retrying or node.pending.truth is None:
                continue
            if node.pending.truth:
                node.ready = True
                actions.append(Start(node.definition.name))
            else:
                actions += [self._cancel(node, "nothing can make it run"), *self._end(node)]
        return actions

    def _settle(self, actions: list[Action]) -> Sequence[Action]:
        if not self._left and not self._finished:
            self._finished = True
            actions.append(Finished(self.state))
        return actions

    # After a crash

    def _replay(self, attempts: Sequence[Attempt], *, stop_requested: bool) -> Sequence[Action]:
        for attempt in attempts:
            node = self._nodes[attempt.name]
            # As it was recorded: whether it might start then need not be judged again.
            node.state = _S.PENDING
            self._step(node, _E.STARTED)
            self._begun(node)
            if attempt.state is not _S.RUNNING:
                self._step(node, _EVENT_OF[attempt.state])
        ended: list[Node] = []
        actions: list[Action] = []
        for node in self._nodes.values():
            tries_left = node.attempts <= node.definition.retries.most
            if node.state is _S.FAILED and tries_left and not stop_requested:
                node.state = _S.PENDING
                actions.append(self._retry(node))
            elif node.state in ENDS:
                ended.append(node)
        for node in ended:
            actions += self._end(node)
        if stop_requested:
            return [action for action in (*actions, *self.stop()) if not isinstance(action, Start)]
        return self._settle(actions + self._decided(self._nodes.values()))


_EVENT_OF: Final = {_S.COMPLETED: _E.COMPLETED, _S.FAILED: _E.FAILED, _S.STOPPED: _E.STOPPED}


def resume(
    definition: Definition, attempts: Sequence[Attempt], *, stop_requested: bool
) -> tuple[Schedule, Sequence[Action]]:
    """
    The machine that has seen these facts, and what is still to be carried out.

    Args:
        attempts: In the order in which they were started, without those that never ran.
        stop_requested: Whether it was to be stopped; when does not matter.
    """
    schedule = Schedule(definition)
    return schedule, schedule._replay(attempts, stop_requested=stop_requested)
