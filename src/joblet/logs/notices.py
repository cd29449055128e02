"""
What the log system has to say to administrators.

Runs in: every thread of an `AsyncLogSystem`. May not: import outside the standard library.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

WARN_INTERVAL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for the server log: level, message and fields as `ports.Journal.log` takes them."""

    level: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)


class Warnings:
    """
    Warnings of what lasts: one at once, further ones only after WARN_INTERVAL_S.

    Args:
        notice: Called with each that is due, in the thread that warns.
    """

    def __init__(self, notice: Callable[[Notice], None], clock: Callable[[], float]) -> None:
        self._notice = notice
        self._clock = clock
        self._warned_s = -WARN_INTERVAL_S

    def warn(self, message: str, **fields: str) -> None:
        """Say it, if it is time."""
        now_s = self._clock()
        if now_s - self._warned_s >= WARN_INTERVAL_S:
            self._warned_s = now_s
            self._notice(Notice("WARN", message, fields))

    def over(self) -> None:
        """What was warned of has passed: the next warning is due at once."""
        self._warned_s = -WARN_INTERVAL_S
