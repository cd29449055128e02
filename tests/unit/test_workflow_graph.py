"""
What is wrong with a graph of jobs, against every end that its jobs can have: tried one by one, by the scheduler.

A job that is called impossible runs in none of them. The reverse holds where the jobs it names wait for nothing: then
each of them can end in each way whatever the others do.

Runs in: pytest.
"""

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.workflow.definition import All, Any, Condition, Definition, Is, JobDefinition, Not, Outcome
from joblet.domain.workflow.graph import Possibility, circles, jobs_in
from joblet.domain.workflow.schedule import Schedule, Start
from joblet.domain.workflow.states import NodeState

NAMES: Final = "abcd"
ENDS: Final = (NodeState.COMPLETED, NodeState.FAILED, NodeState.STOPPED)

A, B, C = (Is(name, Outcome.COMPLETED) for name in "abc")


def ran(definition: Definition, ends: Mapping[str, NodeState]) -> set[str]:
    """The jobs that ran when those that do end like this."""
    schedule = Schedule(definition)
    actions = deque(schedule.begin())
    started: set[str] = set()
    while actions:
        match actions.popleft():
            case Start(name):
                started.add(name)
                actions += schedule.started(name)
                actions += schedule.ended(name, ends[name])
    return started


def ever_ran(definition: Definition) -> set[str]:
    """The jobs that run with some ends of all."""
    names = list(definition.jobs)
    every = itertools.product(ENDS, repeat=len(names))
    return set().union(*(ran(definition, dict(zip(names, ends, strict=True))) for ends in every))


def conditions(names: str) -> st.SearchStrategy[Condition]:
    leaves = st.builds(Is, st.sampled_from(names), st.sampled_from(Outcome))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(lambda parts: All(tuple(parts))),
            st.lists(inner, min_size=1, max_size=4).map(lambda parts: Any(tuple(parts))),
            inner.map(Not),
        ),
        max_leaves=8,
    )


@st.composite
def definitions(draw: st.DrawFn, *, flat: bool) -> Definition:
    """
    Up to four jobs, each of which waits for any before it.

    Args:
        flat: All but the last wait for nothing.
    """
    names = NAMES[: draw(st.integers(2, len(NAMES)))]
    waits = {
        name: draw(conditions(names[:index])) if index and (not flat or name == names[-1]) else All()
        for index, name in enumerate(names)
    }
    lenient = draw(st.sets(st.sampled_from(names)))
    return Definition(
        {name: JobDefinition(name, "true", requires=waits[name], continue_on_failure=name in lenient) for name in names}
    )


def impossible(definition: Definition) -> dict[str, str]:
    """Those of which it is told that they can never run, and why."""
    possibility = Possibility({name for name, job in definition.jobs.items() if job.continue_on_failure})
    whys = {name: possibility.contradiction(job.requires) for name, job in definition.jobs.items()}
    return {name: why for name, why in whys.items() if why}


@given(definitions(flat=False))
def test_a_job_that_is_called_impossible_never_runs(definition: Definition) -> None:
    assert impossible(definition).keys().isdisjoint(ever_ran(definition))


@given(definitions(flat=True))
def test_a_job_that_names_only_jobs_that_wait_for_nothing_runs_or_is_called_impossible(definition: Definition) -> None:
    assert impossible(definition).keys() == definition.jobs.keys() - ever_ran(definition)


def test_what_the_named_jobs_themselves_wait_for_is_not_looked_at() -> None:
    """The job c waits for a failure of a, and for b, which does not run then: it is canceled, whatever happens."""
    failed = Is("a", Outcome.FAILED)
    definition = Definition(
        {
            "a": JobDefinition("a", "true"),
            "b": JobDefinition("b", "true", requires=A),
            "c": JobDefinition("c", "true", requires=All((failed, B))),
        }
    )

    assert impossible(definition) == {}
    assert ever_ran(definition) == {"a", "b"}


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (Not(Is("a", Outcome.FINISHED)), "NOT a=FINISHED never holds"),
        (All((A, Is("a", Outcome.FAILED))), "a=COMPLETED and a=FAILED contradict each other"),
        (All((Any((A, B)), Not(A), Not(B))), "no ends of a, b fulfil all that it requires"),
        (All((Any((A, B)), Any((A, C)))), ""),
        # Nothing is decided by b alone, though each last part of an All is.
        (
            All((Any((B, A)), Any((All((A, B)), All((A, B)))), Any((All((Not(A), B)), All((Not(A), B)))))),
            "no ends of b, a fulfil all that it requires",
        ),
    ],
)
def test_why_a_job_can_never_run_is_told(condition: Condition, why: str) -> None:
    assert Possibility(()).contradiction(condition) == why


def test_without_any_budget_everything_is_possible() -> None:
    hidden = All((Any((A, B)), Not(A), Not(B)))

    assert Possibility((), steps=0).contradiction(hidden) == ""


@given(conditions(NAMES))
def test_the_jobs_of_a_condition_come_in_its_order(condition: Condition) -> None:
    def naively(condition: Condition) -> list[str]:
        match condition:
            case Is(job):
                return [job]
            case Not(part):
                return naively(part)
            case All(parts) | Any(parts):
                return [name for part in parts for name in naively(part)]

    assert list(jobs_in(condition)) == naively(condition)


GRAPHS: Final = st.dictionaries(
    st.sampled_from("abcde"), st.lists(st.sampled_from("abcde"), unique=True, max_size=3)
).map(lambda waits: {name: waits.get(name, []) for name in dict.fromkeys([*waits, *"abcde"])})


@given(GRAPHS)
def test_there_is_one_circle_for_each_set_of_jobs_that_wait_for_each_other(graph: dict[str, list[str]]) -> None:
    behind = {name: reached(graph, name) for name in graph}
    knots = {
        frozenset(other for other in behind[name] if name in behind[other]) for name in graph if name in behind[name]
    }

    found = circles(graph)

    assert all(second in graph[first] for circle in found for first, second in itertools.pairwise(circle))
    assert all(circle[0] == circle[-1] and len(set(circle)) == len(circle) - 1 for circle in found)
    assert len(found) == len(knots)
    first_of = [min(knot, key=list(graph).index) for knot in knots]
    assert sorted((circle[0], len(circle) - 1) for circle in found) == sorted(
        (name, way_back(graph, name)) for name in first_of
    )


def reached(graph: Mapping[str, list[str]], name: str) -> set[str]:
    """The jobs that a job waits for, directly or through others."""
    found = set(graph[name])
    for _ in graph:
        found |= {other for each in found for other in graph[each]}
    return found


def way_back(graph: Mapping[str, list[str]], name: str) -> int:
    """Steps of the shortest way from a job back to it."""
    at, steps = {name}, 0
    while not steps or name not in at:
        at, steps = {other for each in at for other in graph[each]}, steps + 1
    return steps
