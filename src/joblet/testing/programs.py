"""
Scripts of programs, for the fake engine: what a command would print, when, and how it would end.

    prints(b"ready\\n").then_sleeps(3).then_exits(3)
    runs_forever().ignoring_sigterm()

A script without an end exits with 0 after its last step.

Runs in: tests. May not: be imported by production code.
"""

import signal
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Prints:
    """Writes these bytes to its output."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Sleeps:
    """Does nothing for a while."""

    seconds: float


Step = Prints | Sleeps


@dataclass(frozen=True, slots=True)
class Exits:
    """Exits; with `failure` it is a command that could not be executed (126, 127)."""

    code: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class KilledBy:
    """A signal ends it, and nobody of Joblet sent it."""

    signal: int


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The kernel kills it for memory."""


@dataclass(frozen=True, slots=True)
class Forever:
    """It never ends by itself; `again` is what it does over and over."""

    again: tuple[Step, ...] = ()


End = Exits | KilledBy | OutOfMemory | Forever


@dataclass(frozen=True, slots=True)
class Program:
    """
    One script. Its methods return a longer one.

    Args:
        ignores_sigterm: Only SIGKILL ends it.
        last_words: What it writes when it gets SIGTERM.
    """

    steps: tuple[Step, ...] = ()
    end: End = Exits(0)
    ignores_sigterm: bool = False
    last_words: bytes = b""

    def then_prints(self, data: bytes) -> "Program":
        """And then it writes these bytes."""
        return replace(self, steps=(*self.steps, Prints(data)))

    def then_sleeps(self, seconds: float) -> "Program":
        """And then it does nothing for so long."""
        return replace(self, steps=(*self.steps, Sleeps(seconds)))

    def then_exits(self, code: int) -> "Program":
        """And then it exits."""
        return replace(self, end=Exits(code))

    def then_killed_by(self, number: int) -> "Program":
        """And then a signal ends it."""
        return replace(self, end=KilledBy(number))

    def then_oom(self) -> "Program":
        """And then the kernel kills it for memory."""
        return replace(self, end=OutOfMemory())

    def then_runs_forever(self, *again: Step) -> "Program":
        """And then it goes on until it is stopped, repeating these steps (one of which must sleep)."""
        if again and not any(isinstance(step, Sleeps) and step.seconds > 0 for step in again):
            raise ValueError("a program that repeats steps without sleeping would stop the clock")
        return replace(self, end=Forever(again))

    def ignoring_sigterm(self) -> "Program":
        """The same, but only SIGKILL ends it early."""
        return replace(self, ignores_sigterm=True)

    def saying_at_sigterm(self, data: bytes) -> "Program":
        """The same, but it writes these bytes when it gets SIGTERM."""
        return replace(self, last_words=data)


_EMPTY: Final = Program()


def prints(data: bytes) -> Program:
    """A program that writes these bytes."""
    return _EMPTY.then_prints(data)


def sleeps(seconds: float) -> Program:
    """A program that does nothing for so long."""
    return _EMPTY.then_sleeps(seconds)


def exits(code: int) -> Program:
    """A program that exits at once."""
    return _EMPTY.then_exits(code)


def runs_forever() -> Program:
    """A program that ends only when it is stopped."""
    return _EMPTY.then_runs_forever()


def ignores_sigterm() -> Program:
    """A program that ends only when it is killed."""
    return runs_forever().ignoring_sigterm()


def killed_by(number: int) -> Program:
    """A program that a signal ends at once."""
    return _EMPTY.then_killed_by(number)


def oom() -> Program:
    """A program that the kernel kills for memory."""
    return _EMPTY.then_oom()


def cannot_execute(code: int, failure: str) -> Program:
    """A command that cannot be executed: its reason is the last line of its log."""
    return replace(prints(b"joblet: " + failure.encode() + b"\n"), end=Exits(code, failure))


def signal_name(number: int) -> str:
    """SIGTERM for 15; the number itself for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
