"""
`rnx list`: every job, one a line, oldest first.

Runs in: the user's terminal.
Source: API specification, "ListJobs".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Flag, Values, Verb
from joblet.rnx.output import Output, job_object, listed_line

VERB: Final = Verb(
    name="list",
    summary="List all jobs with their current status",
    flags=(Flag("workflow", "bool", "List workflows instead of jobs", short="w"),),
    examples=("rnx list", "rnx list --workflow"),
)


def run(values: Values, output: Output) -> int:
    """Print them."""
    if values.switch("workflow", default=False):
        return _workflows(values, output)
    with connected(values) as client:
        jobs = client.list_jobs()
    if output.as_json:
        output.json([job_object(job) for job in jobs])
    elif jobs:
        output.lines(*map(listed_line, jobs))
    else:
        # Not on stdout: a script that counts lines must count none.
        output.note("No jobs yet")
    return 0


def _workflows(values: Values, output: Output) -> int:
    from joblet.rnx import workflow_view

    with connected(values) as client:
        workflows = client.list_workflows()
    if output.as_json:
        output.json([workflow_view.workflow_object(workflow) for workflow in workflows])
    elif workflows:
        output.lines(*workflow_view.list_text(workflows))
    else:
        output.note("No workflows yet")
    return 0
