"""
What one part of a benchmark hands back: its figures, what is judged of them, and what is drawn.

Runs in: the contributor's terminal. May not: measure, print or draw.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Table:
    """
    Rows that are compared with each other; the first one is ours.

    Args:
        rows: By what was measured, a value for each round.
    """

    title: str
    unit: str
    rows: Mapping[str, Sequence[float]]

    @property
    def medians(self) -> dict[str, float]:
        """A value for each row."""
        return {what: statistics.median(values) for what, values in self.rows.items()}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A value and its target: one of `at_most` and `at_least`."""

    what: str
    value: float
    at_most: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Bars:
    """
    A chart of one bar a row.

    Args:
        name: Of the file, without its ending.
    """

    name: str
    title: str
    unit: str
    bars: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Lines:
    """
    A chart of one line a row.

    Args:
        name: Of the file, without its ending.
        lines: Points (x, y) by what they show.
    """

    name: str
    title: str
    x_unit: str
    unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Part:
    """
    Everything one part found out.

    Args:
        remarks: Sentences for the reader that are no figures of a table.
    """

    title: str
    tables: Sequence[Table]
    judgements: Sequence[Judgement]
    charts: Sequence[Bars | Lines] = ()
    remarks: Sequence[str] = field(default=())


class Measure(Protocol):
    """The one function of a part."""

    def __call__(self, rounds: int, *, smoke: bool) -> Part:
        """
        Measure.

        Args:
            smoke: Only show that it runs, in a few seconds; the figures mean nothing.
        """


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """
    The median of the rounds' ratios.

    Not the ratio of the medians: what ran one after the other in a round met the same machine, and that drifts.
    """
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
