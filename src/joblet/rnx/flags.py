"""
Reads a command line the way Go's programs do: `--max-cpu=50`, `--max-cpu 50`, `-f`, `--follow=false`.

argparse is not used: it takes a switch's value only as a separate kind of flag, accepts abbreviations, reads on
past the job's command, and costs 10 ms at each start.

Runs in: the user's terminal. May not: print, import anything that is not loaded at once.
Source: API specification, "CLI Reference".
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

INT32_MAX: Final = 2**31 - 1
_MOST_DIGITS: Final = 15

Kind = Literal["string", "int", "bool", "duration", "list"]


class BadUsage(Exception):
    """The command line cannot be meant."""


class HelpWanted(Exception):
    """--help was found."""


class NotYet(Exception):
    """The specification names it, and this version does not have it yet."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not yet available in this version of rnx")


class Flag(NamedTuple):
    """One flag."""

    name: str
    kind: Kind
    help: str
    short: str = ""


class Verb(NamedTuple):
    """
    One command: what it is called, what it takes, and how it is explained.

    Args:
        operands: What follows the flags, for the usage line.
        least: Operands needed.
        most: Operands allowed; None for any number, and then everything after the first is the job's own.
    """

    name: str
    summary: str
    operands: str = ""
    least: int = 0
    most: int | None = 0
    flags: tuple[Flag, ...] = ()
    notes: str = ""
    examples: tuple[str, ...] = ()


class Values:
    """What a command line said."""

    def __init__(self) -> None:
        self.operands: list[str] = []
        self._texts: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._switches: dict[str, bool] = {}
        self._lists: dict[str, list[str]] = {}

    def given(self, name: str) -> bool:
        """Whether the flag stands on the command line."""
        return any(name in each for each in (self._texts, self._numbers, self._switches, self._lists))

    def text(self, name: str, default: str = "") -> str:
        """A string flag's value."""
        return self._texts.get(name, default)

    def number(self, name: str) -> int:
        """An int's value, a duration's whole seconds; 0 when it was not given."""
        return self._numbers.get(name, 0)

    def switch(self, name: str, *, default: bool) -> bool:
        """A bool flag's value."""
        return self._switches.get(name, default)

    def every(self, name: str) -> list[str]:
        """The values of a flag that may be repeated."""
        return self._lists.get(name, [])

    def set(self, flag: Flag, value: str) -> None:
        """
        Take a flag's value.

        Raises:
            BadUsage: It is not of the flag's kind.
        """
        match flag.kind:
            case "string":
                self._texts[flag.name] = value
            case "list":
                self._lists.setdefault(flag.name, []).append(value)
            case "int":
                self._numbers[flag.name] = _int(flag, value)
            case "duration":
                self._numbers[flag.name] = seconds(flag.name, value)
            case "bool":
                self._switches[flag.name] = _bool(flag, value)


def parse(arguments: Sequence[str], flags: Sequence[Flag], values: Values, *, stop_at_operand: bool) -> None:
    """
    Read arguments into `values`.

    Args:
        stop_at_operand: Everything from the first operand on is operands, also what looks like a flag.

    Raises:
        BadUsage: An unknown flag, a missing value or a wrong one.
        HelpWanted: --help or -h among the flags.
    """
    by_name = {f"--{flag.name}": flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            values.operands += rest
            return
        if argument.startswith("--"):
            name, given, value = argument.partition("=")
            if name == "--help":
                raise HelpWanted
            if name not in by_name:
                raise BadUsage(f"unknown flag: {name}{did_you_mean(name, by_name)}")
            _take(by_name[name], name, value if given else None, rest, values)
        elif argument.startswith("-") and argument != "-":
            _take_short(argument, by_short, rest, values)
        else:
            values.operands.append(argument)
            if stop_at_operand:
                values.operands += rest
                return


def _take(flag: Flag, shown: str, value: str | None, rest: list[str], values: Values) -> None:
    if value is None and flag.kind == "bool":
        value = "true"
    if value is None:
        if not rest:
            raise BadUsage(f"flag needs a value: {shown}")
        value = rest.pop(0)
    values.set(flag, value)


def _take_short(argument: str, by_short: dict[str, Flag], rest: list[str], values: Values) -> None:
    letters = argument[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter == "h":
            raise HelpWanted
        flag = by_short.get(letter)
        if flag is None:
            raise BadUsage(f"unknown flag: -{letter} in {argument}")
        if letters.startswith("="):
            value, letters = letters[1:], ""
            _take(flag, f"-{letter}", value, rest, values)
        elif flag.kind == "bool":
            _take(flag, f"-{letter}", None, rest, values)
        else:
            _take(flag, f"-{letter}", letters or None, rest, values)
            letters = ""


def _int(flag: Flag, value: str) -> int:
    digits = value[1:] if value[:1] in ("+", "-") else value
    if not (digits.isascii() and digits.isdigit()):  # int() takes more: other scripts' digits, spaces, 1_000
        raise BadUsage(f"--{flag.name} must be a whole number (given: {value!r})")
    # Python refuses to convert thousands of digits.
    if len(digits) > _MOST_DIGITS or abs(int(value)) > INT32_MAX:
        raise BadUsage(f"--{flag.name} is out of range (given: {value}, at most {INT32_MAX})")
    return int(value)


def _bool(flag: Flag, value: str) -> bool:
    # The words of Go's strconv.ParseBool.
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise BadUsage(f"--{flag.name} must be true or false (given: {value!r})")


def seconds(name: str, value: str) -> int:
    """
    The whole seconds of a duration such as 90s, 1h30m or 1.5m.

    Raises:
        BadUsage: Not a duration, not whole seconds, or out of range.
    """
    import re
    from fractions import Fraction

    unit_s = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}
    number = f"[0-9]{{1,{_MOST_DIGITS}}}"
    if not re.fullmatch(rf"({number}(\.{number})?(ms|s|m|h))+", value):
        raise BadUsage(f"--{name} must be a duration such as 90s, 10m or 1h30m (given: {value!r})")
    total = sum(Fraction(number) * unit_s[unit] for number, unit in re.findall(r"([0-9.]+)(ms|s|m|h)", value))
    if total.denominator != 1 or not 1 <= total <= INT32_MAX:
        raise BadUsage(f"--{name} must be whole seconds, at least 1s (given: {value!r})")
    return int(total)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint at the known word nearest to this one; may be empty."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


def check_operands(verb: Verb, operands: Sequence[str]) -> None:
    """
    Refuse too few or too many operands.

    Raises:
        BadUsage: With what is missing or too much.
    """
    if len(operands) < verb.least:
        raise BadUsage(f"rnx {verb.name} needs {verb.operands}")
    if verb.most is not None and len(operands) > verb.most:
        surplus = " ".join(operands[verb.most :])
        raise BadUsage(f"rnx {verb.name} takes {verb.operands or 'no arguments'} (too much: {surplus})")
