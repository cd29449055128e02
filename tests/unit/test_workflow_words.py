"""
What a job waits for, in words.

Runs in: pytest.
"""

import pytest

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome
from joblet.domain.workflow.words import condition_text, requirement_text

A = Is("a", Outcome.COMPLETED)
B = Is("b", Outcome.FAILED)
C = Is("c", Outcome.FINISHED)


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (A, "a=COMPLETED"),
        (All(), "nothing"),
        (Any(()), "never"),
        (All((A, Any((B, C)))), "a=COMPLETED AND (b=FAILED OR c=FINISHED)"),
        (Any((All((A, B)), C)), "a=COMPLETED AND b=FAILED OR c=FINISHED"),
        (Any((A, All((B, C)))), "a=COMPLETED OR b=FAILED AND c=FINISHED"),
        (All((Any((A, B)), Any((B, C)))), "(a=COMPLETED OR b=FAILED) AND (b=FAILED OR c=FINISHED)"),
        (All((A, All((B, C)))), "a=COMPLETED AND b=FAILED AND c=FINISHED"),
        (Any((Any((A, B)), C)), "a=COMPLETED OR b=FAILED OR c=FINISHED"),
        (Not(A), "NOT a=COMPLETED"),
        (Not(Not(A)), "NOT NOT a=COMPLETED"),
        (Not(All((A, B))), "NOT (a=COMPLETED AND b=FAILED)"),
        (Not(Any((A, B))), "NOT (a=COMPLETED OR b=FAILED)"),
        (All((Not(A), B)), "NOT a=COMPLETED AND b=FAILED"),
        (Not(All((Any((A,)),))), "NOT a=COMPLETED"),
        (Not(Any((All((A, B)),))), "NOT (a=COMPLETED AND b=FAILED)"),
    ],
)
def test_parentheses_stand_only_where_it_would_read_otherwise(condition: Condition, text: str) -> None:
    assert condition_text(condition) == text


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        (A, "a: COMPLETED"),
        (All((A, B, C)), "a: COMPLETED, b: FAILED, c: FINISHED"),
        (All((A, All((B, C)))), "a: COMPLETED, b: FAILED, c: FINISHED"),
        (All(), "nothing"),
        (All((A, Not(B))), "a=COMPLETED AND NOT b=FAILED"),
        (Any((A, B)), "a=COMPLETED OR b=FAILED"),
    ],
)
def test_a_mere_list_reads_as_in_the_file_and_all_else_as_an_expression(condition: Condition, text: str) -> None:
    assert requirement_text(condition) == text


def test_a_condition_may_be_nested_deeper_than_python_recurses() -> None:
    deep: Condition = A
    for _ in range(10_000):
        deep = Not(All((deep, B)))

    text = condition_text(deep)

    assert text.startswith("NOT (NOT (")
    assert text.count("(") == text.count(")") == 10_000
