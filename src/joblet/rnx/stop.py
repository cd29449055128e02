"""
`rnx stop`: end a running job, gracefully if it lets us.

Runs in: the user's terminal.
Source: API specification, "StopJob".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Flag, Values, Verb
from joblet.rnx.output import Output, stopped_lines, stopped_object

VERB: Final = Verb(
    name="stop",
    summary="Stop a running job gracefully (SIGTERM) or forcefully (SIGKILL)",
    operands="<job-uuid>",
    least=1,
    most=1,
    flags=(Flag("workflow", "bool", "The UUID is a workflow's: stop its jobs, and start no more of them", short="w"),),
    notes="SIGTERM to the job, 100 ms to end by itself, then SIGKILL to all of it.",
    examples=(
        "rnx stop f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx stop --workflow a1b2c3d4-e5f6-7890-1234-567890abcdef",
    ),
)


def run(values: Values, output: Output) -> int:
    """Stop it and say so."""
    if values.switch("workflow", default=False):
        return _workflow(values, output)
    with connected(values) as client:
        job = client.stop_job(values.operands[0])
    if output.as_json:
        output.json(stopped_object(job))
    else:
        output.lines(*stopped_lines(job))
    return 0


def _workflow(values: Values, output: Output) -> int:
    from joblet.rnx import workflow_view

    with connected(values) as client:
        workflow = client.stop_workflow(values.operands[0])
    workflow_view.show(output, workflow_view.workflow_object(workflow), lambda: workflow_view.stopped_text(workflow))
    return 0
