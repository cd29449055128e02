"""
The kinds of value a YAML file of ours may hold: each knows what it allows and says so.

Runs in: server loop at start, command lines. May not: know PyYAML (a value arrives as `Scalar`), do I/O.
Source: YAML 1.2 "10.3. Core Schema" for integers; Go's time.ParseDuration for durations, because the
specification's files are written for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class Scalar:
    """
    One value as it stands in the file.

    Args:
        text: Without quotes.
        quoted: It is text whatever it looks like.
    """

    text: str
    quoted: bool = False

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:57]}..."
        escaped = repr(shown)[1:-1]
        return f'"{escaped}"' if self.quoted else escaped


class NotAllowed(ValueError):
    """The value does not fit; the words follow the field's name in a message."""


class Kind(Protocol):
    """What a field's value must be."""

    @property
    def allowed(self) -> str:
        """What may stand there, for messages and for the documentation."""
        ...

    def parse(self, scalar: Scalar) -> object:
        """
        The value, in the units that the code uses.

        Raises:
            NotAllowed: It does not fit.
        """
        ...

    def show(self, value: object) -> str:
        """The value as it would be written in a file; what `parse` takes back."""
        ...


_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_LONGEST_INTEGER: Final = 20  # digits; beyond any range here, and int() of a whole file of digits is refused by Python


def _whole(scalar: Scalar, what: str) -> int:
    if not _INTEGER.fullmatch(scalar.text):
        raise NotAllowed(f"{scalar} is not {what}")
    if scalar.quoted:
        raise NotAllowed(f"{scalar} is text, not {what}; remove the quotes")
    if len(scalar.text) > _LONGEST_INTEGER:
        raise NotAllowed(f"{scalar} is out of range")
    return int(scalar.text)


@dataclass(frozen=True, slots=True)
class Integer:
    """
    A whole decimal number.

    Args:
        least, most: The range, both ends allowed, in the file's unit.
        unit: How the file counts, for the message.
        scale: The parsed value is the file's times this (a file counts memory in MB, the code in bytes).
    """

    least: int
    most: int
    unit: str = ""
    scale: int = 1

    @property
    def allowed(self) -> str:
        """See `Kind.allowed`."""
        return f"a whole number from {self.least} to {self.most}{f' ({self.unit})' if self.unit else ''}"

    def parse(self, scalar: Scalar) -> int:
        """See `Kind.parse`."""
        value = _whole(scalar, "a whole number")
        if not self.least <= value <= self.most:
            raise NotAllowed(f"{value} is out of range")
        return value * self.scale

    def show(self, value: object) -> str:
        """See `Kind.show`."""
        assert isinstance(value, int)
        return str(value // self.scale)


_SIZE: Final = re.compile(r"([0-9]{1,20}) ?([KMG])(?:i?B)?")
# The specification writes 524288 as "512KB": a K is 1024 here, with or without the i.
_SIZE_UNITS: Final[Mapping[str, int]] = {"K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True, slots=True)
class Size:
    """
    An amount of memory or of disk, parsed to bytes.

    Args:
        least, most: The range, both ends allowed.
        zero: What 0 means, when 0 is allowed below `least`.
    """

    least: int
    most: int
    zero: str = ""

    @property
    def allowed(self) -> str:
        """See `Kind.allowed`."""
        zero = f", or 0 for {self.zero}" if self.zero else ""
        return f"bytes such as 524288, or with a unit such as 512KiB or 4MiB, from {self.least} to {self.most}{zero}"

    def parse(self, scalar: Scalar) -> int:
        """See `Kind.parse`."""
        match = _SIZE.fullmatch(scalar.text)
        value = int(match[1]) * _SIZE_UNITS[match[2]] if match else _whole(scalar, "a size")
        if not (value == 0 and self.zero) and not self.least <= value <= self.most:
            raise NotAllowed(f"{scalar} is out of range")
        return value

    def show(self, value: object) -> str:
        """See `Kind.show`."""
        return str(value)


_DURATION: Final = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,9})?(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_LONGEST_DURATION: Final = 100  # characters; a file of 4 MiB could hold one of a million parts
# U+00B5 and U+03BC both: Go takes both. Decimal, because 0.1 must come out as 0.1.
_SECONDS: Final[Mapping[str, Decimal]] = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "\u00b5s": Decimal("1e-6"),
    "\u03bcs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}


@dataclass(frozen=True, slots=True)
class Duration:
    """
    A length of time such as 1h, 30s, 100ms or 1h30m, parsed to seconds.

    Args:
        least_s, most_s: The range, both ends allowed.
        zero: What 0 means, when 0 is allowed below `least_s`.
    """

    least_s: float
    most_s: float
    zero: str = ""

    @property
    def allowed(self) -> str:
        """See `Kind.allowed`."""
        zero = f", or 0 for {self.zero}" if self.zero else ""
        return (
            f"a duration such as 100ms, 30s, 5m or 1h30m, from {show_duration(self.least_s)}"
            f" to {show_duration(self.most_s)}{zero}"
        )

    def parse(self, scalar: Scalar) -> float:
        """See `Kind.parse`."""
        text = scalar.text
        if text == "0":
            value = 0.0
        elif len(text) <= _LONGEST_DURATION and _DURATION.fullmatch(text):
            value = float(sum(Decimal(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))
        elif re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            raise NotAllowed(f"{scalar} has no unit; did you mean {text}s?")
        else:
            raise NotAllowed(f"{scalar} is not a duration")
        if not (value == 0 and self.zero) and not self.least_s <= value <= self.most_s:
            raise NotAllowed(f"{scalar} is out of range")
        return value

    def show(self, value: object) -> str:
        """See `Kind.show`."""
        assert isinstance(value, float)
        return f'"{show_duration(value)}"'


def show_duration(seconds: float) -> str:
    """Seconds as a duration that `Duration` takes back: 5400.0 is 1h30m."""
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:.6f}".rstrip("0").rstrip(".") + "ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    last = f"{rest:.9f}".rstrip("0").rstrip(".")
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "") + (f"{last}s" if rest else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words. Quotes do not matter, so that `off` is a word and not a boolean."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """See `Kind.allowed`."""
        return f"one of {', '.join(self.words)}"

    def parse(self, scalar: Scalar) -> str:
        """See `Kind.parse`."""
        if scalar.text not in self.words:
            near = nearest(scalar.text, self.words)
            raise NotAllowed(f"{scalar} is not one of them{f'; did you mean {near}?' if near else ''}")
        return scalar.text

    def show(self, value: object) -> str:
        """See `Kind.show`."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Text:
    """
    Any text that `check` accepts.

    Args:
        what: What may stand there, for messages.
        check: Raises ValueError with words that follow the value, such as "has no port".
        most: Characters.
    """

    what: str = "text"
    check: Callable[[str], object] | None = None
    most: int = 4096

    @property
    def allowed(self) -> str:
        """See `Kind.allowed`."""
        return self.what

    def parse(self, scalar: Scalar) -> str:
        """See `Kind.parse`."""
        if not scalar.text:
            raise NotAllowed("is empty")
        if "\0" in scalar.text:
            raise NotAllowed(f"{scalar} contains a NUL character")
        if len(scalar.text) > self.most:
            raise NotAllowed(f"{scalar} is longer than {self.most} characters")
        if self.check is not None:
            try:
                self.check(scalar.text)
            except ValueError as error:
                raise NotAllowed(f"{scalar} {error}") from None
        return scalar.text

    def show(self, value: object) -> str:
        """See `Kind.show`."""
        escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'


def nearest(word: str, words: tuple[str, ...]) -> str:
    """The word a user most likely meant; empty when none is near."""
    by_lower = {known.lower(): known for known in words}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""
