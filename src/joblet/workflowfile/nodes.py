"""
Takes YAML nodes apart, and collects what is wrong with them: mappings, lists and values, each with its place.

Nodes and their characters are counted as they are taken, an alias as often as it is used, so a bomb of aliases ends at
a bound; and so does a file of nothing but problems. It never recurses along the file: whoever asks for a part says what
it is, and goes no deeper than the format does.

Runs in: server loop, command lines. May not: do I/O, know what the keys of a workflow mean.
Source: YAML 1.2.2 (as far as libyaml, a YAML 1.1 parser, agrees with it).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, NoReturn

import yaml

from joblet.yamlfile import MAX_NODES, STANDARD_TAG, Problem, describe, is_null, is_plain, scalar_of
from joblet.yamlkinds import Kind, NotAllowed, Scalar, nearest

_TAGS: Final = frozenset(
    STANDARD_TAG + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HIDDEN_TAG: Final = "has a tag; tags are not allowed"
_A_SECRET: Final = "is also the value of a secret, and would be shown"
_NO_HOMES: Final[Mapping[str, str]] = {}
_SUGGESTIONS: Final = 100  # each compares a word with all that are known; nobody is shown more problems
_KNOWN_COMPARED: Final = 500
ALIASES_COUNTED: Final = "each alias counted with all that it stands for"
MAX_CHARACTERS: Final = 32 * 1024 * 1024  # some kinds of value take 100 ns to look at one
MAX_FOUND: Final = 1000  # problems; a person is shown fewer


class Enough(Exception):
    """Reading the file ends here; why is a problem in the `Nodes`, beside what was found so far."""


class Nodes:
    """The nodes of one file, and its problems so far."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self._places: dict[int, yaml.Node] = {}  # by the index of the problem
        self._anchored: list[tuple[yaml.Node, str]] = []  # what may have an alias among the secrets
        self._text = text
        self._taken = 0
        self._characters = 0
        self._suggestions = 0
        self._part: tuple[yaml.Node, str] | None = None

    def begin(self, key: yaml.Node, where: str) -> None:
        """A part of the file, a job, is read from now on: where a bound is passed, in the words of `end`."""
        self._part = key, where

    def end(self, what: str) -> NoReturn:
        """
        Read no more of a file that passes a bound.

        Raises:
            Enough: Always.
        """
        line, column = place_of(self._part[0]) if self._part else (0, 0)
        self.problems.append(Problem(line, column, self._part[1] if self._part else "", what))
        raise Enough

    def mapping(
        self, node: yaml.Node, where: str, holds: str, *, secret: bool = False
    ) -> Iterator[tuple[str, yaml.ScalarNode, yaml.Node]]:
        """
        Each key of a mapping with its node and its value's; of a key that is given twice only the first.

        Args:
            holds: What should stand there, for messages.
            secret: Whether no value of it may be in a message.
        """
        if is_null(node) or self._refused(node, where, yaml.MappingNode, "a mapping", holds, secret=secret):
            return
        self._take(len(node.value))
        first_lines: dict[str, int] = {}
        end = node.start_mark.index
        for key, value in node.value:
            if key.start_mark.index < end:
                # It could bring a secret into every message about what is under it.
                self.add(node, where, "has an alias as a key; write the key out")
                continue
            end = max(key.end_mark.index, value.end_mark.index if not _is_before(value, key) else 0)
            self._count(key)
            if not isinstance(key, yaml.ScalarNode):
                self.add(key, where, f"a key must be a word, not {describe(key)}")
                continue
            name = key.value
            if name == "<<" and is_plain(key):
                self.add(
                    key, where, "merge keys are not supported; write the keys here, or an alias for the whole value"
                )
            elif key.tag not in _TAGS or _SURROGATE.search(name):
                self.add(key, path_of(where, name), "a key must be plain text without a tag")
            elif name in first_lines:
                self.add(key, path_of(where, name), f"is given twice; the first is on line {first_lines[name]}")
            else:
                first_lines[name] = key.start_mark.line + 1
                yield name, key, value

    def fields(
        self, node: yaml.Node, where: str, allowed: Collection[str], homes: Mapping[str, str] = _NO_HOMES
    ) -> Mapping[str, yaml.Node]:
        """The values of a mapping that may hold only these keys; `homes` has the right places of others."""
        found: dict[str, yaml.Node] = {}
        for name, key, value in self.mapping(node, where, f"a mapping with the keys {', '.join(allowed)}"):
            if name in allowed:
                found[name] = value
            elif near := self.suggestion(name, allowed):
                self.add(key, path_of(where, name), f"unknown key; did you mean {near}?")
            elif name in homes:
                self.add(key, path_of(where, name), f"unknown key here; did you mean {homes[name]}?")
            else:
                self.add(key, path_of(where, name), "unknown key", ", ".join(allowed))
        return found

    def items(self, node: yaml.Node, where: str, holds: str) -> list[yaml.Node]:
        """The items of a list; `holds` says for messages what it should be."""
        if is_null(node) or self._refused(node, where, yaml.SequenceNode, "a list", holds):
            return []
        self._take(len(node.value))
        return list(node.value)

    def scalar(self, node: yaml.Node, where: str, allowed: str, *, secret: bool = False) -> Scalar | None:
        """
        A single value; None when it is none, which is then a problem.

        Args:
            secret: Whether nothing that stands there may be in a message.
        """
        self._count(node)
        if not isinstance(node, yaml.ScalarNode):
            what = f"must be a single value, not {describe(node)}"
        elif is_null(node):
            what = "has no value"
        elif node.tag not in _TAGS:
            what = _HIDDEN_TAG if secret else _tagged(node)
        elif not node.value.isascii() and _SURROGATE.search(node.value):
            what = "holds half of a surrogate pair, which is no character"
        else:
            if not secret and self._text[node.start_mark.index] in "&!":
                self._anchored.append((node, where))
            return scalar_of(node)
        self.add(node, where, what, allowed, secret=secret)
        return None

    def value(self, node: yaml.Node, where: str, kind: Kind) -> object:
        """A single value of a kind, parsed; None when it does not fit, which is then a problem."""
        scalar = self.scalar(node, where, kind.allowed)
        if scalar is not None:
            try:
                return kind.parse(scalar)
            except NotAllowed as error:
                self.add(node, where, str(error), kind.allowed)
        return None

    def add(
        self,
        node: yaml.Node,
        where: str,
        what: str,
        allowed: str = "",
        offset: int | None = None,
        *,
        secret: bool = False,
    ) -> None:
        """
        A problem at a node.

        Args:
            offset: Characters of a single value before the place that is meant; None for where the node begins.
            secret: Whether the words show nothing of the node, so that `hide` leaves them.

        Raises:
            Enough: There are too many.
        """
        if len(self.problems) >= MAX_FOUND:
            self.problems.append(Problem(0, 0, "", f"has more than {MAX_FOUND} problems; they are not all shown"))
            raise Enough
        line, column = place_of(node)
        if offset is not None and isinstance(node, yaml.ScalarNode):
            column += self._column(node, offset)
        if not secret:
            self._places[len(self.problems)] = node
        self.problems.append(Problem(line, column, where, what, allowed))

    def hide(self, secrets: Iterable[yaml.Node]) -> None:
        """
        Refuse these nodes wherever an alias brought them to a place that is shown, and take them out of the problems.
        """
        hidden = {id(node) for node in secrets}
        told: set[str] = set()
        for index, node in self._places.items():
            if id(node) in hidden:
                self.problems[index] = replace(self.problems[index], what=_A_SECRET)
                told.add(self.problems[index].field)
        for node, where in self._anchored:
            if id(node) in hidden and where not in told and len(self.problems) < MAX_FOUND:
                self.add(node, where, _A_SECRET)
                told.add(where)

    def suggestion(self, word: str, known: Collection[str]) -> str:
        """What a user most likely meant; empty when nothing is near, or too much has been compared already."""
        self._suggestions += 1
        if self._suggestions > _SUGGESTIONS:
            return ""
        if len(known) > _KNOWN_COMPARED:
            first = word[:1].lower()
            known = [each for each in known if each[:1].lower() == first and abs(len(each) - len(word)) <= 2]
        return nearest(word[:_KNOWN_COMPARED], tuple(known)[:_KNOWN_COMPARED])

    def _column(self, node: yaml.ScalarNode, offset: int) -> int:
        """How far right of a value's beginning its character `offset` stands; 0 where escapes or lines hide it."""
        start, end = node.start_mark, node.end_mark
        quote = node.style or ""
        written = self._text[start.index : end.index]
        if start.line != end.line or not written.endswith(f"{quote}{node.value}{quote}"):
            return 0
        return len(written) - len(node.value) - len(quote) + offset

    def _refused(
        self, node: yaml.Node, where: str, wanted: type[yaml.Node], what: str, holds: str, *, secret: bool = False
    ) -> bool:
        if not isinstance(node, wanted):
            found = "a single value" if secret and isinstance(node, yaml.ScalarNode) else describe(node)
            self.add(node, where, f"must be {what}, not {found}", holds, secret=secret)
        elif node.tag not in _TAGS:
            self.add(node, where, _HIDDEN_TAG if secret else _tagged(node), holds, secret=secret)
        else:
            return False
        return True

    def _take(self, count: int) -> None:
        self._taken += count
        if self._taken > MAX_NODES:
            self.end(f"holds more than {MAX_NODES} values, {ALIASES_COUNTED}")

    def _count(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode):
            self._characters += len(node.value)
            if self._characters > MAX_CHARACTERS:
                self.end(f"holds more than {MAX_CHARACTERS} characters, {ALIASES_COUNTED}")


def is_mapping(node: yaml.Node) -> bool:
    """Whether `Nodes.mapping` takes it."""
    return isinstance(node, yaml.MappingNode) and node.tag in _TAGS


def place_of(node: yaml.Node) -> tuple[int, int]:
    """Line and column of a node, counted from 1."""
    mark = node.start_mark
    return mark.line + 1, mark.column + 1


def path_of(where: str, name: str) -> str:
    """The dotted path of a key, which may hold anything, terminal sequences too."""
    shown = str(Scalar(name)) or '""'
    return f"{where}.{shown}" if where else shown


def _tagged(node: yaml.Node) -> str:
    tag = f"!!{node.tag.removeprefix(STANDARD_TAG)}" if node.tag.startswith(STANDARD_TAG) else node.tag
    return f"has the tag {Scalar(tag)}; tags are not allowed"


def _is_before(node: yaml.Node, other: yaml.Node) -> bool:
    """It is an alias, for something further up."""
    return bool(node.start_mark.index < other.end_mark.index)
