"""
Reads a workflow file: YAML to a `Definition`, or every problem in one go.

    keys.py          what may stand where
    nodes.py         YAML apart, and the problems
    jobs.py          one job; requires.py and variables.py take two of its keys
    dependencies.py  the jobs together
    masking.py       the text without its secrets

Runs in: server loop, command lines. May not: read a file of unbounded size.
Source: API specification, "Workflow API".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from joblet.domain.limits import Machine
from joblet.domain.workflow.definition import All, Definition
from joblet.domain.workflow.environment import NOTHING, Resolver, TooMuch
from joblet.workflowfile import keys
from joblet.workflowfile.dependencies import check_dependencies
from joblet.workflowfile.jobs import JobOfFile, read_job
from joblet.workflowfile.masking import masked
from joblet.workflowfile.nodes import Bomb, Nodes, is_mapping, path_of
from joblet.workflowfile.variables import read_variables, resolve
from joblet.yamlfile import MAX_NODES, Problem, YamlInvalid, compose, in_order, is_null, read_bytes

_JOBS: Final = "a mapping of names and jobs"
_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class WorkflowFile:
    """
    A workflow file that passed every check.

    Args:
        unavailable: What it may ask for but no server offers yet, each with its place.
        masked: Its text with `***` for the value of every secret.
    """

    definition: Definition
    unavailable: tuple[Problem, ...]
    masked: str


def read(path: Path, machine: Machine | None = None) -> tuple[str, WorkflowFile]:
    """
    The text of a file, and what it says.

    Raises:
        YamlInvalid: With every problem in it, or why it cannot be read.
    """
    content = read_bytes(path, keys.MAX_BYTES)
    found = parse(content, path, machine)
    return content.decode(), found


def parse(content: bytes, name: str | Path, machine: Machine | None = None) -> WorkflowFile:
    """
    What a workflow file says.

    Args:
        name: For the messages.
        machine: Whose limits no job may exceed; None when it is another's to check.

    Raises:
        YamlInvalid: With every problem in it.
    """
    text, root = compose(content, name, keys.MAX_BYTES, quote=False)
    nodes = Nodes(text)
    reading = _Reading(nodes, machine)
    definition = None
    try:
        definition = reading.workflow(root)
    except Bomb:
        # Alone: which of the values in the other problems are secrets is not known yet.
        what = f"holds more than {MAX_NODES} values, each alias counted with all that it stands for"
        raise YamlInvalid(name, (Problem(0, 0, "", what),)) from None
    except TooMuch as error:
        nodes.problems.append(Problem(0, 0, "", str(error)))
    nodes.hide(reading.secrets)
    if nodes.problems or definition is None:
        raise YamlInvalid(name, in_order(nodes.problems))
    mark = _BOM if content.startswith(_BOM.encode()) else ""
    return WorkflowFile(definition, tuple(reading.unavailable), mark + masked(text, reading.secrets))


class _Reading:
    """One file on its way to a `Definition`."""

    def __init__(self, nodes: Nodes, machine: Machine | None) -> None:
        self.unavailable: list[Problem] = []
        self.secrets: list[yaml.Node] = []
        self._nodes = nodes
        self._machine = machine
        self._resolver = Resolver()

    def workflow(self, root: yaml.Node | None) -> Definition | None:
        """The definition; None when it has problems, which are then in the nodes."""
        nodes = self._nodes
        if root is None or is_null(root):
            nodes.problems.append(Problem(0, 0, "", "is empty; a workflow needs jobs"))
            return None
        fields = nodes.fields(root, "", keys.TOP, keys.HOMES_AT_TOP)
        variables = read_variables(nodes, fields, "")
        self.secrets += variables.secrets
        jobs = self._jobs(fields["jobs"]) if "jobs" in fields else {}
        secrets = {id(node) for node in self.secrets}
        for each in (variables, *(job.variables for job in jobs.values())):
            each.hide(secrets)
        top = resolve(nodes, self._resolver, variables, NOTHING)
        if "jobs" not in fields:
            if is_mapping(root):
                nodes.problems.append(Problem(0, 0, "jobs", "is missing; a workflow needs jobs"))
            return None
        levels = {name: resolve(nodes, self._resolver, job.variables, top) for name, job in jobs.items()}
        requirements = {name: job.requirements for name, job in jobs.items() if job.requirements is not None}
        lenient = {name for name, job in jobs.items() if job.attributes.get("continue_on_failure")}
        dependencies = check_dependencies(nodes, requirements, jobs, lenient)
        if nodes.problems:
            return None
        return Definition(
            {
                name: job.definition(
                    name,
                    requires=requirements[name].condition if name in requirements else All(),
                    dependencies=dependencies[name],
                    environment=levels[name].plain,
                    secret_environment=levels[name].secret,
                )
                for name, job in jobs.items()
            }
        )

    def _jobs(self, node: yaml.Node) -> Mapping[str, JobOfFile]:
        nodes = self._nodes
        if is_null(node) or (isinstance(node, yaml.MappingNode) and not node.value):
            nodes.add(node, "jobs", "is empty; a workflow needs jobs")
        elif isinstance(node, yaml.MappingNode) and len(node.value) > keys.MAX_JOBS:
            nodes.add(node, "jobs", f"has {len(node.value)} jobs; a workflow may have {keys.MAX_JOBS}")
            return {}
        jobs: dict[str, JobOfFile] = {}
        for name, key, value in nodes.mapping(node, "jobs", _JOBS):
            where = path_of("jobs", name)
            if name == keys.EXPRESSION:
                nodes.add(
                    key, where, "a job cannot be called expression: in requires, that is the key of an expression"
                )
            elif not keys.JOB_NAME.fullmatch(name):
                nodes.add(key, where, "is no name for a job", keys.JOB_NAMES)
            jobs[name] = read_job(nodes, key, value, where, self._machine)
            self.unavailable += jobs[name].unavailable
            self.secrets += jobs[name].variables.secrets
        return jobs
