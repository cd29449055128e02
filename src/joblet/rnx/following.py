"""
Being the terminal of what runs on a server: Ctrl+C and SIGTERM stop it there, a closed output leaves it.

A signal leaves a word in a queue and raises nothing: an exception out of a handler may strike inside a lock (a second
Ctrl+C ended in `release unlocked lock`, and the job was not stopped). So threads do the work, and the main thread
waits for what comes first.

Runs in: the user's terminal, scripts, CI pipelines; called in the main thread.
Source: docs/users.md, "Running"; queue.SimpleQueue, whose put may be called by a handler in the middle of another.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from joblet.rnx.output import Output, json_text

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Event

INTERRUPTED: Final = 128 + signal.SIGINT
# A second signal that comes sooner leaves the server this long to be asked: some send two where one is meant.
_TO_ASK_S: Final = 0.5
_PIPE_CLOSED: Final = 128 + signal.SIGPIPE


class Stopped(NamedTuple):
    """What was followed, after its stop: its status, and all of it for JSON."""

    status: str
    as_object: object


class _Done(NamedTuple):
    """A thread has done its work, or failed."""

    work: Callable[..., object]
    result: object = None
    error: BaseException | None = None


def followed(
    output: Output, what: str, verbs: str, follow: "Callable[[Event], int]", stop: Callable[[], Stopped]
) -> int:
    """
    Follow it to its end.

    Args:
        what: What is followed, as in "job f47ac10b-…".
        verbs: How it is named on the command line, as in "f47ac10b-…" or "--workflow a1b2c3d4-…".
        follow: Prints what there is to print, and nothing any more once it is told by the event; its exit status is
            ours. It has a thread of its own.
        stop: Ends it on the server. Likewise.

    Returns:
        The exit status.
    """
    from queue import SimpleQueue
    from threading import Event

    from joblet.allocator import keep_freed_memory

    keep_freed_memory()
    left = Event()
    happened: SimpleQueue[signal.Signals | _Done] = SimpleQueue()
    with _signals_into(happened):
        _in_a_thread(happened, follow, left)
        first = happened.get()
        if isinstance(first, signal.Signals):
            left.set()
            output.remark(f"Stopping {what} (Ctrl+C again leaves it running)")
            _in_a_thread(happened, stop)
            _tell_stopped(output, what, verbs, _outcome_of(stop, happened))
            return 128 + first
    if isinstance(first.error, BrokenPipeError):
        output.remark(f"The output was closed: {what} runs on (rnx stop {verbs})")
        return _PIPE_CLOSED
    if first.error is not None:
        raise first.error
    assert isinstance(first.result, int)
    return first.result


def _outcome_of(stop: Callable[..., object], happened: "SimpleQueue[signal.Signals | _Done]") -> _Done | None:
    """What became of it; None when a further signal came first."""
    from queue import Empty
    from time import monotonic

    until_s = monotonic() + _TO_ASK_S
    again = False
    while True:
        try:
            then = happened.get(timeout=max(until_s - monotonic(), 0.0) if again else None)
        except Empty:
            return None
        if isinstance(then, signal.Signals):
            again = True
        elif then.work is stop:  # and not what follows, which ends now that it is being stopped
            return then


def _tell_stopped(output: Output, what: str, verbs: str, then: _Done | None) -> None:
    from joblet.client import ClientError, JobletError, JobNotRunning, WorkflowNotRunning

    match then:
        case _Done(error=JobNotRunning() | WorkflowNotRunning() as error):
            output.remark(error.message)
        case _Done(error=JobletError() | ClientError() as error):
            output.remark(f"Error: {what} was not stopped: {error.message}")
        case _Done(error=None, result=Stopped(status, as_object)):
            output.note(json_text(as_object) if output.as_json else f"{what.capitalize()} {status}")
        case _Done(error=BaseException() as error):
            raise error
        case None:
            output.remark(f"{what.capitalize()} may still be running (rnx status {verbs})")


def _in_a_thread(happened: "SimpleQueue[signal.Signals | _Done]", work: Callable[..., object], *args: object) -> None:
    from threading import Thread

    def run() -> None:
        try:
            done = _Done(work, work(*args))
        except BaseException as error:  # it is the main thread's to raise
            done = _Done(work, error=error)
        happened.put(done)

    # A daemon, here and wherever a log is read: whoever leaves does not wait for a terminal that takes no more.
    Thread(target=run, daemon=True).start()


@contextmanager
def _signals_into(happened: "SimpleQueue[signal.Signals | _Done]") -> Iterator[None]:
    """SIGINT and SIGTERM; a process that was started with one of them ignored (nohup) keeps it so."""
    previous = {
        number: signal.signal(number, lambda number, _: happened.put(signal.Signals(number)))
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
