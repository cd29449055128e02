"""
Reads a YAML file against a table of what may stand in it, and reports everything that is wrong in one go.

PyYAML's `compose` gives the nodes with their places; no value is ever constructed, so no tag
can make an object. The walk follows the table and never the file: anchors and aliases may be used, but
a bomb of them costs nothing, since what the table does not name is not entered.

Runs in: server loop at start, command lines. May not: read a file of unbounded size.
Source: YAML 1.2.2 (as far as PyYAML, a YAML 1.1 parser, agrees with it).
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from joblet.complaint import Complaint, why
from joblet.yamlkinds import Kind, NotAllowed, Scalar, nearest

MAX_BYTES: Final = 256 * 1024  # a hundred times a large configuration; PyYAML without libyaml needs about 3 s for it
MAX_PROBLEMS: Final = 50
MAX_DEPTH: Final = 64
MAX_NODES: Final = 500_000  # 200 MB of memory

Section = Mapping[str, "Section | Kind"]
"""What may stand in a mapping: a kind of value, or a further mapping."""

STANDARD_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong.

    Args:
        line, column: Counted from 1; 0 when the file as a whole is meant.
        field: Dotted path of the key; empty when no key is meant.
        what: What is wrong.
        allowed: What may stand there; empty when `what` says it.
    """

    line: int
    column: int
    field: str
    what: str
    allowed: str = ""

    def at(self, path: Path | str) -> str:
        """The whole message, beginning with the place as editors and compilers write it."""
        place = f"{path}:{self.line}:{self.column}" if self.line else str(path)
        field = f"{self.field}: " if self.field else ""
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{place}: {field}{self.what}{allowed}"


class YamlInvalid(Complaint):
    """A YAML file cannot be used; nothing of it was."""

    def __init__(self, path: Path | str, problems: tuple[Problem, ...]) -> None:
        shown = [problem.at(path) for problem in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            shown.append(f"{path}: and {len(problems) - MAX_PROBLEMS} more problems")
        super().__init__("\n".join(shown))
        self.path = path
        self.problems = problems


def read(path: Path, allowed: Section, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """
    The values of a file, by dotted path; what the file leaves out is left out.

    Raises:
        YamlInvalid: The file cannot be read, is not YAML, or holds what `allowed` does not name.
    """
    return parse(read_bytes(path, max_bytes), path, allowed, max_bytes)


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """
    What is in a file, and one byte more than `max_bytes` at most, so that its size can be refused.

    Raises:
        YamlInvalid: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise YamlInvalid(path, (Problem(0, 0, "", f"cannot be read: {why(error)}"),)) from None


def parse(content: bytes, path: Path, allowed: Section, max_bytes: int = MAX_BYTES) -> dict[str, object]:
    """`read`, of bytes in hand; `path` is for the messages."""
    _, root = compose(content, path, max_bytes)
    walk = _Walk(allowed)
    if root is not None:
        walk.section(root, allowed, "")
    if walk.problems:
        raise YamlInvalid(path, in_order(walk.problems))
    return walk.values


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems as the file has them."""
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def compose(content: bytes, path: Path | str, max_bytes: int, *, quote: bool = True) -> tuple[str, yaml.Node | None]:
    """
    The text without its byte order mark, and its nodes; their marks count the characters of that text.

    Args:
        path: For the messages.
        quote: Whether a message may hold a word of the file; never where it could be part of a secret.

    Raises:
        YamlInvalid: Too large, not UTF-8, not YAML, or nested or filled beyond any use.
    """
    if len(content) > max_bytes:
        raise YamlInvalid(path, (Problem(0, 0, "", f"is larger than {max_bytes} bytes"),))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        what = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise YamlInvalid(path, (_problem_after(before, what, "a text file in UTF-8"),)) from None
    if strange := yaml.reader.Reader.NON_PRINTABLE.search(text):
        what = f"the character U+{ord(strange[0]):04X} must not stand in a YAML file"
        raise YamlInvalid(path, (_problem_after(text[: strange.start()], what),))
    try:
        return text, _nodes_of(text)
    except yaml.MarkedYAMLError as error:
        raise YamlInvalid(path, (_syntax_problem(error, quote),)) from None
    except _Beyond as error:
        raise YamlInvalid(path, (Problem(error.line, error.column, "", str(error)),)) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML 6 lets chr() fail on "\UFFFFFFFF"
        raise YamlInvalid(path, (Problem(0, 0, "", f"is not YAML: {error}"),)) from None


class _Beyond(Exception):
    """No file that is meant looks like this; the place is that of the last list or mapping before it was too much."""

    def __init__(self, what: str, parent: yaml.Node | None) -> None:
        super().__init__(what)
        mark = parent.start_mark if parent is not None else None
        self.line, self.column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)


class _Bounded:
    """Counts nodes while they are composed: PyYAML recurses, in C too, and a node takes a hundred times its text."""

    depth = 0
    nodes = 0

    def descend_resolver(self, parent: yaml.Node | None, _index: object) -> None:
        """PyYAML is about to compose a node."""
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH:
            raise _Beyond("is nested too deeply", parent)
        if self.nodes > MAX_NODES:
            raise _Beyond(f"holds more than {MAX_NODES} values", parent)

    def ascend_resolver(self) -> None:
        """PyYAML has composed it."""
        self.depth -= 1


class _PythonLoader(_Bounded, yaml.SafeLoader):
    """Slow, and of many words about mistakes."""


class _FastLoader(_Bounded, yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Thirty times as fast where PyYAML was built with libyaml; its marks are the same."""


def _nodes_of(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_FastLoader)
    except yaml.MarkedYAMLError:
        if len(text) <= MAX_BYTES:
            with suppress(ValueError, OverflowError):  # PyYAML 6 lets chr() fail on "\UFFFFFFFF"
                yaml.compose(text, Loader=_PythonLoader)  # for its words
        raise


def _problem_after(before: str, what: str, allowed: str = "") -> Problem:
    return Problem(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, "", what, allowed)


_OF_THE_FILE: Final = re.compile(r"\b(alias|anchor|handle) (?:'[^']*'|\"[^\"]*\")")


# What PyYAML says, and what a user can do something with.
_PLAINLY: Final[Mapping[str, str]] = {
    "mapping values are not allowed here": (
        "a ': ' cannot stand here; a value that holds one needs quotes, and each key a ':' with a space after it"
    ),
    "found undefined alias": "an alias needs an anchor before it; put a value that begins with * in quotes",
}
_TOKEN: Final = re.compile(r"'?(<[a-z ]+>)'?")
_TOKENS: Final[Mapping[str, str]] = {
    "<stream end>": "the end of the file",
    "<block end>": "the end of the block",
    "<block mapping start>": "a mapping with another indentation",
    "<block sequence start>": "a list with another indentation",
    "<document start>": "---",
    "<document end>": "...",
    "<scalar>": "a value",
    "<alias>": "an alias",
    "<anchor>": "an anchor",
    "<tag>": "a tag",
}


def _syntax_problem(error: yaml.MarkedYAMLError, quote: bool) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    words = error.problem or error.context or "is not YAML"
    if "\\t" in words:
        words = "a tab cannot indent; YAML allows only spaces there"
    elif isinstance(error, yaml.composer.ComposerError) and "document" in words:
        words = "a second document begins here; only one is allowed"
    elif error.context and error.problem:
        words = f"{error.problem}, {error.context}"
        if error.context_mark and error.context_mark.line + 1 != line:
            words += f" that begins on line {error.context_mark.line + 1}"
    words = _TOKEN.sub(lambda match: _TOKENS.get(match[1], match[0]), words).replace("end of stream", "end of the file")
    if not quote:
        words = _OF_THE_FILE.sub(r"\1", words)
    if "cannot start any token" in words or words.endswith("while scanning an alias"):
        words += "; put a value that begins with it in quotes"
    words = _PLAINLY.get(words, words)
    return Problem(line, column, "", f"is not YAML: {words}")


class _Walk:
    """Collects values and problems of one file."""

    def __init__(self, whole: Section) -> None:
        self.values: dict[str, object] = {}
        self.problems: list[Problem] = []
        self._whole = whole

    def section(self, node: yaml.Node, allowed: Section, path: str) -> None:
        """Take everything of a mapping that `allowed` names."""
        if is_null(node):
            return  # a section whose every line is commented out
        if not isinstance(node, yaml.MappingNode):
            names = ", ".join(allowed)
            self._add(node, path, f"must be a section, not {describe(node)}", f"a mapping with the keys {names}")
            return
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._add(key, path, f"a key must be a word, not {describe(key)}")
                continue
            name = key.value
            shown = str(Scalar(name))  # it may hold anything, terminal sequences too
            where = f"{path}.{shown}" if path else shown
            if name in first_lines:
                self._add(key, where, f"is given twice; the first is on line {first_lines[name]}")
                continue
            first_lines[name] = key.start_mark.line + 1
            match allowed.get(name):
                case None:
                    self._unknown(key, where, name, allowed)
                case Mapping() as inner:
                    self.section(value, inner, where)
                case kind:
                    self._field(value, kind, where)

    def _field(self, node: yaml.Node, kind: Kind, where: str) -> None:
        if not isinstance(node, yaml.ScalarNode):
            self._add(node, where, f"must be a single value, not {describe(node)}", kind.allowed)
        elif is_null(node):
            self._add(node, where, "has no value; leave the key out for its default", kind.allowed)
        elif not node.tag.startswith(STANDARD_TAG):
            self._add(node, where, f"has the tag {node.tag}; tags are not allowed", kind.allowed)
        else:
            try:
                self.values[where] = kind.parse(scalar_of(node))
            except NotAllowed as error:
                self._add(node, where, str(error), kind.allowed)

    def _unknown(self, key: yaml.ScalarNode, where: str, name: str, allowed: Section) -> None:
        if near := nearest(name, tuple(allowed)):
            self._add(key, where, f"unknown key; did you mean {near}?")
        elif home := _home(name, self._whole, ""):
            self._add(key, where, f"unknown key here; did you mean {home}?")
        else:
            self._add(key, where, "unknown key", ", ".join(allowed))

    def _add(self, node: yaml.Node, field: str, what: str, allowed: str = "") -> None:
        mark = node.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, field, what, allowed))


def _home(name: str, section: Section, path: str) -> str:
    """Dotted path of a key with this name in another section; empty when there is none."""
    for key, inner in section.items():
        where = f"{path}{key}"
        if key == name:
            return where
        if isinstance(inner, Mapping) and (found := _home(name, inner, f"{where}.")):
            return found
    return ""


def is_null(node: yaml.Node) -> bool:
    """Nothing stands there, or a word for nothing without quotes."""
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{STANDARD_TAG}null" and is_plain(node)


def is_plain(node: yaml.ScalarNode) -> bool:
    """It has no quotes and is no block (libyaml and PyYAML differ in how they say so)."""
    return not node.style


def scalar_of(node: yaml.ScalarNode) -> Scalar:
    """A value as kinds take it."""
    return Scalar(node.value, quoted=not is_plain(node))


def describe(node: yaml.Node) -> str:
    """What stands there, in the middle of a sentence; a value with its beginning."""
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case yaml.ScalarNode():
            return f"the value {scalar_of(node)}"
        case _:
            return "this"
