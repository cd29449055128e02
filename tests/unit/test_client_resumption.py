"""
When a log goes on after its stream was lost.

Runs in: pytest.
"""

import pytest

from joblet.client.errors import BadCredentials, ClientError, NoAnswer, ServerUnreachable, UnexpectedAnswer
from joblet.client.resumption import Position, gave_up, is_lost
from joblet.domain.errors import EngineUnavailable, JobletError, JobNotFound, NotAllowed, ShuttingDown, SlowReader


@pytest.mark.parametrize(
    "error",
    [
        ServerUnreachable("gone"),
        EngineUnavailable("restarting"),
        ShuttingDown(),
        SlowReader("id", 30, 0),
    ],
)
def test_a_log_goes_on_after(error: JobletError | ClientError) -> None:
    assert is_lost(error)


@pytest.mark.parametrize(
    "error",
    [
        JobNotFound("id"),
        NotAllowed("none", "get_job_logs"),
        NoAnswer(""),
        BadCredentials(""),
        UnexpectedAnswer("INTERNAL", ""),
    ],
)
def test_a_log_does_not_go_on_after(error: JobletError | ClientError) -> None:
    assert not is_lost(error)


def test_a_stream_that_brought_something_is_asked_for_again_at_once() -> None:
    position = Position(10)

    position.read(5)

    assert position.lost(lasted_s=0.1) == 0
    assert position.offset_bytes == 15


def test_a_piece_that_begins_elsewhere_says_so_and_all_others_follow_it() -> None:
    position = Position(10)
    assert not position.begun

    position.read(5, 4096)
    position.read(5)

    assert (position.offset_bytes, position.begun) == (4106, True)


def test_fruitless_streams_are_asked_for_ever_more_slowly_and_then_given_up() -> None:
    position = Position(0)

    waits = [position.lost(lasted_s=0.1) for _ in range(21)]

    assert waits[:4] == [0, 0.1, 0.2, 0.4]
    assert waits[19] == 5
    assert waits[20] is None


def test_a_silent_stream_that_lasted_is_not_fruitless() -> None:
    """A job may print nothing for days, and its server be restarted each night."""
    position = Position(0)

    waits = [position.lost(lasted_s=3600) for _ in range(100)]

    assert set(waits) == {0.0}


def test_giving_up_says_where_the_log_can_be_taken_up() -> None:
    error = gave_up("host:50051", "f47ac10b", 4096, ServerUnreachable("cannot connect"))

    assert "lost at byte 4096" in error.message
    assert "rnx log f47ac10b" in error.mend
