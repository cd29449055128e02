"""
`rnx log`: a job's output, byte for byte, from its beginning and then live.

The heading goes to stdout on a terminal, as the specification shows it, and to stderr when stdout is a file or a
pipe: `rnx log ID > file` must hold the job's bytes and nothing else.

Runs in: the user's terminal.
Source: API specification, "GetJobLogs".
"""

from typing import TYPE_CHECKING, Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import BadUsage, Flag, Values, Verb, seconds
from joblet.rnx.output import Output

if TYPE_CHECKING:
    from datetime import datetime

VERB: Final = Verb(
    name="log",
    summary="Stream job output in real-time or view historical logs",
    operands="<job-uuid>",
    least=1,
    most=1,
    flags=(
        Flag("follow", "bool", "Follow the log stream (default true)", short="f"),
        Flag("tail", "int", "Begin with the last so many lines (default: 0=with the first one)"),
        Flag("since", "string", "Begin with what was printed so long ago, as in 10m, or at a time in RFC 3339"),
    ),
    notes=(
        "Ends when the job has ended. After a lost connection the log goes on where it broke off.\n"
        "--since is exact to about a second, and begins with a whole line.\n"
        "When a log's beginning is not kept any more, a note on stderr says how much is missing.\n"
        "When stdout is not a terminal it receives the job's bytes only, and the heading goes to stderr.\n"
        'With --output json each piece is a line {"offset": N, "payload": "<base64>"}.'
    ),
    examples=(
        "rnx log f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx log -f f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx log --follow=false f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "rnx log --tail=100 f47ac10b",
        "rnx log --since=10m f47ac10b",
        "rnx log --since=2024-01-15T10:30:00Z f47ac10b",
    ),
)


def run(values: Values, output: Output) -> int:
    """Print it to its end."""
    from joblet.allocator import keep_freed_memory

    keep_freed_memory()
    tail_lines, since = values.number("tail"), moment(values.text("since"))
    if tail_lines < 0:
        raise BadUsage(f"--tail must not be negative (given: {tail_lines})")
    with connected(values) as client:
        log = client.get_job_logs(
            values.operands[0], tail_lines=tail_lines, since=since, follow=values.switch("follow", default=True)
        )
        heading = f"Logs for job {log.job_id} (Press Ctrl+C to exit if streaming):"
        if output.stdout_is_terminal and not output.as_json:
            output.lines(heading)
        elif not output.as_json:
            output.note(heading)
        whole = not tail_lines and since is None
        expected_bytes = 0
        for chunk in log:
            begin_bytes = log.offset_bytes - len(chunk)
            if whole and begin_bytes != expected_bytes and not output.as_json:
                output.note(missing(expected_bytes, begin_bytes))
            whole, expected_bytes = True, log.offset_bytes
            if output.as_json:
                output.json_line(log_object(begin_bytes, chunk))
            else:
                output.data(chunk)
    return 0


def missing(expected_bytes: int, begin_bytes: int) -> str:
    """The note for a log that goes on later than it should."""
    if not expected_bytes:
        return f"Note: the first {begin_bytes} bytes are not kept any more"
    return f"Note: {begin_bytes - expected_bytes} bytes from byte {expected_bytes} on are not kept any more"


def moment(text: str) -> "datetime | None":
    """
    The time that --since means: so long ago by this machine's clock, or the time itself.

    Raises:
        BadUsage: It is neither.
    """
    from datetime import UTC, datetime, timedelta

    if not text:
        return None
    if text[-1:] in ("s", "m", "h"):
        return datetime.now(UTC) - timedelta(seconds=seconds("since", text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min
    if time.tzinfo is None:
        raise BadUsage(
            f"--since must be a duration such as 10m, or a time such as 2024-01-15T10:30:00Z (given: {text!r})"
        )
    return time


def log_object(offset_bytes: int, payload: bytes) -> dict[str, object]:
    """A piece of a log for JSON."""
    from base64 import b64encode

    return {"offset": offset_bytes, "payload": b64encode(payload).decode("ascii")}
