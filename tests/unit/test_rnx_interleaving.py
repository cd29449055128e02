"""
The output of several jobs in one stream.

Runs in: pytest.
"""

import itertools
import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.rnx.interleaving import COLOURS, LONGEST_HELD_BYTES, Prefixer, colours_wanted

JOBS = ("build", "test", "ümläut")
PRINTED = st.lists(
    st.tuples(st.sampled_from(JOBS), st.binary(max_size=12) | st.text("ab\n\r|> \x1b", max_size=12).map(str.encode)),
    max_size=60,
)


def stream(pieces: Sequence[tuple[str, bytes]], *, colour: bool = False) -> bytes:
    """All of it, each job closed at the end."""
    prefixer = Prefixer(JOBS, colour=colour)
    return b"".join([*(prefixer.feed(*piece) for piece in pieces), *map(prefixer.close, JOBS)])


def taken_apart(shown: bytes, *, colour: bool) -> dict[str, bytes]:
    """What each job printed, from a stream and what its documentation says."""
    before, after = (rb"\x1b\[0;\d+m", rb"\x1b\[0m") if colour else (b"", b"")
    found = dict.fromkeys(JOBS, b"")
    for line in shown.split(b"\n")[:-1]:
        match = re.match(before + rb"(\S+) *( [|>] )" + after, line)
        assert match, line
        job = match[1].decode()
        if match[2] == b" > ":
            found[job] = found[job].removesuffix(b"\n")
        found[job] += line[match.end() :] + b"\n"
    return found


def printed_by(job: str, pieces: Sequence[tuple[str, bytes]]) -> bytes:
    """As it must come out: with an end to its last line."""
    whole = b"".join(piece for name, piece in pieces if name == job)
    return whole if whole.endswith(b"\n") or not whole else whole + b"\n"


@given(PRINTED, st.booleans())
def test_without_the_prefixes_each_job_has_its_bytes_back(pieces: list[tuple[str, bytes]], colour: bool) -> None:
    found = taken_apart(stream(pieces, colour=colour), colour=colour)

    assert found == {job: printed_by(job, pieces) for job in JOBS}


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_how_a_job_s_output_was_split_does_not_show(printed: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(printed)) for cut in cuts), len(printed)]
    pieces = [("build", printed[begin:end]) for begin, end in itertools.pairwise(bounds)]

    assert stream(pieces) == stream([("build", printed)])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(JOBS), st.sampled_from((b"\n", b"x" * 30_000, b"y" * 70_000 + b"\n", b"z" * 140_000))
        ),
        max_size=12,
    )
)
def test_lines_that_had_to_be_cut_can_be_put_together_again(pieces: list[tuple[str, bytes]]) -> None:
    assert taken_apart(stream(pieces), colour=False) == {job: printed_by(job, pieces) for job in JOBS}


def test_names_are_padded_to_the_longest() -> None:
    assert stream([("test", b"3 passed\n"), ("ümläut", b"ok\n")]) == "test   | 3 passed\nümläut | ok\n".encode()


def test_a_line_is_held_back_until_it_ends() -> None:
    prefixer = Prefixer(JOBS)

    shown = [
        prefixer.feed("build", b"comp"),
        prefixer.feed("test", b"ok\n"),
        prefixer.feed("build", b"iling\nlin"),
        prefixer.close("build"),
        prefixer.close("build"),
    ]

    assert shown == [b"", b"test   | ok\n", b"build  | compiling\n", b"build  | lin\n", b""]


def test_a_job_that_printed_nothing_closes_without_a_line() -> None:
    assert Prefixer(JOBS).close("test") == b""


def test_a_line_that_is_too_long_to_hold_is_cut_and_its_rest_is_marked() -> None:
    prefixer = Prefixer(["a"])
    held = b"x" * LONGEST_HELD_BYTES

    shown = [prefixer.feed("a", held), prefixer.feed("a", b"y"), prefixer.feed("a", b"z\nnext\n")]

    assert shown == [b"", b"a | " + held + b"y\n", b"a > z\na | next\n"]


def test_what_a_job_prints_after_a_cut_and_a_close_is_a_line_of_its_own() -> None:
    """A further attempt of a job that failed does not go on with the line of the one before."""
    prefixer = Prefixer(["a"])
    prefixer.feed("a", b"x" * (LONGEST_HELD_BYTES + 1))
    prefixer.close("a")

    assert prefixer.feed("a", b"again\n") == b"a | again\n"


def test_two_attempts_of_a_job_are_not_mixed_in_one_line() -> None:
    """A retry may begin to print while the last of the attempt before it is still on its way."""
    prefixer = Prefixer(["a"], colour=True)

    shown = [
        prefixer.feed("a", b"abc", "1"),
        prefixer.feed("a", b"x\ny", "2"),
        prefixer.close("a", "1"),
        prefixer.feed("a", b"z\n", "2"),
    ]

    name = b"\x1b[0;36ma | \x1b[0m"
    assert shown == [b"", name + b"x\n", name + b"abc\n", name + b"yz\n"]


def test_memory_for_an_unfinished_line_has_a_bound() -> None:
    prefixer = Prefixer(["a"])

    shown = sum(len(prefixer.feed("a", b"x" * 1000)) for _ in range(1000))

    assert shown >= 1_000_000 - LONGEST_HELD_BYTES


def test_bytes_that_are_no_text_go_through_as_they_are() -> None:
    assert stream([("build", b"\xff\xfe\x00\r50%\r100%\x1b[31m\n")]) == b"build  | \xff\xfe\x00\r50%\r100%\x1b[31m\n"


def test_a_name_does_not_act_on_the_terminal() -> None:
    assert Prefixer(["\x1b[2J"]).feed("\x1b[2J", b"x\n") == b"\\x1b[2J | x\n"


def test_each_job_has_a_colour_by_the_order_in_which_they_appear() -> None:
    shown = stream([("test", b"1\n"), ("build", b"2\n"), ("test", b"3\n")], colour=True)

    assert shown == (
        b"\x1b[0;36mtest   | \x1b[0m1\n"  #
        b"\x1b[0;33mbuild  | \x1b[0m2\n"
        b"\x1b[0;36mtest   | \x1b[0m3\n"
    )


def test_colours_begin_again_when_there_are_more_jobs_than_colours() -> None:
    names = [f"job{number:02}" for number in range(len(COLOURS) + 1)]
    prefixer = Prefixer(names, colour=True)

    first, *_, last = (prefixer.feed(name, b"\n") for name in names)

    assert first.partition(b"job")[0] == last.partition(b"job")[0]


@pytest.mark.parametrize(
    ("environ", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "", "CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1", "TERM": "dumb"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_who_wants_colours(environ: Mapping[str, str], terminal: bool, pipe: bool) -> None:
    assert (colours_wanted(True, environ), colours_wanted(False, environ)) == (terminal, pipe)
