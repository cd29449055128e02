"""
Whether the jobs of a file can wait for each other as they say: every one they name exists, none waits for itself, and
each can run at all.

Runs in: server loop, command lines. May not: do I/O.
Source: API specification, "Workflow API".
"""

from collections.abc import Collection, Mapping

from joblet.domain.workflow.environment import shown_circle
from joblet.domain.workflow.graph import Possibility, circles
from joblet.workflowfile.keys import EXPRESSION
from joblet.workflowfile.nodes import Nodes, path_of
from joblet.workflowfile.requires import Reference, Requirements
from joblet.yamlkinds import Scalar


def check_dependencies(
    nodes: Nodes, requirements: Mapping[str, Requirements], jobs: Collection[str], lenient: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """
    The jobs each job waits for, each once; what is wrong is a problem in `nodes`.

    Args:
        requirements: Of the jobs that have any.
        jobs: The names of all jobs.
        lenient: Of those with continue_on_failure.
    """
    told: set[tuple[int, str]] = set()
    references = {name: _existing(nodes, name, requirements[name], jobs, told) for name in requirements}
    dependencies = {name: tuple(references.get(name, ())) for name in jobs}
    for circle in circles(dependencies):
        first, second = circle[:2]
        reference = references[first][second]
        where = _where(first)
        nodes.add(reference.node, where, f"waits for itself: {shown_circle(circle)}", offset=reference.offset)
    possibility = Possibility(lenient)
    for name, required in requirements.items():
        if required.sound and (why := possibility.contradiction(required.condition)):
            nodes.add(required.node, _where(name), f"can never run: {why}")
    return dependencies


def _existing(
    nodes: Nodes, name: str, required: Requirements, jobs: Collection[str], told: set[tuple[int, str]]
) -> dict[str, Reference]:
    """The first reference to each job that there is; `told` has which are missing at which node."""
    found: dict[str, Reference] = {}
    missing: set[str] = set()
    for reference in required.references:
        other = reference.job
        if other in found or other in missing:
            continue
        if other in jobs and other != name:
            found[other] = reference
            continue
        missing.add(other)
        required.sound = False
        if other == name:
            what = "a job cannot require itself"
        elif (id(reference.node), other) in told:
            continue
        else:
            told.add((id(reference.node), other))
            others = [each for each in jobs if each != name]
            near = nodes.suggestion(other, others if reference.offset is not None else [EXPRESSION, *others])
            what = f"there is no job {Scalar(other)}{f'; did you mean {near}?' if near else ''}"
        nodes.add(reference.node, _where(name), what, offset=reference.offset)
    return found


def _where(job: str) -> str:
    return path_of(path_of("jobs", job), "requires")
