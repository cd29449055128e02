"""
The little language in which a job says what it waits for: text to `Condition`.

    or      = and { OR and }
    and     = not { AND not }
    not     = { NOT } operand
    operand = "(" or ")"
            | name ( "=" | "!=" ) outcome
            | name IN "(" outcome { "," outcome } ")"

Keywords in any case, outcomes in upper or lower case. `a != X` is `NOT a = X`. A job may be called `and`: where a
name must stand, a keyword is one; `not` is a name before = and !=.

Runs in: server loop, command lines. May not: do I/O, know YAML.
Source: API specification, "Workflow API".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome

MAX_DEPTH: Final = 100  # parentheses and NOTs around one operand

_TOKEN: Final = re.compile(r"\s*(?:([A-Za-z0-9][A-Za-z0-9._-]*)|(!=|[=(),])|(\S)|$)")
_OUTCOMES: Final = {spelt: word for word in Outcome for spelt in (word.value, word.value.lower())}
_ALLOWED: Final = ", ".join(Outcome)
_INSTEAD: Final = {"&": "AND", "|": "OR", "!": "NOT"}


class InvalidExpression(ValueError):
    """
    It is no expression.

    Args:
        what: Why not, in words.
        offset: Characters before the place where it goes wrong.
    """

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Mention:
    """A job's name in an expression, and the characters before it."""

    job: str
    offset: int


def parse(text: str) -> tuple[Condition, tuple[Mention, ...]]:
    """
    The condition, and each mention of a job in the order of the text.

    Raises:
        InvalidExpression: With the place.
    """
    parser = _Parser(text)
    condition = parser.disjunction(0)
    parser.end()
    return condition, tuple(parser.mentions)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    offset: int
    word: bool

    @property
    def keyword(self) -> str:
        return self.text.upper()

    def __str__(self) -> str:
        if not self.text:
            return "the end"
        shown = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return repr(shown)[1:-1]


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while match := _TOKEN.match(text, position):
        word, sign, strange = match.groups()
        start = match.end() - len(word or sign or strange or "")
        if strange:
            instead = f"; write {_INSTEAD[strange]}" if strange in _INSTEAD else ""
            raise InvalidExpression(f"{strange!r} cannot stand in an expression{instead}", start)
        yield _Token(word or sign or "", start, word is not None)
        if not (word or sign):
            return
        position = match.end()


class _Parser:
    """Takes the tokens one by one; each method takes one rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.mentions: list[Mention] = []
        self._tokens = list(_tokens(text))
        self._next = 0

    def disjunction(self, depth: int) -> Condition:
        """The rule `or`."""
        parts = [self._conjunction(depth)]
        while self._take_keyword("OR"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def end(self) -> None:
        """Nothing may follow."""
        token = self._token
        if token.text:
            raise InvalidExpression(f"expected AND, OR or the end, not {token}", token.offset)

    def _conjunction(self, depth: int) -> Condition:
        parts = [self._negation(depth)]
        while self._take_keyword("AND"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _negation(self, depth: int) -> Condition:
        negations = 0
        while self._token.keyword == "NOT" and self._peek(1) not in ("=", "!="):
            self._next += 1
            negations += 1
        condition = self._operand(depth + negations)
        for _ in range(negations):
            condition = Not(condition)
        return condition

    def _operand(self, depth: int) -> Condition:
        token = self._token
        if depth > MAX_DEPTH:
            raise InvalidExpression(f"is nested more than {MAX_DEPTH} deep", token.offset)
        if self._take_sign("("):
            condition = self.disjunction(depth + 1)
            self._expect(")", "AND, OR or )")
            return condition
        if not token.word:
            raise InvalidExpression(f"expected the name of a job, NOT or (, not {token}", token.offset)
        self._next += 1
        self.mentions.append(Mention(token.text, token.offset))
        if self._take_sign("="):
            return Is(token.text, self._outcome())
        if self._take_sign("!="):
            return Not(Is(token.text, self._outcome()))
        if self._take_keyword("IN"):
            return self._membership(token.text)
        raise InvalidExpression(f"expected =, != or IN after {token}, not {self._token}", self._token.offset)

    def _membership(self, job: str) -> Condition:
        self._expect("(", "( after IN")
        words = [self._outcome()]
        while self._take_sign(","):
            words.append(self._outcome())
        self._expect(")", ", or )")
        return Is(job, words[0]) if len(words) == 1 else Any(tuple(Is(job, word) for word in words))

    def _outcome(self) -> Outcome:
        token = self._token
        try:
            word = _OUTCOMES[token.text]
        except KeyError:
            raise InvalidExpression(f"expected one of {_ALLOWED}, not {token}", token.offset) from None
        self._next += 1
        return word

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _peek(self, ahead: int) -> str:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)].text

    def _take_keyword(self, keyword: str) -> bool:
        found = self._token.word and self._token.keyword == keyword
        self._next += found
        return found

    def _take_sign(self, sign: str) -> bool:
        found = self._token.text == sign
        self._next += found
        return found

    def _expect(self, sign: str, words: str) -> None:
        if not self._take_sign(sign):
            raise InvalidExpression(f"expected {words}, not {self._token}", self._token.offset)
