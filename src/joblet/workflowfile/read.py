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

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from joblet.domain.limits import Machine
from joblet.domain.workflow.definition import All, Definition
from joblet.domain.workflow.environment import NOTHING, Level, Resolver
from joblet.workflowfile import keys
from joblet.workflowfile.dependencies import check_dependencies
from joblet.workflowfile.jobs import JobOfFile, read_job
from joblet.workflowfile.masking import masked
from joblet.workflowfile.nodes import Enough, Nodes, is_mapping, path_of
from joblet.workflowfile.requires import RequirementReader, listed_bytes
from joblet.workflowfile.variables import read_variables, resolve, secret_values
from joblet.yamlfile import Problem, YamlInvalid, compose, in_order, is_null, read_bytes

_JOBS: Final = "a mapping of names and jobs"
# Beside its file, of which a server takes 512 KiB unless configured otherwise, an answer has room for 4 MiB less that.
MAX_LISTED_BYTES: Final = 3584 * 1024
_JOB_BYTES: Final = 128  # its id, state, times and a reason
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
    secrets = secret_values(root)
    reading = _Reading(nodes, machine, {id(node) for node in secrets})
    definition = None
    with suppress(Enough):
        definition = reading.workflow(root)
    nodes.hide(secrets)
    if nodes.problems or definition is None:
        raise YamlInvalid(name, in_order(nodes.problems))
    mark = _BOM if content.startswith(_BOM.encode()) else ""
    return WorkflowFile(definition, tuple(reading.unavailable), mark + masked(text, secrets))


class _Reading:
    """
    One file on its way to a `Definition`.

    Args:
        secrets: The ids of the nodes that are the value of a secret.
    """

    def __init__(self, nodes: Nodes, machine: Machine | None, secrets: Collection[int]) -> None:
        self.unavailable: list[Problem] = []
        self._nodes = nodes
        self._machine = machine
        self._secrets = secrets
        self._requirements = RequirementReader(nodes)
        self._resolver = Resolver()
        self._listed_bytes = 0

    def workflow(self, root: yaml.Node | None) -> Definition | None:
        """The definition; None when it has problems, which are then in the nodes."""
        nodes = self._nodes
        if root is None or is_null(root):
            nodes.problems.append(Problem(0, 0, "", "is empty; a workflow needs jobs"))
            return None
        fields = nodes.fields(root, "", keys.TOP, keys.HOMES_AT_TOP)
        variables = read_variables(nodes, fields, "")
        variables.hide(self._secrets)
        jobs = self._jobs(fields["jobs"]) if "jobs" in fields else {}
        top = resolve(nodes, self._resolver, variables, NOTHING)
        if "jobs" not in fields:
            if is_mapping(root):
                nodes.problems.append(Problem(0, 0, "jobs", "is missing; a workflow needs jobs"))
            return None
        levels: dict[str, Level] = {}
        for name, job in jobs.items():
            nodes.begin(job.key, path_of("jobs", name))
            levels[name] = resolve(nodes, self._resolver, job.variables, top)
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
            nodes.begin(key, where)
            job = jobs[name] = read_job(nodes, self._requirements, key, value, where, self._machine)
            job.variables.hide(self._secrets)
            self.unavailable += job.unavailable
            self._count(name, job)
        return jobs

    def _count(self, name: str, job: JobOfFile) -> None:
        dependencies = job.requirements.listed_bytes if job.requirements is not None else 0
        self._listed_bytes += _JOB_BYTES + listed_bytes(name) + dependencies
        if self._listed_bytes > MAX_LISTED_BYTES:
            self._nodes.end(
                f"makes the list of all jobs, each with the names of those it waits for, longer than the"
                f" {MAX_LISTED_BYTES} bytes that an answer of the server has room for"
            )
