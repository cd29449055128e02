"""Messages between server and supervisor: whole, in pieces, and broken.

Runs in: pytest.
"""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.engine.protocol import (
    MAX_FRAME_BYTES,
    Attach,
    Down,
    Forget,
    Frames,
    Hello,
    JobEnd,
    LogMetrics,
    LogSize,
    LogStat,
    Message,
    ProtocolError,
    Refused,
    Started,
    StartJob,
    StopJob,
    UnwatchLog,
    Warn,
    WatchLog,
    encode,
)

ONE_OF_EACH: list[Message] = [
    Hello(),
    Attach(1, {"a": [5, 7]}, ["b"], "yes"),
    StartJob("a", ["echo", "ü\n"], {"K": "V"}, "", 3600.0, 100, "0-1", 1 << 40, 0),
    Started("a", 5, 7),
    Refused("a", "cgroup", "permission denied"),
    StopJob("a", "because"),
    WatchLog("a"),
    UnwatchLog("a"),
    LogSize("a", 1 << 50),
    JobEnd("a", "FAILED", 137, 5, 6, "out of memory", 9, True, 100, 1, 2, 3, 4),
    Forget(["a", "b"]),
    Warn("WARN", "log memory is full", {"bytes": "7"}),
    Down(),
    LogStat(),
    LogMetrics({"memory_held_bytes": 7, "write_p50_s": 0.001}),
]


def test_every_message_survives_the_way_there() -> None:
    assert {type(message) for message in ONE_OF_EACH} == set(Message.__args__)
    assert Frames().feed(b"".join(encode(message) for message in ONE_OF_EACH)) == ONE_OF_EACH


def test_bytes_may_arrive_one_at_a_time() -> None:
    frames = Frames()
    received: list[Message] = []

    for byte in b"".join(encode(message) for message in ONE_OF_EACH):
        received += frames.feed(bytes([byte]))

    assert received == ONE_OF_EACH


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"job_id":"a"}',
        b'{"type":"Nothing"}',
        b'{"type":"StopJob"}',
        b'{"type":"StopJob","job_id":"a","reason":"b","more":1}',
        b'{"type":"StopJob","job_id":7,"reason":"b"}',
        b'{"type":"Hello","version":"1"}',
        b'{"type":["Hello"]}',
        b"\xff\xff",
    ],
)
def test_a_frame_that_is_no_message_is_an_error_and_nothing_else(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Frames().feed(struct.pack(">I", len(body)) + body)


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="longer than"):
        Frames().feed(struct.pack(">I", MAX_FRAME_BYTES + 1))


@given(st.binary(max_size=200))
def test_rubbish_never_raises_anything_but_a_protocol_error(rubbish: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Frames().feed(rubbish)
