"""
What `joblet doctor` found out: one fact, how much it matters, and the command that mends it.

Runs in: an administrator's terminal.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK: as it should be. WARN: jobs run, but something is missing. FAIL: no job can run."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One fact about this machine or installation.

    Args:
        subject: What was examined, in a word or two.
        what: What was found.
        mend: The command or setting that mends it; empty when nothing needs mending.
    """

    level: Level
    subject: str
    what: str
    mend: str = ""


def ok(subject: str, what: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, subject, what)


def warn(subject: str, what: str, mend: str) -> Finding:
    """Jobs run, but something is missing."""
    return Finding(Level.WARN, subject, what, mend)


def fail(subject: str, what: str, mend: str) -> Finding:
    """No job can run."""
    return Finding(Level.FAIL, subject, what, mend)
