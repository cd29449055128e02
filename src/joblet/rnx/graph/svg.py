"""
A workflow as a picture for browsers and documents: SVG without scripts, styles or fonts of its own.

Boxes bring their own background, and lines are of the grey that stands out from white as from black, so it can be
put on any page. An edge that something else can stand in for is dashed; its words are the outcomes, unless it is
just COMPLETED. A box tells what its job waits for when the pointer rests on it.

The same workflow always gives the same bytes.

Runs in: the user's terminal. May not: do I/O.
Source: SVG 1.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from unicodedata import east_asian_width

from joblet.domain.workflow.definition import Definition, JobDefinition
from joblet.domain.workflow.words import requirement_text
from joblet.rnx.graph.edges import Edge, edges_of
from joblet.rnx.graph.layers import levels_of, size_text
from joblet.rnx.graph.layout import Layout, layout_of
from joblet.rnx.output import escaped

# Pixels. A character of a monospaced font is 0.6 as wide as high.
_CHARACTER: Final = 8
_FONT: Final = 13
_SMALL_CHARACTER: Final = 6
_SMALL_FONT: Final = 10
_PADDING: Final = 12
_BOX: Final = 28
_ROW: Final = 44
_LANE: Final = 16  # of an edge that goes past
_GAP: Final = 56
_MARGIN: Final = 8
_ARROW: Final = 8

_GREY: Final = "#767676"  # 4.5:1 to white, 4.6:1 to black
_PAPER: Final = "#f6f8fa"
_INK: Final = "#1f2328"

_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a job's box is, or a bend, which runs level across its column; `y` is its middle."""

    left: int
    right: int
    y: int


def lines(definition: Definition) -> list[str]:
    """See the module."""
    levels = levels_of(definition)
    edges = edges_of(definition)
    layout = layout_of(levels, edges)
    places = _placed(layout, edges)
    width = max(place.right for place in places.values()) + _MARGIN
    height = max(place.y for place in places.values()) + _ROW // 2 + _MARGIN
    routes = [[places[number] for number in route] for route in layout.routes]
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{_FONT}">',
        f"<title>Workflow of {size_text(levels)}</title>",
        f'<defs><marker id="arrow" viewBox="0 0 8 8" refX="0" refY="4" markerWidth="{_ARROW}" markerHeight="{_ARROW}"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="{_GREY}"/></marker></defs>',
        f'<g fill="none" stroke="{_GREY}" stroke-width="1.5">',
        *(_line(edge, route) for edge, route in zip(edges, routes, strict=True)),
        "</g>",
        f'<g fill="{_GREY}" font-size="{_SMALL_FONT}" text-anchor="middle">',
        *(_words(edge, route) for edge, route in zip(edges, routes, strict=True) if edge.words),
        "</g>",
        '<g text-anchor="middle">',
        *(_box(definition.jobs[name], places[number]) for number, name in enumerate(layout.names)),
        "</g>",
        "</svg>",
    ]


def _placed(layout: Layout, edges: Sequence[Edge]) -> dict[int, _Place]:
    """Jobs and bends by their numbers. Before a column there is room for the words of the edges that end there."""
    targets = {route[-1]: _GAP for route in layout.routes}
    for edge, route in zip(edges, layout.routes, strict=True):
        room = _cells(edge.words) * _SMALL_CHARACTER + 2 * _PADDING + _ARROW
        targets[route[-1]] = max(targets[route[-1]], room)
    jobs = len(layout.names)
    heights = [sum(_ROW if number < jobs else _LANE for number in column) for column in layout.columns]
    tallest = max(heights)
    places = {}
    right = _MARGIN
    for column, height in zip(layout.columns, heights, strict=True):
        left = right + max(targets.get(number, 0) for number in column)
        names = (layout.names[number] for number in column if number < jobs)
        right = left + max(_cells(escaped(name)) for name in names) * _CHARACTER + 2 * _PADDING
        top = _MARGIN + (tallest - height) // 2
        for number in column:
            row = _ROW if number < jobs else _LANE
            places[number] = _Place(left, right, top + row // 2)
            top += row
    return places


def _line(edge: Edge, route: Sequence[_Place]) -> str:
    drawn = [f"M{route[0].right} {route[0].y}"]
    for here, there in pairwise(route):
        is_last = there is route[-1]
        end = there.left - (_ARROW if is_last else 0)
        middle = (here.right + end) // 2
        drawn.append(f"C{middle} {here.y} {middle} {there.y} {end} {there.y}")
        if not is_last:
            drawn.append(f"H{there.right}")
    dashes = "" if edge.certain else ' stroke-dasharray="5 4"'
    return f'<path d="{"".join(drawn)}"{dashes} marker-end="url(#arrow)"/>'


def _words(edge: Edge, route: Sequence[_Place]) -> str:
    *_, here, there = route
    middle = (here.right + there.left - _ARROW) // 2
    return f'<text x="{middle}" y="{(here.y + there.y) // 2 - 4}">{_xml(edge.words)}</text>'


def _box(job: JobDefinition, place: _Place) -> str:
    needs = f" needs {requirement_text(job.requires)}" if job.dependencies else ""
    return (
        f"<g><title>{_xml(job.name + needs)}</title>"
        f'<rect x="{place.left}" y="{place.y - _BOX // 2}" width="{place.right - place.left}" height="{_BOX}" rx="4"'
        f' fill="{_PAPER}" stroke="{_GREY}"/>'
        f'<text x="{(place.left + place.right) // 2}" y="{place.y + 4}" fill="{_INK}">{_xml(job.name)}</text></g>'
    )


def _cells(text: str) -> int:
    """How wide it is, in characters: Chinese, Japanese and Korean ones count twice."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _xml(text: str) -> str:
    """For between tags: what XML allows in no form is not printable, and escaped before."""
    return escaped(text).translate(_ENTITIES)
