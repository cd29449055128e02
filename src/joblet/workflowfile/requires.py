"""
What a job of the file waits for: the list under `requires` as a condition, with the place of every job it names.

Runs in: server loop, command lines. May not: do I/O, know which jobs there are (`dependencies.py` does).
Source: API specification, "Workflow API".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from joblet.domain.workflow.definition import All, Condition, Is, Outcome
from joblet.domain.workflow.expression import InvalidExpression, Mention, parse
from joblet.domain.workflow.graph import parts_in
from joblet.workflowfile.keys import EXPRESSION, OUTCOME
from joblet.workflowfile.nodes import ALIASES_COUNTED, Nodes
from joblet.yamlfile import is_null

MAX_PARTS: Final = 250_000  # of all conditions; each takes the scheduler 300 bytes

_LIST_HOLDS: Final = "items such as - build: COMPLETED, or - expression: a=COMPLETED AND b=FAILED"
_ITEM_HOLDS: Final = f"a job and one of {', '.join(Outcome)}, or expression and an expression"


@dataclass(frozen=True, slots=True)
class Reference:
    """Another job's name, at a key, or `offset` characters into an expression."""

    job: str
    node: yaml.Node
    offset: int | None = None


@dataclass(slots=True)
class Requirements:
    """
    The conditions of one job, or of all that share the list.

    Args:
        node: The list.
        condition: All of them must hold; of one just that.
        parts: How many the condition has, itself and the parts of parts included.
        listed_bytes: What the names of the jobs in it take in an answer.
        sound: Whether the list has no problem.
    """

    node: yaml.Node
    condition: Condition
    references: Sequence[Reference]
    parts: int
    listed_bytes: int
    sound: bool


@dataclass(frozen=True, slots=True)
class _Expression:
    condition: Condition
    mentions: tuple[Mention, ...]
    parts: int


class RequirementReader:
    """
    Reads the lists of one file, each and each expression once however often an alias uses it; what each use means for
    its job is counted.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._lists: dict[int, Requirements] = {}  # by the id of the node
        self._expressions: dict[str, _Expression | InvalidExpression] = {}
        self._refused: set[int] = set()  # expressions, by the id of the node
        self._parts = 0

    def read(self, node: yaml.Node, where: str) -> Requirements:
        """
        The list at `node`; what is wrong with it is a problem in the nodes, and left out.

        Raises:
            Enough: The conditions of all jobs together are too many.
        """
        if (found := self._lists.get(id(node))) is not None:
            self._count(found.parts)
            return found
        before = len(self._nodes.problems)
        conditions: list[Condition] = []
        references: list[Reference] = []
        parts = self._parts
        self._count(1)
        understood = self._items(node, where, conditions, references)
        names = {reference.job for reference in references}
        found = self._lists[id(node)] = Requirements(
            node,
            conditions[0] if len(conditions) == 1 else All(tuple(conditions)),
            references,
            self._parts - parts,
            sum(map(listed_bytes, names)),
            sound=understood and len(self._nodes.problems) == before,
        )
        return found

    def _items(self, node: yaml.Node, where: str, conditions: list[Condition], references: list[Reference]) -> bool:
        """Whether every expression in the list is one: that one is none is told only once."""
        nodes = self._nodes
        understood = True
        first_lines: dict[Is, int] = {}
        for item in nodes.items(node, where, _LIST_HOLDS):
            if is_null(item) or (isinstance(item, yaml.MappingNode) and not item.value):
                nodes.add(item, where, "is empty", _ITEM_HOLDS)
            for name, key, value in nodes.mapping(item, where, _ITEM_HOLDS):
                if name == EXPRESSION:
                    expression = self._expression(value, where)
                    understood = understood and expression is not None
                    if expression is not None:
                        conditions.append(expression.condition)
                        references += [Reference(each.job, value, each.offset) for each in expression.mentions]
                    continue
                self._count(1)
                references.append(Reference(name, key))
                word = nodes.value(value, where, OUTCOME)
                if word is None:
                    continue
                part = Is(name, Outcome(str(word)))
                if part in first_lines:
                    line = first_lines[part]
                    nodes.add(key, where, f"{name} is required twice with {word}; the first is on line {line}")
                    continue
                first_lines[part] = key.start_mark.line + 1
                conditions.append(part)
        return understood

    def _expression(self, node: yaml.Node, where: str) -> _Expression | None:
        scalar = self._nodes.scalar(node, where, "an expression such as a=COMPLETED AND b=FAILED")
        if scalar is None:
            return None
        found = self._expressions.get(scalar.text)
        if found is None:
            found = self._expressions[scalar.text] = _parsed(scalar.text)
        if isinstance(found, _Expression):
            self._count(found.parts)
            return found
        if id(node) not in self._refused:
            self._refused.add(id(node))
            what = f"{found.what}, at character {found.offset + 1} of the expression"
            self._nodes.add(node, where, what, offset=found.offset)
        return None

    def _count(self, parts: int) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            self._nodes.end(
                f"makes the conditions of all jobs longer than {MAX_PARTS} outcomes, ANDs, ORs and NOTs,"
                f" {ALIASES_COUNTED}"
            )


def listed_bytes(name: str) -> int:
    """What a name takes in an answer, in which lists are as protobuf has them."""
    return len(name) + 2


def _parsed(text: str) -> _Expression | InvalidExpression:
    try:
        condition, mentions = parse(text)
    except InvalidExpression as error:
        return error
    return _Expression(condition, mentions, sum(1 for _ in parts_in(condition)))
