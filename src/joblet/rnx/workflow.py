"""
`rnx workflow`: what can be said of a workflow's file without a server.

Runs in: the user's terminal.
Source: docs/workflows.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from joblet.rnx.flags import BadUsage, Flag, Values, Verb, did_you_mean
from joblet.rnx.output import Output, escaped
from joblet.rnx.workflow_file import checked

if TYPE_CHECKING:
    from joblet.yamlfile import Problem

_ACTIONS: Final = ("check", "graph")

VERB: Final = Verb(
    name="workflow",
    summary="Check a workflow's file, or draw it",
    operands="<check|graph> <file>",
    least=2,
    most=2,
    flags=(Flag("format", "string", "Of a graph: text, dot, mermaid or svg (default: text)"),),
    notes=(
        "check tells everything that is wrong with a file, each with its line and column; rnx run --workflow\n"
        "checks it too. Limits above those of the server's machine are found by the server.\n"
        "With --output json the problems are on stdout: each has line, column, path and message.\n"
        "graph draws which jobs wait for which."
    ),
    examples=(
        "rnx workflow check pipeline.yaml",
        "rnx workflow graph pipeline.yaml",
        "rnx workflow graph --format=svg pipeline.yaml > pipeline.svg",
    ),
)


def run(values: Values, output: Output) -> int:
    """Do it."""
    action, name = values.operands
    if action not in _ACTIONS:
        raise BadUsage(f"unknown action: {action}{did_you_mean(action, _ACTIONS)}")
    if action == "check":
        if values.text("format"):
            raise BadUsage("--format is for rnx workflow graph")
        return _check(name, output)
    return _graph(name, values, output)


def _check(name: str, output: Output) -> int:
    if output.as_json:
        return _check_as_json(name, output)
    _, file = checked(name)
    jobs = len(file.definition.jobs)
    output.lines(f"{escaped(name)}: {jobs} {'job' if jobs == 1 else 'jobs'}, nothing wrong")
    for wish in file.unavailable:
        output.note(f"Warning: not yet available on any server: {escaped(wish.at(name))}")
    return 0


def _check_as_json(name: str, output: Output) -> int:
    from joblet.workflowfile.read import read
    from joblet.yamlfile import YamlInvalid

    jobs: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    unavailable: tuple[Problem, ...] = ()
    try:
        _, file = read(Path(name))
    except YamlInvalid as error:
        problems = error.problems
    else:
        jobs, unavailable = tuple(file.definition.jobs), file.unavailable
    output.json(
        {
            "file": name,
            "valid": not problems,
            "jobs": list(jobs),
            "problems": [_problem_object(problem) for problem in problems],
            "unavailable": [_problem_object(wish) for wish in unavailable],
        }
    )
    return 1 if problems else 0


def _problem_object(problem: "Problem") -> dict[str, object]:
    allowed = f" (allowed: {problem.allowed})" if problem.allowed else ""
    return {
        "line": problem.line or None,
        "column": problem.column or None,
        "path": problem.field,
        "message": f"{problem.what}{allowed}",
    }


def _graph(name: str, values: Values, output: Output) -> int:
    from joblet.rnx.graph import DRAWINGS

    if output.as_json:
        raise BadUsage(f"a graph cannot be drawn as JSON (--format: {', '.join(DRAWINGS)})")
    format_ = values.text("format", "text")
    if format_ not in DRAWINGS:
        raise BadUsage(f"--format must be {', '.join(DRAWINGS)} (given: {format_!r})")
    _, file = checked(name)
    output.lines(*DRAWINGS[format_](file.definition))
    return 0
