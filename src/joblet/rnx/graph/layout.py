"""
Where a drawing's jobs stand: in a column for each level, ordered so that few edges cross.

An edge over several levels gets a bend in each column between, so that it goes past the jobs there and not behind
them. A bend takes a place in its column as a job does. Columns are ordered by the median of the neighbours, forth,
back and forth again.

Runs in: the user's terminal. May not: do I/O, recurse.
Source: Eades and Wormald, "Edge crossings in drawings of bipartite graphs" (the median); Sugiyama, Tagawa and Toda,
"Methods for visual understanding of hierarchical system structures" (columns and bends).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from joblet.rnx.graph.edges import Edge

# Where a long chain's jobs are all waited for by the last one, bends grow with the square of the jobs.
_MOST_BENDS: Final = 4000
_SWEEPS: Final = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Jobs and bends as numbers: a job is its place in `names`, anything greater is a bend.

    Args:
        columns: From left to right, each from top to bottom.
        routes: For each edge the numbers it runs through, from source to target.
    """

    names: Sequence[str]
    columns: Sequence[Sequence[int]]
    routes: Sequence[Sequence[int]]


def layout_of(levels: Sequence[Sequence[str]], edges: Sequence[Edge]) -> Layout:
    """
    The layout of jobs in levels.

    Above some thousand bends long edges have none, and run straight.
    """
    names = [name for level in levels for name in level]
    numbers = {name: number for number, name in enumerate(names)}
    column_of = {name: column for column, level in enumerate(levels) for name in level}
    columns = [[numbers[name] for name in level] for level in levels]
    bends = sum(column_of[edge.target] - column_of[edge.source] - 1 for edge in edges)
    routes = []
    free = len(names)
    for edge in edges:
        route = [numbers[edge.source]]
        if bends <= _MOST_BENDS:
            for column in range(column_of[edge.source] + 1, column_of[edge.target]):
                columns[column].append(free)
                route.append(free)
                free += 1
        route.append(numbers[edge.target])
        routes.append(route)
    _uncross(columns, routes, free)
    return Layout(names, columns, routes)


def _uncross(columns: list[list[int]], routes: Iterable[Sequence[int]], count: int) -> None:
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for route in routes:
        for left, right in pairwise(route):
            before[right].append(left)
            after[left].append(right)
    height = [0.0] * count

    def place(column: list[int]) -> None:
        for index, number in enumerate(column):
            height[number] = index - (len(column) - 1) / 2  # from the middle, as columns are drawn

    for column in columns:
        place(column)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = before if forth else after
        for column in columns if forth else reversed(columns):
            wanted = {
                number: _median([height[other] for other in neighbours[number]], height[number]) for number in column
            }
            column.sort(key=wanted.__getitem__)
            place(column)


def _median(heights: list[float], otherwise: float) -> float:
    if not heights:
        return otherwise
    heights.sort()
    middle = len(heights) // 2
    return (heights[middle] + heights[~middle]) / 2
