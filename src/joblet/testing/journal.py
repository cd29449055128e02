"""
A server log that tests can read.

Runs in: tests. May not: be imported by production code.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the server log."""

    level: str
    message: str
    fields: Mapping[str, object]


class RecordedJournal:
    """`ports.Journal` that keeps every line."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def log(self, level: str, message: str, **fields: object) -> None:
        """See `ports.Journal.log`."""
        self.lines.append(Line(level, message, fields))

    def saying(self, message: str) -> list[Line]:
        """The lines with these words."""
        return [line for line in self.lines if line.message == message]

    def at(self, level: str) -> list[Line]:
        """The lines of this level."""
        return [line for line in self.lines if line.level == level]
