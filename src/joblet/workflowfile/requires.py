"""
What a job of the file waits for: the list under `requires` as a condition, with the place of every job it names.

Runs in: server loop, command lines. May not: do I/O, know which jobs there are (`dependencies.py` does).
Source: API specification, "Workflow API".
"""

from dataclasses import dataclass, field

import yaml

from joblet.domain.workflow.definition import All, Condition, Is, Outcome
from joblet.domain.workflow.expression import InvalidExpression, parse
from joblet.workflowfile.keys import EXPRESSION, OUTCOME
from joblet.workflowfile.nodes import Nodes
from joblet.yamlfile import is_null

_ITEMS = "items such as - build: COMPLETED, or - expression: a=COMPLETED AND b=FAILED"
_ITEM = f"a job and one of {', '.join(Outcome)}, or expression and an expression"


@dataclass(frozen=True, slots=True)
class Reference:
    """Another job's name, at a key, or `offset` characters into an expression."""

    job: str
    node: yaml.Node
    offset: int | None = None


@dataclass(slots=True)
class Requirements:
    """
    The conditions of one job, all of which must hold.

    Args:
        node: The list.
        sound: Whether the list had no problem of its own.
    """

    node: yaml.Node
    parts: list[Condition] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    sound: bool = True

    @property
    def condition(self) -> Condition:
        """All parts; of one part just that."""
        return self.parts[0] if len(self.parts) == 1 else All(tuple(self.parts))


def read_requires(nodes: Nodes, node: yaml.Node, where: str) -> Requirements:
    """The list at `node`; what is wrong with it is a problem in `nodes`, and left out."""
    before = len(nodes.problems)
    found = Requirements(node)
    first_lines: dict[Is, int] = {}
    for item in nodes.items(node, where, _ITEMS):
        if is_null(item) or (isinstance(item, yaml.MappingNode) and not item.value):
            nodes.add(item, where, "is empty", _ITEM)
        for name, key, value in nodes.mapping(item, where, _ITEM):
            if name == EXPRESSION:
                _read_expression(nodes, value, where, found)
                continue
            found.references.append(Reference(name, key))
            word = nodes.value(value, where, OUTCOME)
            if word is None:
                continue
            part = Is(name, Outcome(str(word)))
            if part in first_lines:
                nodes.add(key, where, f"{name} is required twice with {word}; the first is on line {first_lines[part]}")
                continue
            first_lines[part] = key.start_mark.line + 1
            found.parts.append(part)
    found.sound = len(nodes.problems) == before
    return found


def _read_expression(nodes: Nodes, node: yaml.Node, where: str, found: Requirements) -> None:
    scalar = nodes.scalar(node, where, "an expression such as a=COMPLETED AND b=FAILED")
    if scalar is None:
        return
    try:
        condition, mentions = parse(scalar.text)
    except InvalidExpression as error:
        what = f"{error.what}, at character {error.offset + 1} of the expression"
        nodes.add(node, where, what, offset=error.offset)
        return
    found.parts.append(condition)
    found.references += [Reference(mention.job, node, mention.offset) for mention in mentions]
