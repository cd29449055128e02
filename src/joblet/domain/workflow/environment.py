"""
Variables of a workflow: what inherits what, and `${NAME}` in their values.

    in a value     means
    ${NAME}        the value of NAME: of the same level, else of the level above
    ${SELF}        in the value of SELF: what the level above says
    $${            ${ as it stands
    $ otherwise    itself

A value with a secret in it is a secret. Chains of references are followed with a list, not by recursion, and what they
make is bounded: twenty variables that each name the one before twice would be a million times the first.

Runs in: server loop, command lines. May not: do I/O, know YAML.
Source: API specification, "Workflow API".
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_VALUE_BYTES: Final = 64 * 1024
MAX_SUBSTITUTED: Final = 16 * 1024 * 1024  # characters that references make in one workflow
MAX_VARIABLES: Final = 1_000_000  # of all jobs together, where a job's differ from the inherited

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Value:
    """A variable's value; `repr` never shows it, for it may be a secret."""

    text: str
    secret: bool

    def __repr__(self) -> str:
        return f"Value({len(self.text)} characters, secret={self.secret})"


@dataclass(frozen=True, slots=True)
class Fault:
    """
    Why a variable has no value.

    Args:
        name: Of the variable.
        what: In words that follow its name; of the value of a secret nothing is in them.
        unknown: The name that it refers to and that nothing has; empty for other faults, and where that is secret.
    """

    name: str
    what: str
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """Variables with every reference resolved, and as the two maps of a job."""

    values: Mapping[str, Value]
    plain: Mapping[str, str]
    secret: Mapping[str, str]


NOTHING: Final = Level({}, {}, {})


_Path = dict[str, tuple[list[str], Iterator[str]]]


class TooMuch(ValueError):
    """The workflow's variables take more room than any is given."""


class Resolver:
    """Resolves the levels of one workflow; what they may take together is counted in it."""

    def __init__(self) -> None:
        self._substituted = 0
        self._variables = 0

    def level(self, own: Mapping[str, Value], inherited: Level) -> tuple[Level, list[Fault]]:
        """
        What a level's variables are, its own before the inherited, and those that have no value.

        Raises:
            TooMuch: More than a workflow may hold.
        """
        if not own:
            return inherited, []
        self._variables += len(inherited.values) + len(own)
        if self._variables > MAX_VARIABLES:
            raise TooMuch(f"jobs have more than {MAX_VARIABLES} variables together, inherited ones included")
        faults: list[Fault] = []
        resolved: dict[str, Value] = {}
        for name in own:
            if name not in resolved:
                self._resolve(name, own, inherited.values, resolved, faults)
        values = {**inherited.values, **resolved}
        plain = {name: value.text for name, value in values.items() if not value.secret}
        secret = {name: value.text for name, value in values.items() if value.secret}
        return Level(values, plain, secret), faults

    def _resolve(
        self,
        first: str,
        own: Mapping[str, Value],
        inherited: Mapping[str, Value],
        resolved: dict[str, Value],
        faults: list[Fault],
    ) -> None:
        """Put `first` and whatever it needs into `resolved`; what has a fault is there as nothing."""
        path: _Path = {}  # what is being resolved, in the order of reference

        def enter(name: str) -> None:
            try:
                pieces = _pieces(own[name].text)
            except ValueError as error:
                faults.append(Fault(name, str(error) if not own[name].secret else _WITHOUT_WORDS))
                resolved[name] = Value("", own[name].secret)
            else:
                path[name] = pieces, iter(pieces[1::2])

        enter(first)
        while path:
            name = next(reversed(path))
            pieces, references = path[name]
            for reference in references:
                if reference in resolved or reference not in own:
                    continue
                if reference not in path:
                    enter(reference)
                    break
                if reference != name or name not in inherited:
                    faults.append(_circle(reference, path, own, resolved))
                    break
            else:
                del path[name]
                resolved[name] = self._join(name, pieces, own, inherited, resolved, faults)

    def _join(
        self,
        name: str,
        pieces: list[str],
        own: Mapping[str, Value],
        inherited: Mapping[str, Value],
        resolved: Mapping[str, Value],
        faults: list[Fault],
    ) -> Value:
        secret = own[name].secret
        texts = pieces[:]
        size = sum(map(len, pieces[::2]))
        for index in range(1, len(pieces), 2):
            reference = pieces[index]
            found = resolved.get(reference) if reference != name else None
            found = found or inherited.get(reference)
            if found is None:
                unknown = "" if own[name].secret else reference
                faults.append(Fault(name, "refers to a variable that is not defined", unknown))
                return Value("", secret)
            texts[index] = found.text
            size += len(found.text)
            secret = secret or found.secret
            if size > MAX_VALUE_BYTES:
                break
        if size <= MAX_VALUE_BYTES:
            if len(pieces) > 1:
                self._substituted += size
                if self._substituted > MAX_SUBSTITUTED:
                    raise TooMuch(f"references make more than {MAX_SUBSTITUTED} characters of values")
            text = "".join(texts)
            if len(text.encode()) <= MAX_VALUE_BYTES:
                return Value(text, secret)
        faults.append(Fault(name, f"is larger than {MAX_VALUE_BYTES} bytes"))
        return Value("", secret)


_WITHOUT_WORDS: Final = "has a ${ without a name and } after it; write $${ for ${ as it stands"


def _pieces(text: str) -> list[str]:
    """
    Text and names in turn, text first and last.

    Raises:
        ValueError: A ${ that is no reference.
    """
    if "${" not in text:  # as nearly all are
        return [text]
    pieces: list[str] = []
    literal = ""
    position = 0
    for match in _REFERENCE.finditer(text):
        if match.start() < position:
            continue
        literal += text[position : match.start()]
        if match[0] == "$${":
            literal += "${"
            position = match.end()
            continue
        end = text.find("}", match.end())
        if end < 0:
            raise ValueError("has a ${ without }; write $${ for ${ as it stands")
        name = text[match.end() : end]
        if not _NAME.fullmatch(name):
            shown = repr(name if len(name) <= 40 else f"{name[:37]}...")[1:-1]
            raise ValueError(f"has ${{{shown}}}, which names no variable; write $${{ for ${{ as it stands")
        pieces += [literal, name]
        literal = ""
        position = end + 1
    return [*pieces, literal + text[position:]]


def _circle(first: str, path: _Path, own: Mapping[str, Value], resolved: dict[str, Value]) -> Fault:
    """Take a circle off the end of the path: all its names are done, so that it is told once."""
    names: list[str] = []
    while first not in resolved:
        name, _ = path.popitem()
        names.append(name)
        resolved[name] = Value("", secret=False)
    names.reverse()
    if names == [first]:
        return Fault(first, f"refers to itself, and there is no {first} to inherit")
    if any(own[name].secret for name in names):
        return Fault(first, "refers to itself, by others")
    return Fault(first, f"refers to itself: {shown_circle([*names, first])}")


def shown_circle(circle: list[str]) -> str:
    """A circle from a name back to it, of which the middle is left out when it is long."""
    return " -> ".join(circle if len(circle) <= 12 else [*circle[:6], "...", *circle[-5:]])
