"""
`rnx stop`: end a running job, gracefully if it lets us.

Runs in: the user's terminal.
Source: API specification, "StopJob".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Values, Verb
from joblet.rnx.output import Output, stopped_lines, stopped_object

VERB: Final = Verb(
    name="stop",
    summary="Stop a running job gracefully (SIGTERM) or forcefully (SIGKILL)",
    operands="<job-uuid>",
    least=1,
    most=1,
    notes="SIGTERM to the job, 100 ms to end by itself, then SIGKILL to all of it.",
    examples=("rnx stop f47ac10b-58cc-4372-a567-0e02b2c3d479",),
)


def run(values: Values, output: Output) -> int:
    """Stop it and say so."""
    with connected(values) as client:
        job = client.stop_job(values.operands[0])
    if output.as_json:
        output.json(stopped_object(job))
    else:
        output.lines(*stopped_lines(job))
    return 0
