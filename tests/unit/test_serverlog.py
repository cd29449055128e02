"""The server log: the specification's format, one line a record whatever a value holds, never waiting."""

import fcntl
import logging
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet.serverlog import InLines, Level, ServerLog, Stderr, line
from joblet.services.lifelines import milliseconds

AT_NS = 1_705_314_600 * 1_000_000_000  # 2024-01-15T10:30:00Z


def a_line(message: str = "it happened", **fields: object) -> str:
    """One INFO record."""
    return line(AT_NS, Level.INFO, message, fields)


def test_a_record_is_written_as_in_the_specification() -> None:
    """The specification's example, character for character."""
    fields = {"jobId": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "pid": 12345, "command": "python3 script.py"}

    written = line(AT_NS, Level.INFO, "job started successfully", {**fields, "duration": milliseconds(50_000_000)})

    assert written == (
        "[2024-01-15T10:30:00Z] [INFO] job started successfully | "
        'jobId=f47ac10b-58cc-4372-a567-0e02b2c3d479 pid=12345 command="python3 script.py" duration=50ms\n'
    )


@pytest.mark.parametrize(
    ("span_ns", "written"), [(0, "0ms"), (400_000, "0.4ms"), (3_000_000, "3ms"), (49_600_000, "50ms")]
)
def test_a_duration_is_in_milliseconds(span_ns: int, written: str) -> None:
    assert milliseconds(span_ns) == written


def test_a_record_without_fields_has_no_bar() -> None:
    """Nothing follows the message."""
    assert a_line() == "[2024-01-15T10:30:00Z] [INFO] it happened\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', r'"say \"hi\""'),
        ("a=b", '"a=b"'),
        ("a|b", '"a|b"'),
        ("C:\\x", r'"C:\\x"'),
        ("one\ntwo", r'"one\ntwo"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("\u2028", r'"\u2028"'),
        ("\x85", r'"\x85"'),
        ("\udc80", r'"\udc80"'),
        ("größe", "größe"),
        (7, "7"),
    ],
)
def test_a_value_is_quoted_when_it_could_be_read_in_two_ways(value: object, written: str) -> None:
    """Spaces, quotes, bars, equals signs and whatever does not print."""
    assert a_line(key=value).endswith(f"| key={written}\n")


@given(message=st.text(), value=st.text())
def test_one_record_is_one_line_whatever_it_holds(message: str, value: str) -> None:
    """Nobody can forge a record: no text from outside begins a line."""
    written = a_line(message, key=value)

    assert written.splitlines() == [written[:-1]]


@given(value=st.text())
def test_a_value_can_be_read_back(value: str) -> None:
    """Quoting loses nothing: two values never look alike."""
    written = a_line(key=value).rpartition("| key=")[2] if " | key=" not in value else None
    if written is None:
        return
    text = written[:-1]
    if text.startswith('"'):
        text = re.sub(r"\\(.)", lambda found: "\\" + found[1], text[1:-1])

    unescaped = text.replace('\\"', '"').encode("latin-1", "backslashreplace").decode("unicode_escape")
    assert unescaped == value


def test_records_below_the_level_are_not_written() -> None:
    """WARN leaves out DEBUG and INFO."""
    written: list[str] = []
    log = ServerLog(Level.WARN, written.append, lambda: AT_NS)

    log.debug("a")
    log.info("b")
    log.warn("c")
    log.log("INFO", "d")
    log.log("ERROR", "e")

    assert [text.split("] ")[-1] for text in written] == ["c\n", "e\n"]


def test_a_failure_has_its_traceback_in_one_line() -> None:
    """The place of an unforeseen error, without breaking the format."""
    written: list[str] = []
    log = ServerLog(Level.ERROR, written.append, lambda: AT_NS)

    try:
        raise ValueError("oh\nno")
    except ValueError as error:
        log.failure("call failed", error, request=3)

    (text,) = written
    assert len(text.splitlines()) == 1
    assert "request=3" in text
    assert "test_serverlog.py" in text


def read_all(fd: int, stderr: Stderr) -> str:
    """What waits in the pipe and behind it."""
    os.set_blocking(fd, False)
    received = b""
    while True:
        try:
            received += os.read(fd, 1 << 20)
        except BlockingIOError:
            return received.decode()
        stderr.flush()


def test_a_reader_that_takes_nothing_does_not_hold_the_server() -> None:
    """With the pipe full, lines wait here; when it is read again they follow in order."""
    read_end, write_end = os.pipe()
    size = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    stderr = Stderr(write_end)
    lines = [f"{number:04} {'x' * 90}\n" for number in range(2 * size // 96)]

    for text in lines:
        stderr.write(text)  # would block for ever if it waited

    assert read_all(read_end, stderr) == "".join(lines)
    os.close(read_end)
    os.close(write_end)


def test_lines_dropped_for_a_stuck_reader_are_counted() -> None:
    """Beyond what waits here, the newest are lost, and the log says how many."""
    read_end, write_end = os.pipe()
    stderr = Stderr(write_end)
    for _ in range(Stderr.MAX_WAITING + 2000):
        stderr.write("x" * 99 + "\n")

    *kept, lost = read_all(read_end, stderr).splitlines()

    os.close(read_end)
    os.close(write_end)
    assert "[WARN] log records dropped | count=" in lost
    assert len(kept) + int(lost.rpartition("=")[2]) == Stderr.MAX_WAITING + 2000


def test_a_line_longer_than_a_pipe_holds_arrives_whole() -> None:
    """PIPE_BUF is the piece, not the limit."""
    read_end, write_end = os.pipe()
    stderr = Stderr(write_end)

    stderr.write("y" * 30_000 + "\n")

    received = os.read(read_end, 65536)
    os.close(read_end)
    os.close(write_end)
    assert received == b"y" * 30_000 + b"\n"


def a_record(level: int, message: str, *args: object) -> logging.LogRecord:
    record = logging.LogRecord("joblet.supervisor", level, "", 0, message, args, None)
    record.created = 1_705_314_600.75
    return record


def test_the_supervisor_s_records_are_lines_of_the_same_format() -> None:
    record = a_record(logging.INFO, "supervising", {"state": "/var/lib/joblet", "limitsEnforced": "no: read-only"})

    formatted = InLines().format(record)

    assert formatted == (
        '[2024-01-15T10:30:00Z] [INFO] supervising | state=/var/lib/joblet limitsEnforced="no: read-only"'
    )


@pytest.mark.parametrize(
    ("number", "name"), [(5, "DEBUG"), (10, "DEBUG"), (20, "INFO"), (30, "WARN"), (40, "ERROR"), (50, "ERROR")]
)
def test_logging_s_levels_have_the_specification_s_names(number: int, name: str) -> None:
    assert InLines().format(a_record(number, "a %s", "message")) == f"[2024-01-15T10:30:00Z] [{name}] a message"
