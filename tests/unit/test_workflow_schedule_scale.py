"""Workflows of 10,000 jobs: they run to their end, without recursion, in steps that grow no faster than they do."""

import sys
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import pytest

from joblet.domain.workflow.definition import All, Condition, Definition, Is, JobDefinition, Outcome
from joblet.domain.workflow.schedule import (
    Cancel,
    Finished,
    Schedule,
    Start,
    Stop,
    resume,
)
from joblet.domain.workflow.states import (
    Attempt,
    Counts,
    NodeState,
    WorkflowState,
)

MANY: Final = 10_000
FEW: Final = 400
NOTHING: Final = All()
Graph = Callable[[int], list[list[int]]]  # for each job the numbers of those it waits for


def chain(count: int) -> list[list[int]]:
    return [[number - 1] if number else [] for number in range(count)]


def fan_out(count: int) -> list[list[int]]:
    return [[0] if number else [] for number in range(count)]


def fan_in(count: int) -> list[list[int]]:
    return [[] for _ in range(count - 1)] + [list(range(count - 1))]


def layers(count: int) -> list[list[int]]:
    """Of 20 jobs each; every one waits for three of the layer before it."""
    above = [[number // 20 * 20 - 20 + (number + step) % 20 for step in (0, 1, 10)] for number in range(count)]
    return [above[number] if number >= 20 else [] for number in range(count)]


GRAPHS: Final = [chain, fan_out, fan_in, layers]


def definition_of(graph: list[list[int]]) -> Definition:
    def requires(numbers: list[int]) -> Condition:
        return All(tuple(Is(str(number), Outcome.COMPLETED) for number in numbers)) if numbers else NOTHING

    return Definition({str(n): JobDefinition(str(n), "true", requires=requires(graph[n])) for n in range(len(graph))})


def run(schedule: Schedule) -> WorkflowState:
    """Every job is started and completes, in the order in which they were asked for."""
    actions = deque(schedule.begin())
    while True:
        match actions.popleft():
            case Start(name):
                actions += schedule.started(name)
                actions += schedule.ended(name, NodeState.COMPLETED)
            case Finished(state):
                assert not actions
                return state


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of Python it runs; this is no matter of time."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_thousand_jobs_run_to_their_end(graph: Graph) -> None:
    schedule = Schedule(definition_of(graph(MANY)))

    assert run(schedule) is WorkflowState.COMPLETED
    assert schedule.counts == Counts(MANY, MANY)


@pytest.mark.parametrize("graph", [chain, fan_out])
def test_one_failure_cancels_ten_thousand_jobs(graph: Graph) -> None:
    schedule = Schedule(definition_of(graph(MANY)))
    schedule.begin()
    schedule.started("0")

    *canceled, last = schedule.ended("0", NodeState.FAILED)

    assert [action.name for action in canceled if isinstance(action, Cancel)] == [str(n) for n in range(1, MANY)]
    assert last == Finished(WorkflowState.FAILED)


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_thousand_jobs_are_stopped_at_once(graph: Graph) -> None:
    schedule = Schedule(definition_of(graph(MANY)))
    schedule.begin()
    schedule.started("0")

    actions = schedule.stop()

    assert actions[0] == Stop("0")
    assert len(actions) == MANY
    assert schedule.ended("0", NodeState.STOPPED) == [Finished(WorkflowState.STOPPED)]


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_thousand_jobs_go_on_after_a_crash_in_the_middle(graph: Graph) -> None:
    half = [Attempt(str(number), NodeState.COMPLETED) for number in range(MANY // 2)]

    schedule, actions = resume(definition_of(graph(MANY)), half, stop_requested=False)

    assert schedule.counts == Counts(MANY, MANY // 2)
    assert all(isinstance(action, Start) and int(action.name) >= MANY // 2 for action in actions)
    assert actions


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_times_the_jobs_are_ten_times_the_steps(graph: Graph) -> None:
    def steps(count: int) -> int:
        definition = definition_of(graph(count))
        return lines_of(lambda: run(Schedule(definition)))

    assert steps(10 * FEW) / steps(FEW) < 11


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_times_the_jobs_are_ten_times_the_steps_of_a_stop_and_after_a_crash(graph: Graph) -> None:
    def steps(count: int) -> int:
        definition = definition_of(graph(count))
        half = [Attempt(str(number), NodeState.COMPLETED) for number in range(count // 2)]
        schedule = Schedule(definition)
        schedule.begin()
        return lines_of(lambda: (schedule.stop(), resume(definition, half, stop_requested=True)))

    assert steps(10 * FEW) / steps(FEW) < 11
