"""
Following what runs on a server: signals, readers of logs that fail, jobs that print without a pause.

Runs in: pytest; signals go to this process.
"""

import io
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from joblet.client import JobletClient, JobNotRunning, Workflow, WorkflowJob, WorkflowStatus
from joblet.rnx.following import Stopped, followed
from joblet.rnx.output import Output
from joblet.rnx.workflow_following import Following

DEADLINE_S: Final = 20.0


def an_output() -> tuple[Output, io.BytesIO, io.BytesIO]:
    out, err = io.BytesIO(), io.BytesIO()
    return Output(out, err, stdout_is_terminal=False), out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_strikes_nowhere_in_the_code_that_follows(number: signal.Signals) -> None:
    """It used to be raised wherever that code was, even inside of a lock; two in a row were then one too many."""
    output, _, err = an_output()
    reached: list[str] = []

    def follow(left: threading.Event) -> int:
        os.kill(os.getpid(), number)
        reached.append("after the signal")
        assert left.wait(DEADLINE_S)
        reached.append("told to leave")
        return 0

    def stop() -> Stopped:
        reached.append("stopped")
        return Stopped("STOPPED", {})

    status = followed(output, "job 1", "1", follow, stop)

    assert (status, reached[0], "stopped" in reached) == (128 + number, "after the signal", True)
    assert err.getvalue() == b"Stopping job 1 (Ctrl+C again leaves it running)\nJob 1 STOPPED\n"


def test_two_signals_on_each_others_heels_are_one() -> None:
    """A person who presses twice, or a wrapper that passes on what came to all, does not mean that it is to run on."""
    output, _, err = an_output()
    twice = threading.Event()

    def follow(left: threading.Event) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        assert left.wait(DEADLINE_S)
        os.kill(os.getpid(), signal.SIGINT)
        twice.set()
        return 0

    def stop() -> Stopped:
        assert twice.wait(DEADLINE_S)
        return Stopped("STOPPED", {})

    assert followed(output, "job 1", "1", follow, stop) == 130
    assert err.getvalue().endswith(b"\nJob 1 STOPPED\n")


def test_the_second_of_two_signals_leaves_what_is_being_stopped() -> None:
    output, _, err = an_output()
    never = threading.Event()

    def stop() -> Stopped:
        os.kill(os.getpid(), signal.SIGINT)
        never.wait(DEADLINE_S)
        return Stopped("STOPPED", {})

    def follow(left: threading.Event) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        assert left.wait(DEADLINE_S)
        return 0

    status = followed(output, "job 1", "1", follow, stop)
    never.set()

    assert status == 130
    assert err.getvalue().endswith(b"\nJob 1 may still be running (rnx status 1)\n")


def test_the_handlers_of_the_program_are_back_afterwards_and_an_ignored_signal_stays_ignored() -> None:
    output, _, _ = an_output()
    before = signal.getsignal(signal.SIGINT)
    ignored = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    seen: list[object] = []

    def follow(left: threading.Event) -> int:
        seen.extend((signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)))
        return 3

    try:
        assert followed(output, "job 1", "1", follow, lambda: Stopped("STOPPED", {})) == 3
    finally:
        signal.signal(signal.SIGTERM, ignored)

    assert seen[0] is not before
    assert seen[1] is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before


def test_what_had_ended_by_itself_is_said_to_have() -> None:
    output, _, err = an_output()

    def follow(left: threading.Event) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        assert left.wait(DEADLINE_S)
        raise JobNotRunning("1", "FAILED")  # whatever it meets with then is not told

    def stop() -> Stopped:
        raise JobNotRunning("1", "COMPLETED")

    assert followed(output, "job 1", "1", follow, stop) == 130
    assert err.getvalue().endswith(b"\njob is not running: 1 (current status: COMPLETED)\n")


A_TIME: Final = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


def a_state(a: str, b: str = "PENDING") -> WorkflowStatus:
    """A workflow of two jobs of which the first has a log."""
    ended = a == "COMPLETED"
    status = "COMPLETED" if ended else "RUNNING"
    return WorkflowStatus(
        workflow=Workflow(id="w", name="w", status=status, total_jobs=2, ended_at=A_TIME if ended else None),
        jobs=(WorkflowJob(job_id="1", name="a", status=a), WorkflowJob(job_id=None, name="b", status=b)),
    )


class OneLog(JobletClient):
    """Connects nothing: a workflow's states one after the other, and the log of its first job."""

    def __init__(self, states: Iterable[WorkflowStatus], log: Iterator[bytes]) -> None:
        self._states = iter(states)
        self._log = log

    def _logs_of(self, request: object) -> "Stream":  # type: ignore[override]
        return Stream(self._log)

    def get_workflow_status(self, workflow_id: str) -> WorkflowStatus:
        return next(self._states)


class Stream(Iterator[tuple[bytes, int]]):
    """A call that has been begun."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __next__(self) -> tuple[bytes, int]:
        return next(self._pieces), 0

    def cancel(self) -> bool:
        return True


def failing() -> Iterator[bytes]:
    yield b"line\n"
    raise ValueError("nobody foresaw this")


def test_a_log_that_cannot_be_read_for_whatever_reason_is_told_and_holds_nothing_up() -> None:
    output, out, err = an_output()
    client = OneLog([a_state("COMPLETED")], failing())

    status = Following(client, ["a", "b"], output, threading.Event()).until_the_end("w")

    assert (status, out.getvalue()) == (0, b"a | line\n")
    assert b"a: its output cannot be read: ValueError('nobody foresaw this')\n" in err.getvalue()


class Slow(io.BytesIO):
    """Takes each piece when the reader of the log is some pieces ahead: there is always one to print."""

    def __init__(self, ahead: threading.Semaphore) -> None:
        super().__init__()
        self.other_news = threading.Event()
        self._ahead = ahead
        self._taken = 0

    def write(self, data: object) -> int:
        assert self._ahead.acquire(timeout=DEADLINE_S)
        self._taken += self.other_news.is_set()
        assert self._taken < 100_000, "nothing but this one log is printed"
        return 0


class Listening(io.BytesIO):
    """Sets an event once it gets certain words."""

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self._words = words
        self.heard = threading.Event()

    def write(self, data: object) -> int:
        assert isinstance(data, bytes)
        if self._words in data:
            self.heard.set()
        return len(data)


def test_what_becomes_of_other_jobs_is_told_while_one_prints_without_a_pause() -> None:
    ahead, err = threading.Semaphore(0), Listening(b"b: RUNNING\n")
    out = Slow(ahead)
    output = Output(out, err, stdout_is_terminal=False)

    def endless() -> Iterator[bytes]:
        for _ in range(10):  # so far the reader is ahead
            yield b"line\n"
        while not err.heard.is_set():
            ahead.release()
            yield b"line\n"
        ahead.release(1000)

    def states() -> Iterator[WorkflowStatus]:
        yield a_state("RUNNING")
        out.other_news.set()
        yield a_state("RUNNING", "RUNNING")
        assert err.heard.wait(DEADLINE_S)
        yield a_state("COMPLETED", "RUNNING")

    status = Following(OneLog(states(), endless()), ["a", "b"], output, threading.Event()).until_the_end("w")

    assert status == 0
