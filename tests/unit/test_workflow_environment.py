"""
What a variable of a workflow is: its own level before the one above, `${NAME}` in its value, and secrets that stay so.

Runs in: pytest.
"""

import re
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.workflow.environment import (
    MAX_SUBSTITUTED,
    MAX_VALUE_BYTES,
    MAX_VARIABLES,
    NOTHING,
    Fault,
    Level,
    Resolver,
    TooMuch,
    Value,
    shown_circle,
)

SECRET: Final = "hunter2"


def variables(plain: Mapping[str, str], secret: Mapping[str, str] | None = None) -> dict[str, Value]:
    return {name: Value(text, secret=False) for name, text in plain.items()} | {
        name: Value(text, secret=True) for name, text in (secret or {}).items()
    }


def resolved(
    plain: Mapping[str, str], secret: Mapping[str, str] | None = None, inherited: Level = NOTHING
) -> tuple[Level, list[Fault]]:
    return Resolver().level(variables(plain, secret), inherited)


def level(plain: Mapping[str, str], secret: Mapping[str, str] | None = None, inherited: Level = NOTHING) -> Level:
    """A level without a fault."""
    found, faults = resolved(plain, secret, inherited)
    assert faults == []
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "1"),
        ("${A}${A}", "11"),
        ("x${A}y${B}z", "x1y2z"),
        ("$A", "$A"),
        ("$", "$"),
        ("$$", "$$"),
        ("$$A", "$$A"),
        ("100$", "100$"),
        ("$${A}", "${A}"),
        ("$${", "${"),
        ("$$${A}", "$${A}"),
        ("$${A}${A}", "${A}1"),
        ("${A}$${A}", "1${A}"),
        ("{A}", "{A}"),
        ("$(A)", "$(A)"),
        ("${A}}", "1}"),
        ("$ {A}", "$ {A}"),
        ("größe ${A} 😀", "größe 1 😀"),
        ("line\n${A}\n", "line\n1\n"),
    ],
)
def test_a_value_is_put_together(text: str, value: str) -> None:
    found = level({"A": "1", "B": "2", "X": text})

    assert found.plain["X"] == value


def test_what_a_reference_brings_is_not_read_again() -> None:
    found = level({"A": "$${B}", "B": "no", "X": "${A}"})

    assert found.plain["X"] == "${B}"


def test_order_does_not_matter() -> None:
    assert level({"C": "${B}3", "B": "${A}2", "A": "1"}).plain == {"A": "1", "B": "12", "C": "123"}


def test_a_level_keeps_what_it_inherits_and_its_own_wins() -> None:
    top = level({"A": "1", "B": "2"})

    assert level({"B": "own", "C": "3"}, inherited=top).plain == {"A": "1", "B": "own", "C": "3"}


def test_a_level_without_its_own_is_the_inherited_one() -> None:
    top = level({"A": "1"})

    assert level({}, inherited=top) is top


def test_a_variable_in_its_own_value_is_the_inherited_one() -> None:
    top = level({"PATH": "/bin"})

    assert level({"PATH": "${PATH}:/x:${PATH}"}, inherited=top).plain == {"PATH": "/bin:/x:/bin"}


def test_a_reference_to_another_variable_takes_this_levels() -> None:
    top = level({"A": "top", "B": "${A}"})

    found = level({"A": "job", "C": "${A} ${B}"}, inherited=top)

    assert found.plain == {"A": "job", "B": "top", "C": "job top"}


def test_a_value_with_a_secret_in_it_is_a_secret() -> None:
    found = level({"URL": "http://${TOKEN}@host", "TWICE": "${URL}", "PLAIN": "x"}, {"TOKEN": SECRET})

    assert found.plain == {"PLAIN": "x"}
    assert found.secret == {
        "URL": f"http://{SECRET}@host",
        "TWICE": f"http://{SECRET}@host",
        "TOKEN": SECRET,
    }


def test_a_value_with_an_inherited_secret_in_it_is_a_secret() -> None:
    top = level({}, {"TOKEN": SECRET})

    assert level({"URL": "x${TOKEN}"}, inherited=top).secret == {"TOKEN": SECRET, "URL": f"x{SECRET}"}


def test_a_job_may_make_its_own_plain_variable_of_an_inherited_secrets_name() -> None:
    top = level({}, {"TOKEN": SECRET})

    found = level({"TOKEN": "none"}, inherited=top)

    assert (found.plain, found.secret) == ({"TOKEN": "none"}, {})


def test_a_name_of_nothing_is_a_fault_with_the_name() -> None:
    _, faults = resolved({"A": "${NONE}", "B": "${A}"})

    assert faults == [Fault("A", "refers to a variable that is not defined", "NONE")]


def test_a_name_of_nothing_in_a_secret_is_not_told() -> None:
    """It may be a piece of the secret: pa${ss}word."""
    _, faults = resolved({}, {"A": "pa${ss}word"})

    assert faults == [Fault("A", "refers to a variable that is not defined")]


def test_a_variable_that_is_set_only_in_a_level_below_is_not_defined() -> None:
    _, faults = resolved({"A": "${BELOW}"})

    assert [fault.unknown for fault in faults] == ["BELOW"]


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"A": "${A}"}, [Fault("A", "refers to itself, and there is no A to inherit")]),
        ({"A": "${B}", "B": "${A}"}, [Fault("A", "refers to itself: A -> B -> A")]),
        ({"X": "${A}", "A": "${B}", "B": "${C}", "C": "${A}"}, [Fault("A", "refers to itself: A -> B -> C -> A")]),
        (
            {"A": "${B}", "B": "${A}", "C": "${D}", "D": "${C}", "E": "${A}${C}"},
            [Fault("A", "refers to itself: A -> B -> A"), Fault("C", "refers to itself: C -> D -> C")],
        ),
        (
            {"A": "${B}${C}", "B": "${A}", "C": "${NONE}"},
            [
                Fault("A", "refers to itself: A -> B -> A"),
                Fault("C", "refers to a variable that is not defined", "NONE"),
            ],
        ),
    ],
)
def test_a_circle_is_told_once_and_each_circle(plain: dict[str, str], expected: list[Fault]) -> None:
    assert resolved(plain)[1] == expected


def test_a_circle_through_a_secret_is_told_without_its_way() -> None:
    """To which variables a secret's value refers is a part of it."""
    _, faults = resolved({"A": "${S}"}, {"S": "${A}"})

    assert faults == [Fault("A", "refers to itself, by others")]


def test_a_circle_is_one_also_when_the_names_are_inherited() -> None:
    """Which of the two should mean the inherited one, nobody could tell."""
    top = level({"A": "1", "B": "2"})

    _, faults = resolved({"A": "${B}", "B": "${A}"}, inherited=top)

    assert [fault.what for fault in faults] == ["refers to itself: A -> B -> A"]


def test_a_long_circle_is_shown_with_its_ends() -> None:
    names = [f"V{number}" for number in range(100)]

    _, faults = resolved({name: f"${{{names[(index + 1) % 100]}}}" for index, name in enumerate(names)})

    assert [fault.what for fault in faults] == [
        "refers to itself: V0 -> V1 -> V2 -> V3 -> V4 -> V5 -> ... -> V96 -> V97 -> V98 -> V99 -> V0"
    ]
    assert shown_circle(["a", "b", "a"]) == "a -> b -> a"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("${", "has a ${ without }; write $${ for ${ as it stands"),
        ("a ${B", "has a ${ without }; write $${ for ${ as it stands"),
        ("${}", "has ${}, which names no variable; write $${ for ${ as it stands"),
        ("${1}", "has ${1}, which names no variable; write $${ for ${ as it stands"),
        ("${A-x}", "has ${A-x}, which names no variable; write $${ for ${ as it stands"),
        ("${A\x1b}", r"has ${A\x1b}, which names no variable; write $${ for ${ as it stands"),
        ("${größe}", "has ${größe}, which names no variable; write $${ for ${ as it stands"),
        (f"${{{'-' * 50}}}", f"has ${{{'-' * 37}...}}, which names no variable; write $${{ for ${{ as it stands"),
    ],
)
def test_what_looks_like_a_reference_and_is_none_is_a_fault(text: str, what: str) -> None:
    assert resolved({"A": text})[1] == [Fault("A", what)]
    assert resolved({}, {"A": text})[1] == [
        Fault("A", "has a ${ without a name and } after it; write $${ for ${ as it stands")
    ]


def test_a_value_has_a_bound_in_bytes() -> None:
    assert level({"A": "x" * MAX_VALUE_BYTES}).plain["A"]
    assert resolved({"A": "ä" * (MAX_VALUE_BYTES // 2) + "x"})[1] == [Fault("A", "is larger than 65536 bytes")]
    assert resolved({"A": "x" * MAX_VALUE_BYTES, "B": "${A}x"})[1] == [Fault("B", "is larger than 65536 bytes")]


def test_references_of_all_levels_together_have_a_bound() -> None:
    resolver = Resolver()
    top, _ = resolver.level(variables({"A": "x" * MAX_VALUE_BYTES}), NOTHING)
    each = variables({"B": "${A}"})

    for _ in range(MAX_SUBSTITUTED // MAX_VALUE_BYTES):
        resolver.level(each, top)
    with pytest.raises(TooMuch, match="references make more than 16777216 characters of values"):
        resolver.level(each, top)


def test_variables_of_all_levels_together_have_a_bound() -> None:
    resolver = Resolver()
    top, _ = resolver.level(variables({f"V{number}": "" for number in range(1000)}), NOTHING)

    with pytest.raises(TooMuch, match=f"more than {MAX_VARIABLES} variables"):
        [resolver.level(variables({"A": ""}), top) for _ in range(1000)]


def test_a_chain_longer_than_python_recurses_is_followed() -> None:
    chain = {f"V{number}": f"${{V{number - 1}}}" for number in range(20_000, 0, -1)}

    assert level({**chain, "V0": "end"}).plain["V20000"] == "end"


def test_repr_shows_no_value() -> None:
    found, _ = resolved({"A": "${TOKEN}"}, {"TOKEN": SECRET})

    assert repr(found.values["TOKEN"]) == "Value(7 characters, secret=True)"
    assert SECRET not in repr(found.values)


NAMES: Final = ("A", "B", "C", "D")
PIECES: Final = st.sampled_from(["x", "$", "$${", "}", "${A}", "${B}", "${C}", "${D}", "${E}", "${", "${-}", "{"])
LEVELS: Final = st.dictionaries(
    st.sampled_from(NAMES), st.tuples(st.lists(PIECES, max_size=3).map("".join), st.booleans())
)


def naively(name: str, levels: list[dict[str, tuple[str, bool]]], busy: tuple[tuple[str, int], ...] = ()) -> Value:
    """Word for word what the rules say, by recursion; raises ValueError for every fault."""
    at = next((index for index in reversed(range(len(levels))) if name in levels[index]), None)
    if at is None or (name, at) in busy:
        raise ValueError(name)
    text, secret = levels[at][name]
    within = [*busy, (name, at)]
    out = ""
    for piece in re.findall(r"\$\$\{|\$\{[^}]*\}?|[^$]+|\$", text):
        if piece == "$${":
            out += "${"
        elif piece.startswith("${"):
            if not re.fullmatch(r"\$\{[A-E]\}", piece):
                raise ValueError(piece)
            other = piece[2]
            found = naively(other, levels[:at] if other == name else levels[: at + 1], tuple(within))
            out += found.text
            secret = secret or found.secret
        else:
            out += piece
    return Value(out, secret)


@given(LEVELS, LEVELS)
def test_two_levels_are_what_the_rules_say(top: dict[str, tuple[str, bool]], job: dict[str, tuple[str, bool]]) -> None:
    resolver = Resolver()
    above, faults = resolver.level({name: Value(*value) for name, value in top.items()}, NOTHING)
    found, more = resolver.level({name: Value(*value) for name, value in job.items()}, above)
    expected: dict[str, Value] = {}
    faulty = False
    for levels in ([top], [top, job]):
        for name in levels[-1]:
            try:
                expected[name] = naively(name, levels)
            except ValueError:
                faulty = True

    assert bool(faults + more) == faulty
    if not faulty:
        assert found.values == expected
        assert found.plain == {name: value.text for name, value in expected.items() if not value.secret}
        assert found.secret == {name: value.text for name, value in expected.items() if value.secret}
