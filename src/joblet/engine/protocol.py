"""
What the server and the supervisor say to each other: bytes to messages and back.

A frame is four bytes of length (big endian), then one JSON object whose "type" names
the message. Both sides check a message by building its dataclass: a frame that is
too long, is not JSON, or does not fit its class is a ProtocolError and ends the
connection, never the process.

    server                                   supervisor
    Hello(version)                 ──►
                                   ◄──       Attach(running, ended, …)
                                   ◄──       JobEnd(...)          each end not yet forgotten
    StartJob(...)                  ──►
                                   ◄──       Started | Refused
    StopJob, WatchLog, UnwatchLog  ──►
                                   ◄──       LogSize, Warn
                                   ◄──       JobEnd(...)
    Forget(job_ids)                ──►
    Down()                         ──►       every job is stopped, then the supervisor ends

Anybody may ask LogStat() instead of greeting, and gets LogMetrics(values).

Runs in: server loop, supervisor. May not: import outside the standard library, do I/O.
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

VERSION: Final = 1
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what it must not; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of a server."""

    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Attach:
    """First answer: what runs. `running` maps an id to [started_ns, pid]; `ended` names the ends that follow."""

    version: int
    running: dict[str, list[int]]
    ended: list[str]
    limits_enforced: str


@dataclass(frozen=True, slots=True)
class StartJob:
    """Run this; every default is filled in."""

    job_id: str
    argv: list[str]
    environment: dict[str, str]
    work_dir: str
    timeout_s: float
    cpu_max_percent: int
    cpu_cores: str
    memory_max_bytes: int
    io_max_bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Started:
    """The command runs (or has already ended as 126 or 127)."""

    job_id: str
    started_ns: int
    pid: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The set-up failed and nothing is left. `kind` is "cgroup", "isolation" or "busy"."""

    job_id: str
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop it; unknown or ended jobs are left alone."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WatchLog:
    """Send LogSize now and whenever the log on disk has grown."""

    job_id: str


@dataclass(frozen=True, slots=True)
class UnwatchLog:
    """No more LogSize for this job."""

    job_id: str


@dataclass(frozen=True, slots=True)
class LogSize:
    """So many bytes are in the log file."""

    job_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class JobEnd:
    """It is over and cleaned up; repeated to each new server until forgotten."""

    job_id: str
    state: str
    exit_code: int
    started_ns: int
    ended_ns: int
    reason: str
    signal: int
    oom_killed: bool
    log_bytes: int
    cpu_usec: int
    memory_peak_bytes: int
    io_read_bytes: int
    io_write_bytes: int


@dataclass(frozen=True, slots=True)
class Forget:
    """These ends are stored."""

    job_ids: list[str]


@dataclass(frozen=True, slots=True)
class Warn:
    """A line for the server log."""

    level: str
    message: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Down:
    """Stop every job and end; the connection closes when nothing is left."""


@dataclass(frozen=True, slots=True)
class LogStat:
    """How is the log system? Needs no greeting."""


@dataclass(frozen=True, slots=True)
class LogMetrics:
    """`AsyncLogSystem.stat` of the supervisor: numbers by name, the unit in the name."""

    values: dict[str, float]


Message = (
    Hello
    | Attach
    | StartJob
    | Started
    | Refused
    | StopJob
    | WatchLog
    | UnwatchLog
    | LogSize
    | JobEnd
    | Forget
    | Warn
    | Down
    | LogStat
    | LogMetrics
)

_CLASSES: Final[Mapping[str, type[Any]]] = {cls.__name__: cls for cls in Message.__args__}


def encode(message: Message) -> bytes:
    """One frame."""
    # Not asdict, which copies every argument and variable of a job first.
    values: dict[str, Any] = {name: getattr(message, name) for name in message.__slots__}
    body = json.dumps({"type": type(message).__name__, **values}, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """
    The message in one frame's body.

    Raises:
        ProtocolError: Not a message of this protocol.
    """
    try:
        values = json.loads(body)
        cls = _CLASSES[values.pop("type")]
        message: Message = cls(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"not a message: {type(error).__name__}: {error}") from None
    for name, kind, fits in _CHECKS[cls]:
        if not fits(getattr(message, name)):
            raise ProtocolError(f"{cls.__name__}.{name} is not {kind}")
    return message


def _strings(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _start_and_pid(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) for part in value)


_FITS: Final[Mapping[Any, tuple[str, Callable[[Any], bool]]]] = {
    int: ("a whole number", lambda value: isinstance(value, int)),
    str: ("text", lambda value: isinstance(value, str)),
    bool: ("true or false", lambda value: isinstance(value, bool)),
    float: ("a number", lambda value: isinstance(value, int | float)),
    list[str]: ("a list of text", lambda value: isinstance(value, list) and _strings(value)),
    dict[str, str]: ("text by name", lambda value: isinstance(value, dict) and _strings(value.values())),
    dict[str, float]: (
        "numbers by name",
        lambda value: isinstance(value, dict) and all(isinstance(number, int | float) for number in value.values()),
    ),
    dict[str, list[int]]: (
        "[start, pid] by id",
        lambda value: isinstance(value, dict) and all(map(_start_and_pid, value.values())),
    ),
}
_CHECKS: Final[Mapping[type[Any], Sequence[tuple[str, str, Callable[[Any], bool]]]]] = {
    cls: [(field_.name, *_FITS[field_.type]) for field_ in fields(cls)] for cls in _CLASSES.values()
}


class Frames:
    """
    Cuts a byte stream into messages; bytes may arrive in any pieces.

    Raises (from `feed`):
        ProtocolError: After it, the stream is lost and must be closed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Add bytes; return every message they complete."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        at = 0
        while len(buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, at)
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {length} bytes is longer than {MAX_FRAME_BYTES}")
            start = at + _LENGTH.size
            if len(buffer) - start < length:
                break
            messages.append(decode(bytes(buffer[start : start + length])))
            at = start + length
        del buffer[:at]
        return messages
