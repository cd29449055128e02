"""
Being the terminal of what runs on a server: Ctrl+C and SIGTERM stop it there, a closed output leaves it.

Runs in: the user's terminal, scripts, CI pipelines; in the main thread.
Source: docs/users.md, "Running".
"""

import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from joblet.rnx.output import Output

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED: Final = 128 + signal.SIGINT
_TERMINATED: Final = 128 + signal.SIGTERM
_PIPE_CLOSED: Final = 128 + signal.SIGPIPE


class _Terminated(BaseException):
    """SIGTERM came."""


def followed(output: Output, what: str, verbs: str, follow: Callable[[], int], stop: Callable[[], str]) -> int:
    """
    Follow it to its end.

    Args:
        what: What is followed, as in "job f47ac10b-…".
        verbs: How it is named on the command line, as in "f47ac10b-…" or "--workflow a1b2c3d4-…".
        follow: Prints what there is to print; its exit status is ours.
        stop: Ends it on the server; returns its status then.

    Returns:
        The exit status.
    """
    from joblet.allocator import keep_freed_memory

    keep_freed_memory()
    previous = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        return follow()
    except KeyboardInterrupt:
        _stop(output, what, verbs, stop)
        return INTERRUPTED
    except _Terminated:
        _stop(output, what, verbs, stop)
        return _TERMINATED
    except BrokenPipeError:
        output.note(f"The output was closed: {what} runs on (rnx stop {verbs})")
        return _PIPE_CLOSED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _stop(output: Output, what: str, verbs: str, stop: Callable[[], str]) -> None:
    from joblet.client import ClientError, JobletError, JobNotRunning, WorkflowNotRunning

    output.note(f"Stopping {what} (Ctrl+C again leaves it running)")
    try:
        status = stop()
    except (JobNotRunning, WorkflowNotRunning) as error:
        output.note(error.message)
    except (JobletError, ClientError) as error:
        output.note(f"Error: {what} was not stopped: {error.message}")
    except (KeyboardInterrupt, _Terminated):
        output.note(f"{what.capitalize()} may still be running (rnx status {verbs})")
    else:
        output.note(f"{what.capitalize()} {status}")


def _on_sigterm(number: int, frame: "FrameType | None") -> NoReturn:
    raise _Terminated
