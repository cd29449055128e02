"""Conditions decide themselves as early as the facts allow, and never change their mind."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.workflow.condition import Pending
from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome

C, F, E = Outcome.COMPLETED, Outcome.FAILED, Outcome.FINISHED

Holds = Mapping[Outcome, bool]

COMPLETED: Holds = {C: True, F: False, E: True}
FAILED: Holds = {C: False, F: True, E: True}
TOLERATED: Holds = {C: True, F: True, E: True}
OTHERWISE: Holds = {C: False, F: False, E: True}

JOBS = "abcd"
DEEP = 10_000

conditions: st.SearchStrategy[Condition] = st.recursive(
    st.builds(Is, st.sampled_from(JOBS), st.sampled_from(Outcome)),
    lambda inner: st.one_of(
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Any, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=8,
)
ends = st.fixed_dictionaries({job: st.sampled_from([COMPLETED, FAILED, TOLERATED, OTHERWISE]) for job in JOBS})


def truth_of(condition: Condition, ended: Mapping[str, Holds]) -> bool | None:
    """Kleene's three-valued logic, word by word."""
    match condition:
        case Is(job, outcome):
            return ended[job][outcome] if job in ended else None
        case Not(part):
            truth = truth_of(part, ended)
            return None if truth is None else not truth
        case All(parts):
            truths = [truth_of(part, ended) for part in parts]
            return False if False in truths else None if None in truths else True
        case Any(parts):
            truths = [truth_of(part, ended) for part in parts]
            return True if True in truths else None if None in truths else False


def after(condition: Condition, *ended: tuple[str, Holds]) -> bool | None:
    pending = Pending(condition)
    for name, holds in ended:
        pending.ended(name, holds)
    return pending.truth


@pytest.mark.parametrize(
    ("condition", "ended", "truth"),
    [
        (Is("a", C), [], None),
        (Is("a", C), [("a", COMPLETED)], True),
        (Is("a", C), [("a", FAILED)], False),
        (Is("a", C), [("a", TOLERATED)], True),
        (Is("a", F), [("a", TOLERATED)], True),
        (Is("a", F), [("a", COMPLETED)], False),
        (Is("a", E), [("a", OTHERWISE)], True),
        (Is("a", E), [("b", COMPLETED)], None),
        (Not(Is("a", C)), [], None),
        (Not(Is("a", C)), [("a", OTHERWISE)], True),
        (Not(Is("a", C)), [("a", COMPLETED)], False),
        (All(), [], True),
        (Any(()), [], False),
        (Not(All()), [], False),
        (Not(Any(())), [], True),
        (All((Is("a", C), Any(()))), [], False),
        (Any((Is("a", C), All())), [], True),
        (Any((Any(()), Is("a", C))), [], None),
        (Any((Any(()), Is("a", C))), [("a", FAILED)], False),
        (All((Is("a", C), Is("b", C))), [("a", COMPLETED)], None),
        (All((Is("a", C), Is("b", C))), [("b", FAILED)], False),
        (All((Is("a", C), Is("b", C))), [("b", COMPLETED), ("a", COMPLETED)], True),
        (Any((Is("a", C), Is("b", C))), [("b", COMPLETED)], True),
        (Any((Is("a", C), Is("b", C))), [("b", FAILED)], None),
        (Any((Is("a", C), Is("b", C))), [("b", FAILED), ("a", FAILED)], False),
        (Any((Is("a", C), Is("a", F))), [("a", FAILED)], True),
        (All((Is("a", C), Is("a", C))), [("a", COMPLETED)], True),
        (All((Is("a", F), Not(Is("a", F)))), [("a", FAILED)], False),
    ],
)
def test_each_word_means_what_the_specification_says(
    condition: Condition, ended: list[tuple[str, Holds]], truth: bool | None
) -> None:
    assert after(condition, *ended) is truth


@given(conditions, ends, st.permutations(JOBS))
def test_it_is_known_as_soon_as_three_valued_logic_knows_it(
    condition: Condition, ends: Mapping[str, Holds], order: list[str]
) -> None:
    pending = Pending(condition)
    ended: dict[str, Holds] = {}
    assert pending.truth is truth_of(condition, ended)

    for job in order:
        pending.ended(job, ends[job])
        ended[job] = ends[job]
        assert pending.truth is truth_of(condition, ended)
    assert pending.truth is not None


@given(conditions, ends)
def test_a_second_end_of_the_same_job_changes_nothing(condition: Condition, ends: Mapping[str, Holds]) -> None:
    pending = Pending(condition)
    pending.ended("a", ends["a"])
    known = pending.truth

    for other in (COMPLETED, FAILED, OTHERWISE):
        pending.ended("a", other)

    assert pending.truth is known


def test_the_order_of_the_ends_does_not_matter_to_what_it_is_in_the_end() -> None:
    condition = Any((All((Is("a", C), Not(Is("b", F)))), All((Is("c", E), Is("d", F)))))
    ends = {"a": COMPLETED, "b": FAILED, "c": OTHERWISE, "d": FAILED}

    truths = {after(condition, *((job, ends[job]) for job in order)) for order in itertools.permutations(JOBS)}

    assert truths == {True}


def test_it_names_each_job_it_follows_once() -> None:
    condition = All((Is("b", C), Any((Is("a", F), Not(Is("b", E))))))

    assert sorted(Pending(condition).names) == ["a", "b"]
    assert Pending(All()).names == []


@pytest.mark.parametrize("wrap", [Not, lambda part: All((part,)), lambda part: Any((part, Is("b", C)))])
def test_no_depth_is_too_deep(wrap: type[Not]) -> None:
    condition: Condition = Is("a", C)
    for _ in range(DEEP):
        condition = wrap(condition)

    assert after(condition, ("a", COMPLETED)) is True


def test_one_job_in_ten_thousand_places_decides_them_all() -> None:
    parts = tuple(Any((Is("a", F), Is(f"b{number}", C))) for number in range(DEEP))

    assert after(All(parts), ("a", FAILED)) is True
