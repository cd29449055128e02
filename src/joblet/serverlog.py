"""
The server's own log: one record, one line, in the specification's format.

    [2024-01-15T10:30:00Z] [INFO] job started successfully | jobId=f47ac10b… command="python3 script.py" duration=50ms

Text from outside goes into fields, never into the message. A field that could be taken for
anything else than one value is quoted and escaped, so no client can forge a record.

Runs in: server loop, and gRPC's threads (certificates); `InLines` in the supervisor. May not: block; see secrets
(nobody hands it any); import outside the standard library.
Source: API specification, "Log Levels and Format".
"""

import logging
import os
import select
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final


class Level(IntEnum):
    """How much a record matters."""

    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40


class ServerLog:
    """
    Records from `level` on, as lines; the `ports.Journal` of a real server.

    Args:
        write: Takes one line with its newline; must not block.
        now_ns: Nanoseconds since the epoch.
    """

    def __init__(self, level: Level, write: Callable[[str], None], now_ns: Callable[[], int] = time.time_ns) -> None:
        self._level = level
        self._write = write
        self._now_ns = now_ns

    def debug(self, message: str, **fields: object) -> None:
        """How something came about."""
        self.record(Level.DEBUG, message, fields)

    def info(self, message: str, **fields: object) -> None:
        """What the server is there for: the life of jobs, and its own."""
        self.record(Level.INFO, message, fields)

    def warn(self, message: str, **fields: object) -> None:
        """A limit violated, a slow client, a trouble it recovered from."""
        self.record(Level.WARN, message, fields)

    def log(self, level: str, message: str, **fields: object) -> None:
        """See `ports.Journal`."""
        self.record(Level[level], message, fields)

    def failure(self, message: str, error: BaseException, **fields: object) -> None:
        """An error nobody foresaw, with its traceback in one field."""
        trace = "".join(traceback.format_exception(error))
        self.record(Level.ERROR, message, {**fields, "error": repr(error), "traceback": trace})

    def record(self, level: Level, message: str, fields: Mapping[str, object]) -> None:
        """Write one record, if its level is wanted."""
        if level >= self._level:
            self._write(line(self._now_ns(), level, message, fields))


def line(now_ns: int, level: Level, message: str, fields: Mapping[str, object]) -> str:
    """One record as it is written."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_ns // 1_000_000_000))
    text = f"[{at}] [{level.name}] {escaped(message)}"
    if fields:
        text += " | " + " ".join(f"{escaped(key)}={quoted(value)}" for key, value in fields.items())
    return text + "\n"


_QUOTED_IF_PRESENT: Final = frozenset(' "=|\\')


def quoted(value: object) -> str:
    """A value as it stands when it can only be read one way, else in quotes with escapes."""
    text = str(value)
    if text and text.isprintable() and _QUOTED_IF_PRESENT.isdisjoint(text):
        return text
    return '"' + escaped(text).replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    """Without anything that ends a line, moves a cursor or hides text: such characters as \\n, \\x1b, \\u2028."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return ascii(character)[1:-1]


class Stderr:
    """
    Writes lines to a descriptor without ever waiting for its reader.

    While the reader (a pipe's other end) takes nothing, lines wait here; beyond
    `MAX_WAITING` the newest are dropped, and a line tells how many once it can.
    """

    MAX_WAITING: Final = 10_000

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Take one line."""
        with self._lock:
            if len(self._waiting) < self.MAX_WAITING:
                self._waiting.append(text.encode("utf-8", "backslashreplace"))
            else:
                self._dropped += 1
            self._flush(patience_ms=0)

    def flush(self) -> None:
        """Write what waits, as far as the reader takes it."""
        with self._lock:
            self._flush(patience_ms=0)

    def close(self) -> None:
        """Give the reader one last chance."""
        with self._lock:
            self._flush(patience_ms=100)

    def _flush(self, *, patience_ms: int) -> None:
        while self._waiting:
            if not self._put(self._waiting[0], patience_ms):
                return
            self._waiting.popleft()
            if self._dropped and not self._waiting:
                lost = line(time.time_ns(), Level.WARN, "log records dropped", {"count": self._dropped})
                self._waiting.append(lost.encode())
                self._dropped = 0

    def _put(self, data: bytes, patience_ms: int) -> bool:
        """
        Write one line; False, with what is left of it first in line, when the reader is not taking any.

        POLLOUT on a pipe means that PIPE_BUF bytes fit (pipe(7)), so a write of no more than that cannot block.
        """
        for at in range(0, len(data), select.PIPE_BUF):
            if not self._poll.poll(patience_ms):
                self._waiting[0] = data[at:]
                return False
            try:
                os.write(self._fd, data[at : at + select.PIPE_BUF])
            except OSError:
                return True  # nobody reads any more: nothing can be told, and the server goes on
        return True


class FromLibraries(logging.Handler):
    """Takes what libraries say through `logging` (asyncio, grpc) into the server log."""

    def __init__(self, log: ServerLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One record; a library's text is a field, never the message."""
        fields = {"library": record.name, "text": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        self._log.record(Level.ERROR if record.levelno >= logging.ERROR else Level.WARN, "library", fields)


class InLines(logging.Formatter):
    """
    Records of `logging` as lines of this format: what the supervisor has to say, in the same journal as the server.

        log.warning("status file is not understood", {"path": path})
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record; a mapping that it is given as its only argument is its fields."""
        fields = record.args if isinstance(record.args, Mapping) else {}
        level = max((level for level in Level if level <= record.levelno), default=Level.DEBUG)
        return line(int(record.created * 1_000_000_000), level, record.getMessage(), fields).rstrip("\n")
