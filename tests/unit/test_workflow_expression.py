"""
The language of conditions: what binds tighter, what a keyword is, and where exactly an expression goes wrong.

Random expressions are judged twice: by their parsed conditions, and by Python's own grammar, in which `or`, `and` and
`not` bind as ours do.

Runs in: pytest.
"""

import ast
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome
from joblet.domain.workflow.expression import MAX_DEPTH, InvalidExpression, Mention, parse

COMPLETED, FAILED, FINISHED = Outcome
A: Final = Is("a", COMPLETED)
B: Final = Is("b", FAILED)
C: Final = Is("c", FINISHED)


def condition(text: str) -> Condition:
    return parse(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=COMPLETED", A),
        ("b=FAILED", B),
        ("c=FINISHED", C),
        ("a=completed", A),
        ("  a  =  COMPLETED  ", A),
        ("\ta\n=\nCOMPLETED\n", A),
        ("(a=COMPLETED)", A),
        ("((a=COMPLETED))", A),
        ("a!=COMPLETED", Not(A)),
        ("a != COMPLETED", Not(A)),
        ("NOT a=COMPLETED", Not(A)),
        ("NOT NOT a=COMPLETED", Not(Not(A))),
        ("NOT a!=COMPLETED", Not(Not(A))),
        ("NOT(a=COMPLETED)", Not(A)),
        ("a IN (COMPLETED)", A),
        ("a IN (COMPLETED, FAILED)", Any((A, Is("a", FAILED)))),
        ("a in(COMPLETED,failed)", Any((A, Is("a", FAILED)))),
        ("NOT a IN (COMPLETED, FAILED)", Not(Any((A, Is("a", FAILED))))),
        ("a=COMPLETED AND b=FAILED", All((A, B))),
        ("a=COMPLETED OR b=FAILED", Any((A, B))),
        ("a=COMPLETED AND b=FAILED AND c=FINISHED", All((A, B, C))),
        ("a=COMPLETED OR b=FAILED OR c=FINISHED", Any((A, B, C))),
        ("a=COMPLETED OR b=FAILED AND c=FINISHED", Any((A, All((B, C))))),
        ("a=COMPLETED AND b=FAILED OR c=FINISHED", Any((All((A, B)), C))),
        ("(a=COMPLETED OR b=FAILED) AND c=FINISHED", All((Any((A, B)), C))),
        ("NOT a=COMPLETED AND b=FAILED", All((Not(A), B))),
        ("NOT a=COMPLETED OR b=FAILED", Any((Not(A), B))),
        ("NOT (a=COMPLETED AND b=FAILED)", Not(All((A, B)))),
        ("a=COMPLETED AND NOT b=FAILED", All((A, Not(B)))),
        ("a=COMPLETED AND (b=FAILED OR NOT c IN (FAILED, FINISHED))",
         All((A, Any((B, Not(Any((Is("c", FAILED), C)))))))),
        ("a=COMPLETED and b=FAILED Or not c=FINISHED", Any((All((A, B)), Not(C)))),
    ],
)  # fmt: skip
def test_an_expression_means_what_it_says(text: str, expected: Condition) -> None:
    assert condition(text) == expected


@pytest.mark.parametrize(
    ("text", "jobs"),
    [
        ("and=COMPLETED AND or=COMPLETED", ["and", "or"]),
        ("IN IN (FAILED)", ["IN"]),
        ("NOT=COMPLETED", ["NOT"]),
        ("not != COMPLETED", ["not"]),
        ("NOT NOT = COMPLETED", ["NOT"]),
        ("COMPLETED=COMPLETED", ["COMPLETED"]),
        ("1=COMPLETED", ["1"]),
        ("a.b-c_d=COMPLETED", ["a.b-c_d"]),
        ("a-=COMPLETED", ["a-"]),
    ],
)
def test_where_a_name_must_stand_every_word_is_one(text: str, jobs: list[str]) -> None:
    assert [mention.job for mention in parse(text)[1]] == jobs


def test_each_mention_of_a_job_has_its_place() -> None:
    _, mentions = parse("a=COMPLETED AND (bb=FAILED OR NOT a IN (FAILED))")

    assert mentions == (Mention("a", 0), Mention("bb", 17), Mention("a", 34))


A_JOB: Final = "expected the name of a job, NOT or (, not "
AN_OUTCOME: Final = "expected one of COMPLETED, FAILED, FINISHED, not "


@pytest.mark.parametrize(
    ("text", "what", "offset"),
    [
        ("", f"{A_JOB}the end", 0),
        ("   ", f"{A_JOB}the end", 3),
        ("()", f"{A_JOB})", 1),
        (")", f"{A_JOB})", 0),
        ("=COMPLETED", f"{A_JOB}=", 0),
        ("!=COMPLETED", f"{A_JOB}!=", 0),
        (", a=FAILED", f"{A_JOB},", 0),
        ("NOT", f"{A_JOB}the end", 3),
        ("a", "expected =, != or IN after a, not the end", 1),
        ("a b=FAILED", "expected =, != or IN after a, not b", 2),
        ("a COMPLETED", "expected =, != or IN after a, not COMPLETED", 2),
        ("a NOT IN (FAILED)", "expected =, != or IN after a, not NOT", 2),
        ("a(", "expected =, != or IN after a, not (", 1),
        ("NOT IN (FAILED)", "expected =, != or IN after IN, not (", 7),
        ("a=", f"{AN_OUTCOME}the end", 2),
        ("a=b", f"{AN_OUTCOME}b", 2),
        ("a=Completed", f"{AN_OUTCOME}Completed", 2),
        ("a=(COMPLETED)", f"{AN_OUTCOME}(", 2),
        ("a==COMPLETED", f"{AN_OUTCOME}=", 2),
        ("a IN", "expected ( after IN, not the end", 4),
        ("a IN COMPLETED", "expected ( after IN, not COMPLETED", 5),
        ("a IN ()", f"{AN_OUTCOME})", 6),
        ("a IN (FAILED,)", f"{AN_OUTCOME})", 13),
        ("a IN (FAILED", "expected , or ), not the end", 12),
        ("a IN (FAILED OR COMPLETED)", "expected , or ), not OR", 13),
        ("a=FAILED b=FAILED", "expected AND, OR or the end, not b", 9),
        ("a=FAILED)", "expected AND, OR or the end, not )", 8),
        ("a=FAILED NOT b=FAILED", "expected AND, OR or the end, not NOT", 9),
        ("a=FAILED = FAILED", "expected AND, OR or the end, not =", 9),
        ("(a=FAILED", "expected AND, OR or ), not the end", 9),
        ("(a=FAILED, b=FAILED)", "expected AND, OR or ), not ,", 9),
        ("a=FAILED && b=FAILED", "'&' cannot stand in an expression; write AND", 9),
        ("a=FAILED | b=FAILED", "'|' cannot stand in an expression; write OR", 9),
        ("! a=FAILED", "'!' cannot stand in an expression; write NOT", 0),
        ("a='FAILED'", '"\'" cannot stand in an expression', 2),
        ("ä=FAILED", "'ä' cannot stand in an expression", 0),
        ("a😀=FAILED", "'😀' cannot stand in an expression", 1),
        ("-a=FAILED", "'-' cannot stand in an expression", 0),
        ("a=FAILED\x00", r"'\x00' cannot stand in an expression", 8),
        ("a=\x1b[1m", r"'\x1b' cannot stand in an expression", 2),
        (f"a={'x' * 50}", f"{AN_OUTCOME}{'x' * 37}...", 2),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, what: str, offset: int) -> None:
    with pytest.raises(InvalidExpression) as refused:
        parse(text)

    assert (refused.value.what, refused.value.offset) == (what, offset)


@pytest.mark.parametrize("around", [("(", ")"), ("NOT ", ""), ("NOT (", ")")])
def test_nesting_ends_at_a_bound(around: tuple[str, str]) -> None:
    before, after = around
    weight = len(re.findall(r"NOT|\(", before))

    def nested(levels: int) -> str:
        return f"{before * levels}a=COMPLETED{after * levels}"

    parse(nested(MAX_DEPTH // weight))
    with pytest.raises(InvalidExpression, match="is nested more than 100 deep"):
        parse(nested(MAX_DEPTH // weight + 1))


def test_width_has_no_bound() -> None:
    wide = condition(" OR ".join(["a=COMPLETED"] * 10_000))

    assert isinstance(wide, Any)
    assert len(wide.parts) == 10_000


JOBS: Final = ("a", "not")
Truth = Mapping[tuple[str, str], bool]


@dataclass(frozen=True)
class Test:
    """What stands between keywords: a job, `=`, `!=` or `IN`, and outcomes as they are spelt."""

    __test__ = False

    job: str
    sign: str
    outcomes: tuple[str, ...]

    def words(self) -> list[str]:
        if self.sign != "IN":
            return [self.job, self.sign, self.outcomes[0]]
        return [self.job, "IN", "(", *" , ".join(self.outcomes).split(" "), ")"]

    def judged(self, truth: Truth) -> bool:
        return any(truth[self.job, outcome.upper()] for outcome in self.outcomes) is not (self.sign == "!=")


def holds(condition: Condition, truth: Truth) -> bool:
    match condition:
        case Is(job, outcome):
            return truth[job, outcome]
        case All(parts):
            return all(holds(part, truth) for part in parts)
        case Any(parts):
            return any(holds(part, truth) for part in parts)
        case Not(part):
            return not holds(part, truth)


def judged_by_python(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=bool(value)):
            return value
        case ast.BoolOp(op=ast.And(), values=values):
            return all(map(judged_by_python, values))
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(judged_by_python, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not judged_by_python(operand)
        case _:
            raise AssertionError(ast.dump(node))


def _spelt(word: str) -> st.SearchStrategy[str]:
    return st.sampled_from([word, word.lower()])


OUTCOMES: Final = st.sampled_from([*Outcome]).flatmap(_spelt)
TESTS: Final = st.builds(Test, st.sampled_from(JOBS), st.sampled_from(["=", "!="]), st.tuples(OUTCOMES)) | st.builds(
    Test, st.just("a"), st.just("IN"), st.lists(OUTCOMES, min_size=1, max_size=3).map(tuple)
)
EXPRESSIONS: Final[st.SearchStrategy[list[str | Test]]] = st.recursive(
    TESTS.map(lambda test: [test]),
    lambda inner: (
        st.builds(lambda left, word, right: [*left, word, *right], inner, st.sampled_from(["AND", "OR"]), inner)
        | st.builds(lambda parts: ["NOT", *parts], inner)
        | st.builds(lambda parts: ["(", *parts, ")"], inner)
    ),
    max_leaves=8,
)


@given(EXPRESSIONS, st.data())
def test_precedence_is_that_of_the_same_words_in_python(parts: list[str | Test], data: st.DataObject) -> None:
    keywords = {word: data.draw(_spelt(word)) for word in ("AND", "OR", "NOT", "IN")}
    space = data.draw(st.sampled_from([" ", "  ", "\n", "\t "]))
    words = [word for part in parts for word in (part.words() if isinstance(part, Test) else [part])]

    parsed = condition(space.join(keywords.get(word, word) for word in words))

    for values in itertools.product([False, True], repeat=len(JOBS) * len(Outcome)):
        truth = dict(zip(itertools.product(JOBS, map(str, Outcome)), values, strict=True))
        same = " ".join(str(part.judged(truth)) if isinstance(part, Test) else part.lower() for part in parts)
        assert holds(parsed, truth) == judged_by_python(ast.parse(same, mode="eval").body)


@given(st.text(alphabet="abAND ORNTI=!(),COMPLETED\n\0é") | st.text())
def test_whatever_the_text_it_is_a_condition_or_refused_with_a_place_in_it(text: str) -> None:
    places: list[tuple[str, int]] = []

    try:
        places += [(mention.job, mention.offset) for mention in parse(text)[1]]
    except InvalidExpression as error:
        places.append(("", error.offset))

    assert places
    assert all(0 <= offset <= len(text) and text[offset:].startswith(job) for job, offset in places)
