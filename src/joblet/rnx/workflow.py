"""
`rnx workflow`: what can be said of a workflow's file without a server.

Runs in: the user's terminal.
Source: docs/workflows.md.
"""

from typing import Final

from joblet.rnx.flags import BadUsage, Flag, Values, Verb, did_you_mean
from joblet.rnx.output import Output, escaped
from joblet.rnx.workflow_file import checked

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
    return _graph(name, values.text("format", "text"), output)


def _check(name: str, output: Output) -> int:
    _, file = checked(name)
    jobs = len(file.definition.jobs)
    if output.as_json:
        output.json({"file": name, "jobs": list(file.definition.jobs)})
    else:
        output.lines(f"{escaped(name)}: {jobs} {'job' if jobs == 1 else 'jobs'}, nothing wrong")
    for wish in file.unavailable:
        output.note(f"Warning: not yet available on any server: {escaped(wish.at(name))}")
    return 0


def _graph(name: str, format_: str, output: Output) -> int:
    from joblet.rnx.graph import DRAWINGS

    if format_ not in DRAWINGS:
        raise BadUsage(f"--format must be {', '.join(DRAWINGS)} (given: {format_!r})")
    _, file = checked(name)
    output.lines(*DRAWINGS[format_](file.definition))
    return 0
