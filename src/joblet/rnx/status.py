"""
`rnx status`: everything known about one job.

Runs in: the user's terminal.
Source: API specification, "GetJobStatus".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Flag, Values, Verb
from joblet.rnx.output import Output, status_lines, status_object

VERB: Final = Verb(
    name="status",
    summary="Get detailed information about a job by UUID",
    operands="<job-uuid>",
    least=1,
    most=1,
    flags=(Flag("workflow", "bool", "Show a workflow (not yet available)", later="workflows are"),),
    notes="Any unique beginning of the UUID will do.",
    examples=("rnx status f47ac10b-58cc-4372-a567-0e02b2c3d479",),
)


def run(values: Values, output: Output) -> int:
    """Print it."""
    with connected(values) as client:
        status = client.get_job_status(values.operands[0])
    if output.as_json:
        output.json(status_object(status))
    else:
        output.lines(*status_lines(status))
    return 0
