"""
How `rnx` draws a workflow, in every format.

The pages in `golden` are of one workflow with all there is to draw; the rest are facts about any.

Runs in: pytest.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.workflow.definition import All, Any, Condition, Definition, Is, JobDefinition, Not, Outcome
from joblet.rnx.graph import DRAWINGS
from joblet.rnx.graph.edges import Edge, edges_of
from joblet.rnx.graph.layers import levels_of

GOLDEN: Final = Path(__file__).parent / "golden"
SVG: Final = "{http://www.w3.org/2000/svg}"
EVIL: Final = '\x1b[2J "q" <b> &amp; \\ #35; `x` 1. | ]] --> \ud800'


def named_in(condition: Condition) -> list[str]:
    """The jobs in it, from left to right."""
    match condition:
        case Is(job, _):
            return [job]
        case Not(part):
            return named_in(part)
        case All(parts) | Any(parts):
            return [job for part in parts for job in named_in(part)]


def a_workflow(requires: Mapping[str, Condition]) -> Definition:
    return Definition(
        {
            name: JobDefinition(
                name, "true", requires=condition, dependencies=tuple(dict.fromkeys(named_in(condition)))
            )
            for name, condition in requires.items()
        }
    )


def completed(*jobs: str) -> Condition:
    return All(tuple(Is(job, Outcome.COMPLETED) for job in jobs))


def failed(job: str) -> Condition:
    return Is(job, Outcome.FAILED)


PIPELINE: Final = a_workflow(
    {
        "setup": All(),
        "lint": All(),
        "build": completed("setup"),
        "test": All((Is("setup", Outcome.COMPLETED), Is("lint", Outcome.FINISHED))),
        "package": completed("build", "test"),
        "alarm": Any((failed("build"), failed("test"))),
        "report": Any((completed("package"), All((Is("alarm", Outcome.FINISHED), Not(failed("setup")))))),
    }
)
CHAIN: Final = a_workflow(
    {f"job{number}": completed(f"job{number - 1}") if number else All() for number in range(10_000)}
)
EVERY_FORMAT: Final = pytest.mark.parametrize("form", DRAWINGS)


@st.composite
def workflows(draw: st.DrawFn) -> Definition:
    """Up to twenty jobs, each after any of those before it."""
    requires: dict[str, Condition] = {}
    for number in range(draw(st.integers(1, 20))):
        before = draw(st.lists(st.sampled_from(list(requires)), max_size=4, unique=True)) if requires else []
        requires[f"job{number}"] = completed(*before)
    return a_workflow(requires)


def page(form: str, definition: Definition) -> str:
    return "".join(f"{line}\n" for line in DRAWINGS[form](definition))


@EVERY_FORMAT
def test_the_drawing_of_a_pipeline(form: str) -> None:
    assert page(form, PIPELINE) == (GOLDEN / f"graph-{form}.txt").read_text(encoding="utf-8")


@EVERY_FORMAT
def test_a_chain_of_ten_thousand_jobs_is_drawn_whole(form: str) -> None:
    drawn = page(form, CHAIN)

    assert set(re.findall(r"\bjob\d+\b", drawn)) == set(CHAIN.jobs)


@EVERY_FORMAT
def test_a_job_that_waits_for_a_whole_chain_does_not_cost_the_square_of_it(form: str) -> None:
    names = [f"job{number}" for number in range(2000)]
    chain: dict[str, Condition] = {name: completed(before) for before, name in pairwise(names)}
    last = a_workflow({names[0]: All(), **chain, "last": completed(*names)})

    assert len(page(form, last)) < 1_000_000


@EVERY_FORMAT
def test_a_name_stays_a_name(form: str) -> None:
    """Nothing in it acts on a terminal, and nothing breaks out of its quotes."""
    drawn = page(form, a_workflow({EVIL: All(), "end": completed(EVIL)}))

    assert "\x1b" not in drawn
    drawn.encode()  # a lone surrogate could not be


@EVERY_FORMAT
def test_a_single_job_is_drawn(form: str) -> None:
    assert "alone" in page(form, a_workflow({"alone": All()}))


def test_an_expression_is_written_behind_a_long_name_too() -> None:
    drawn = DRAWINGS["text"](a_workflow({"x" * 100: All(), "b": completed("x" * 100)}))

    assert drawn == ["2 jobs in 2 levels", f"1  └─ {'x' * 100}", f"2  └─ b{' ' * 31}   needs {'x' * 100}: COMPLETED"]


DOT_TEXT = r'"(?:[^"\\]|\\["\\])*"'
DOT_LINE = re.compile(
    rf"digraph workflow {{|}}|    rankdir=LR;|    node \[shape=box\];|    {DOT_TEXT}( -> {DOT_TEXT}"
    rf"( \[(label={DOT_TEXT})?(, )?(style=dashed)?\])?)?;"
)


def test_every_line_of_dot_is_a_statement_whatever_the_names() -> None:
    for line in DRAWINGS["dot"](a_workflow({EVIL: All(), "a": Any((failed(EVIL), completed(EVIL)))})):
        assert DOT_LINE.fullmatch(line), line


MERMAID_TEXT = r'"(?:[\w .-]|#\d+;)*"'
MERMAID_LINE = re.compile(
    rf"flowchart LR|    n\d+\[{MERMAID_TEXT}\]|    n\d+ -(-|\.-)>(\|{MERMAID_TEXT}\|)? n\d+",
)


def test_every_line_of_mermaid_is_a_statement_whatever_the_names() -> None:
    for line in DRAWINGS["mermaid"](a_workflow({EVIL: All(), "- a": All(), "__b": failed(EVIL), "end": failed("- a")})):
        assert MERMAID_LINE.fullmatch(line), line


def test_what_would_be_markdown_in_mermaid_is_an_entity_and_an_underscore_in_a_word_is_not() -> None:
    drawn = DRAWINGS["mermaid"](a_workflow({"_a_b_": All(), "- c": All(), "d-e": All()}))

    assert drawn[1:] == ['    n0["#95;a_b#95;"]', '    n1["#45; c"]', '    n2["d-e"]']


@pytest.mark.parametrize(
    ("condition", "edges"),
    [
        (completed("a"), [Edge("a", "c", "", certain=True)]),
        (failed("a"), [Edge("a", "c", "FAILED", certain=True)]),
        (Not(failed("a")), [Edge("a", "c", "NOT FAILED", certain=False)]),
        (Not(Not(failed("a"))), [Edge("a", "c", "FAILED", certain=False)]),
        (Any((completed("a"), failed("a"))), [Edge("a", "c", "COMPLETED, FAILED", certain=False)]),
        (Any((completed("b"),)), [Edge("b", "c", "", certain=True)]),
        (
            All((completed("b"), Any((completed("a"), completed("b"))))),
            [Edge("b", "c", "", certain=True), Edge("a", "c", "", certain=False)],
        ),
    ],
)
def test_two_jobs_have_one_edge_however_often_the_condition_names_it(condition: Condition, edges: list[Edge]) -> None:
    assert edges_of(a_workflow({"a": All(), "b": All(), "c": condition})) == edges


@given(workflows())
def test_each_job_is_one_level_below_the_lowest_it_waits_for(definition: Definition) -> None:
    levels = levels_of(definition)
    level = {name: number for number, names in enumerate(levels) for name in names}

    assert sum(map(len, levels)) == len(definition.jobs)
    for name, job in definition.jobs.items():
        assert level[name] == 1 + max((level[other] for other in job.dependencies), default=-1)


def boxes_of(root: ElementTree.Element) -> dict[str, tuple[int, int, int, int]]:
    """Left, top, right and bottom of each job's box."""
    boxes = {}
    for group in root.iterfind(f"{SVG}g/{SVG}g"):
        rect, text = group.find(f"{SVG}rect"), group.find(f"{SVG}text")
        assert rect is not None
        assert text is not None
        left, top, width, height = (int(rect.get(name, "")) for name in ("x", "y", "width", "height"))
        boxes[text.text or ""] = (left, top, left + width, top + height)
    return boxes


@given(workflows())
def test_in_svg_no_box_touches_another_and_all_are_in_the_picture(definition: Definition) -> None:
    root = ElementTree.fromstring(page("svg", definition))
    boxes = list(boxes_of(root).values())

    assert len(boxes) == len(definition.jobs)
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert 0 < left < right < int(root.get("width", ""))
        assert 0 < top < bottom < int(root.get("height", ""))
        for other in boxes[:number]:
            assert right < other[0] or other[2] < left or bottom < other[1] or other[3] < top


@given(workflows())
def test_in_svg_an_edge_goes_past_the_boxes_between_its_ends(definition: Definition) -> None:
    root = ElementTree.fromstring(page("svg", definition))
    boxes = boxes_of(root)
    paths = [path.get("d", "") for path in root.iterfind(f"{SVG}g/{SVG}path")]

    for edge, path in zip(edges_of(definition), paths, strict=True):
        (_, begin), *rest = re.findall(r"([MCH])([\d ]+)", path)
        x, y = map(int, begin.split())
        source, target = boxes[edge.source], boxes[edge.target]
        assert (x, y) == (source[2], (source[1] + source[3]) // 2)
        for command, numbers in rest:
            end = int(numbers.split()[-2 if command == "C" else 0])
            for left, top, right, bottom in boxes.values():
                is_beside = right <= x or end <= left
                assert is_beside or (command == "H" and not top <= y <= bottom)
            x, y = end, int(numbers.split()[-1]) if command == "C" else y
        assert x < target[0]
        assert y == (target[1] + target[3]) // 2


def test_svg_shows_names_as_they_are_and_has_neither_script_nor_anything_from_elsewhere() -> None:
    drawn = page("svg", a_workflow({"<script>": All(), '&"b"': completed("<script>"), "漢字": All()}))
    root = ElementTree.fromstring(drawn)

    assert set(boxes_of(root)) == {"<script>", '&"b"', "漢字"}
    assert root.findtext(f"{SVG}title") == "Workflow of 3 jobs in 2 levels"
    assert "<script" not in drawn
    assert "style" not in drawn
    assert drawn.count("http") == 1  # its own namespace


def test_in_svg_two_chains_do_not_cross_though_the_file_names_their_jobs_crosswise() -> None:
    crosswise = a_workflow(
        {"a": All(), "b": All(), "of b": completed("b"), "of a": completed("a"), "end": completed("of a", "of b")}
    )
    boxes = boxes_of(ElementTree.fromstring(page("svg", crosswise)))

    assert (boxes["a"][1] < boxes["b"][1]) == (boxes["of a"][1] < boxes["of b"][1])
