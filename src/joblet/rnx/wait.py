"""
`rnx wait`: block until a job has ended, and exit as it did.

Runs in: the user's terminal, scripts.
Source: API specification, "Job Status Values" (a stopped job's exit code is -1).
"""

from typing import TYPE_CHECKING, Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Values, Verb
from joblet.rnx.output import Output, escaped, status_object

if TYPE_CHECKING:
    from joblet.client import JobStatus

VERB: Final = Verb(
    name="wait",
    summary="Wait until a job has ended and exit with its exit code",
    operands="<job-uuid>",
    least=1,
    most=1,
    notes=(
        "The exit status is the job's own: 0 when COMPLETED, 128 + n after signal n, 255 when STOPPED (-1).\n"
        "1 may also mean that rnx itself failed; then stderr says so."
    ),
    examples=("rnx wait f47ac10b-58cc-4372-a567-0e02b2c3d479",),
)


def run(values: Values, output: Output) -> int:
    """Wait for it and say how it ended."""
    with connected(values) as client:
        status = client.wait(values.operands[0])
    if output.as_json:
        output.json(status_object(status))
    else:
        output.lines(*ended_lines(status))
    return exit_status(status)


def exit_status(status: "JobStatus") -> int:
    """A job's exit code as this process's: -1 (STOPPED) becomes 255, as in any shell."""
    return (status.exit_code or 0) & 0xFF


def ended_lines(status: "JobStatus") -> list[str]:
    """How a job ended, in a line or two."""
    lines = [f"{escaped(status.id)} {escaped(status.status)} ExitCode: {status.exit_code}"]
    if status.reason:
        lines.append(f"Reason: {escaped(status.reason)}")
    return lines
