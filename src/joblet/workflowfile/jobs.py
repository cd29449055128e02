"""
One job of the file: every key but those that need the other jobs or levels.

Runs in: server loop, command lines. May not: do I/O.
Source: API specification, "Workflow API", "RunJob", "Resource Limits", "Resource limits exceeded".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import yaml

from joblet.domain.errors import InvalidCommand, InvalidLimit
from joblet.domain.job import DANGEROUS, check_command
from joblet.domain.limits import MIB, Limits, Machine, check
from joblet.domain.workflow.definition import JobDefinition, Retries
from joblet.workflowfile import keys
from joblet.workflowfile.nodes import Nodes, is_mapping, path_of, place_of
from joblet.workflowfile.requires import RequirementReader, Requirements
from joblet.workflowfile.variables import Variables, read_variables
from joblet.yamlfile import Problem, is_null
from joblet.yamlkinds import Kind, Scalar

_ATTRIBUTES: Final = {
    "max_cpu": "cpu_max_percent",
    "max_memory": "memory_max_bytes",
    "max_io_bps": "io_max_bytes_per_s",
    "cpu_cores": "cpu_cores",
}
_NO_LIMITS: Final = Limits(cpu_max_percent=0, cpu_cores="", memory_max_bytes=0, io_max_bytes_per_s=0)


@dataclass(frozen=True, slots=True)
class JobOfFile:
    """
    A job as far as it can be told from itself.

    Args:
        key: Its name in the file.
        attributes: Of its `JobDefinition`, by name; what the file leaves out is left out.
        requirements: None when it waits for nothing.
        unavailable: What it asks for that this server does not offer.
    """

    key: yaml.Node
    attributes: Mapping[str, Any]
    variables: Variables
    requirements: Requirements | None
    unavailable: tuple[Problem, ...]

    def definition(self, name: str, **more: Any) -> JobDefinition:
        """The whole job."""
        return JobDefinition(name=name, **self.attributes, **more)


def read_job(
    nodes: Nodes, required: RequirementReader, key: yaml.Node, node: yaml.Node, where: str, machine: Machine | None
) -> JobOfFile:
    """The job at `node`; what is wrong with it is a problem in `nodes`, and left out."""
    before = len(nodes.problems)
    fields = nodes.fields(node, where, keys.JOB, keys.HOMES_IN_JOB)
    attributes: dict[str, Any] = {}
    if "command" in fields:
        attributes |= _command(nodes, fields, where)
    elif is_mapping(node) or is_null(node):
        nodes.add(key, where, "has no command")
    single: tuple[tuple[str, str, Kind], ...] = (
        ("workdir", "work_dir", keys.WORK_DIR),
        ("timeout", "timeout_s", keys.TIMEOUT),
    )
    for name, attribute, kind in single:
        if name in fields:
            attributes[attribute] = nodes.value(fields[name], path_of(where, name), kind)
    if "continue_on_failure" in fields:
        inside = path_of(where, "continue_on_failure")
        word = nodes.value(fields["continue_on_failure"], inside, keys.CONTINUE_ON_FAILURE)
        attributes["continue_on_failure"] = word == "true"
    if "resources" in fields:
        attributes |= _resources(nodes, fields["resources"], path_of(where, "resources"), machine)
    if "retries" in fields:
        attributes["retries"] = _retries(nodes, fields["retries"], path_of(where, "retries"))
    requirements = None
    if "requires" in fields:
        requirements = required.read(fields["requires"], path_of(where, "requires"))
    unavailable = _unavailable(nodes, fields, where)
    variables = read_variables(nodes, fields, where)
    if len(nodes.problems) > before:
        attributes = {"continue_on_failure": attributes.get("continue_on_failure", False)}
    return JobOfFile(key, attributes, variables, requirements, unavailable)


def _command(nodes: Nodes, fields: Mapping[str, yaml.Node], where: str) -> dict[str, Any]:
    inside = path_of(where, "command")
    command = nodes.value(fields["command"], inside, keys.COMMAND)
    args: list[str] = []
    if "args" in fields:
        path = path_of(where, "args")
        for item in nodes.items(fields["args"], path, "a list of texts and numbers"):
            scalar = nodes.scalar(item, path, "text or a number")
            text = scalar.text if scalar else ""
            if "\0" in text or len(text) > keys.MAX_TEXT:
                what = "contains a NUL character" if "\0" in text else f"is longer than {keys.MAX_TEXT} characters"
                nodes.add(item, path, what)
            args.append(text)
    if command is not None:
        try:
            check_command(str(command), ())
        except InvalidCommand:
            nodes.add(fields["command"], inside, *_not_a_command(str(command)))
    return {"command": command, "args": tuple(args)}


def _not_a_command(command: str) -> tuple[str, str]:
    """Why the server would refuse it, and what may stand there."""
    if strange := next((each for each in command if each in DANGEROUS), ""):
        what = f"holds {Scalar(strange)}, which only a shell understands; run sh with args for that"
        return what, ""
    return "is blank", keys.COMMAND.allowed


def _resources(nodes: Nodes, node: yaml.Node, where: str, machine: Machine | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value_node in nodes.fields(node, where, tuple(keys.RESOURCES)).items():
        inside = path_of(where, name)
        value = nodes.value(value_node, inside, keys.RESOURCES[name])
        if value is None:
            continue
        found[_ATTRIBUTES[name]] = value
        if machine is not None and _is_beyond(_ATTRIBUTES[name], value, machine):
            has = _what_it_has(name, machine)
            nodes.add(value_node, inside, f"exceeds system limits: this machine has {has}")
    return found


@lru_cache(maxsize=2048)  # as `keys._are_cores`
def _is_beyond(attribute: str, value: Any, machine: Machine) -> bool:
    try:
        check(
            Limits(**{name: getattr(_NO_LIMITS, name) for name in _ATTRIBUTES.values()} | {attribute: value}), machine
        )
    except InvalidLimit:
        return True
    return False


def _what_it_has(name: str, machine: Machine) -> str:
    if name == "max_memory":
        return f"{machine.memory_bytes // MIB} MB"
    cores = f"{machine.cores} core{'' if machine.cores == 1 else 's'}"
    return f"{cores} ({machine.cores * 100 if name == 'max_cpu' else f'0-{machine.cores - 1}'})"


def _retries(nodes: Nodes, node: yaml.Node, where: str) -> Retries:
    fields = nodes.fields(node, where, tuple(keys.RETRIES))
    values = {name: nodes.value(value, path_of(where, name), keys.RETRIES[name]) for name, value in fields.items()}
    if "backoff" in fields and "max" not in fields:
        nodes.add(fields["backoff"], path_of(where, "backoff"), "needs max beside it")
    most, backoff_s = values.get("max"), values.get("backoff")
    return Retries(most if isinstance(most, int) else 0, backoff_s if isinstance(backoff_s, float) else 0.0)


def _unavailable(nodes: Nodes, fields: Mapping[str, yaml.Node], where: str) -> tuple[Problem, ...]:
    """What the file may say already, though this server cannot do it."""
    asked: list[tuple[str, str]] = []
    if "network" in fields:
        inside = path_of(where, "network")
        scalar = nodes.scalar(fields["network"], inside, keys.NAME.allowed)
        # The host's network is what every job has.
        if scalar and scalar.text not in ("", "host") and nodes.value(fields["network"], inside, keys.NAME):
            asked.append(("network", "networks"))
    if "volumes" in fields and _list(nodes, fields["volumes"], path_of(where, "volumes"), keys.NAME):
        asked.append(("volumes", "volumes"))
    if "runtime" in fields and nodes.value(fields["runtime"], path_of(where, "runtime"), keys.NAME):
        asked.append(("runtime", "runtimes"))
    if "uploads" in fields:
        inside = path_of(where, "uploads")
        for name, node in nodes.fields(fields["uploads"], inside, ("files",)).items():
            if _list(nodes, node, path_of(inside, name), keys.UPLOAD):
                asked.append(("uploads", "uploads"))
    return tuple(Problem(*place_of(fields[name]), path_of(where, name), what) for name, what in asked)


def _list(nodes: Nodes, node: yaml.Node, where: str, kind: Kind) -> list[object]:
    return [nodes.value(item, where, kind) for item in nodes.items(node, where, f"a list, each {kind.allowed}")]
