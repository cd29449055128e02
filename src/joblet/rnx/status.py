"""
`rnx status`: everything known about one job.

Runs in: the user's terminal.
Source: API specification, "GetJobStatus".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import BadUsage, Flag, Values, Verb
from joblet.rnx.output import Output, status_lines, status_object

VERB: Final = Verb(
    name="status",
    summary="Get detailed information about a job by UUID",
    operands="<job-uuid>",
    least=1,
    most=1,
    flags=(
        Flag("workflow", "bool", "The UUID is a workflow's: show it and each of its jobs", short="w"),
        Flag("watch", "bool", "Show a workflow until it has ended"),
    ),
    notes=(
        "Any unique beginning of the UUID will do.\n"
        "With --watch the exit status is 0 only if all jobs that should have succeeded did."
    ),
    examples=(
        "rnx status f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx status --workflow a1b2c3d4-e5f6-7890-1234-567890abcdef",
        "rnx status --workflow --watch a1b2c3d4",
    ),
)


def run(values: Values, output: Output) -> int:
    """Print it."""
    if values.switch("workflow", default=False):
        return _workflow(values, output)
    if values.given("watch"):
        raise BadUsage("--watch is for --workflow (a job: rnx wait, rnx log)")
    with connected(values) as client:
        status = client.get_job_status(values.operands[0])
    if output.as_json:
        output.json(status_object(status))
    else:
        output.lines(*status_lines(status))
    return 0


def _workflow(values: Values, output: Output) -> int:
    from joblet.rnx import workflow_view

    workflow_id = values.operands[0]
    with connected(values) as client:
        if values.switch("watch", default=False):
            return workflow_view.watch(client, workflow_id, output)
        status = client.get_workflow_status(workflow_id)
    workflow_view.show(output, workflow_view.status_object(status), lambda: workflow_view.status_text(status))
    return 0
