"""
The variables of a file: `environment` and `secret_environment` of one level, read and resolved.

No message holds anything of a secret's value, whatever is wrong with it.

Runs in: server loop, command lines. May not: do I/O.
Source: API specification, "Workflow API", "RunJob".
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import yaml

from joblet.domain.errors import InvalidRequest
from joblet.domain.job import check_environment
from joblet.domain.workflow.environment import Level, Resolver, TooMuch, Value
from joblet.workflowfile.nodes import Nodes, path_of

PLAIN = "environment"
SECRET = "secret_environment"
_MAP = "a mapping of names and values"
_NAME_END = re.compile("[=\0]")


@dataclass(slots=True)
class Variables:
    """The variables that a level sets itself, with the place of each and its path in the file."""

    own: dict[str, Value] = field(default_factory=dict)
    places: dict[str, tuple[yaml.Node, str]] = field(default_factory=dict)

    def hide(self, secrets: Collection[int]) -> None:
        """Make a secret of each variable whose value is an alias for one; `secrets` are the ids of nodes."""
        for name, (node, _) in self.places.items():
            if id(node) in secrets:
                self.own[name] = Value(self.own[name].text, secret=True)


def secret_values(root: yaml.Node | None) -> list[yaml.Node]:
    """What stands in a file as the value of a secret, at the top and in its jobs, whatever is wrong with the file."""
    mappings: dict[int, yaml.Node] = {}  # by id: an alias brings the same one again
    for key, value in _pairs(root):
        if key == SECRET:
            mappings[id(value)] = value
        elif key == "jobs":
            jobs = {id(job): job for _, job in _pairs(value)}
            mappings |= {id(inner): inner for job in jobs.values() for key, inner in _pairs(job) if key == SECRET}
    return list({id(value): value for mapping in mappings.values() for _, value in _pairs(mapping)}.values())


def _pairs(node: yaml.Node | None) -> list[tuple[object, yaml.Node]]:
    return [(key.value, value) for key, value in node.value] if isinstance(node, yaml.MappingNode) else []


def read_variables(nodes: Nodes, fields: Mapping[str, yaml.Node], where: str) -> Variables:
    """The variables in the two maps among `fields`; what is wrong is a problem in `nodes`, and left out."""
    found = Variables()
    for key in (PLAIN, SECRET):
        if key in fields:
            _read_map(nodes, fields[key], path_of(where, key), found, secret=key == SECRET)
    return found


def _read_map(nodes: Nodes, node: yaml.Node, where: str, found: Variables, *, secret: bool) -> None:
    for name, key, value in nodes.mapping(node, where, _MAP, secret=secret):
        # NAME=value as a key: of a secret only the name may be shown.
        inside = path_of(where, _NAME_END.split(name, 1)[0] + "=..." if secret and _NAME_END.search(name) else name)
        if name in found.own:
            nodes.add(key, inside, f"is in {PLAIN} too; a variable is either secret or not")
            continue
        # It may turn out to be an alias for a secret.
        scalar = nodes.scalar(value, inside, "text or a number", secret=True)
        text = scalar.text if scalar else ""
        try:
            check_environment(SECRET if secret else PLAIN, {name: text})
        except InvalidRequest:
            if not name or _NAME_END.search(name):
                nodes.add(key, inside, "is no name for a variable", "anything without = and NUL, not empty")
            else:
                nodes.add(value, inside, "contains a NUL character", secret=True)
        # Also what is no value, so that a reference to it is not one to nothing.
        found.own[name] = Value(text, secret)
        found.places[name] = value, inside


def resolve(nodes: Nodes, resolver: Resolver, variables: Variables, inherited: Level) -> Level:
    """
    The level of these variables; those that cannot be resolved are problems in `nodes`.

    Raises:
        Enough: They are more than a workflow may hold.
    """
    try:
        level, faults = resolver.level(variables.own, inherited)
    except TooMuch as error:
        nodes.end(str(error))
    for fault in faults:
        node, where = variables.places[fault.name]
        what = fault.what
        if fault.unknown:
            near = nodes.suggestion(fault.unknown, level.values)
            what = f"refers to {fault.unknown}, which is not defined{f'; did you mean {near}?' if near else ''}"
        nodes.add(node, where, what, secret=variables.own[fault.name].secret)
    return level
