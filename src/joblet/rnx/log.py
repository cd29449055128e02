"""
`rnx log`: a job's output, byte for byte, from its beginning and then live.

The heading goes to stdout on a terminal, as the specification shows it, and to stderr when stdout is a file or a
pipe: `rnx log ID > file` must hold the job's bytes and nothing else.

Runs in: the user's terminal.
Source: API specification, "GetJobLogs".
"""

from typing import Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import Flag, Values, Verb
from joblet.rnx.output import Output

VERB: Final = Verb(
    name="log",
    summary="Stream job output in real-time or view historical logs",
    operands="<job-uuid>",
    least=1,
    most=1,
    flags=(Flag("follow", "bool", "Follow the log stream (default true)", short="f"),),
    notes=(
        "Ends when the job has ended. After a lost connection the log goes on where it broke off.\n"
        "When stdout is not a terminal it receives the job's bytes only, and the heading goes to stderr.\n"
        'With --output json each piece is a line {"offset": N, "payload": "<base64>"}.'
    ),
    examples=(
        "rnx log f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx log -f f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx log --follow=false f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ),
)


def run(values: Values, output: Output) -> int:
    """Print it to its end."""
    from joblet.allocator import keep_freed_memory

    keep_freed_memory()
    with connected(values) as client:
        log = client.get_job_logs(values.operands[0], follow=values.switch("follow", default=True))
        heading = f"Logs for job {log.job_id} (Press Ctrl+C to exit if streaming):"
        if output.stdout_is_terminal and not output.as_json:
            output.lines(heading)
        elif not output.as_json:
            output.note(heading)
        for chunk in log:
            if output.as_json:
                output.json_line(log_object(log.offset_bytes - len(chunk), chunk))
            else:
                output.data(chunk)
    return 0


def log_object(offset_bytes: int, payload: bytes) -> dict[str, object]:
    """A piece of a log for JSON."""
    from base64 import b64encode

    return {"offset": offset_bytes, "payload": b64encode(payload).decode("ascii")}
