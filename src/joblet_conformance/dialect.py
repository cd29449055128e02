"""
Servers whose proto has other names and numbers: what is what, and messages translated byte by byte.

A case speaks the specification's own messages. A dialect is a small file that says how the same things are
called elsewhere; what it does not mention is as in the specification:

    about = "the line before JobletService was renamed"
    package = "acme.jobs"

    [services]                 # ours = theirs
    JobletService = "Tasks"

    [calls]                    # ours, with or without the service = theirs
    RunJob = "Start"

    [fields.RunJobReq]         # our field = its number over there; 0: it has none
    command = 31

Only numbers travel, so names of messages and fields do not matter. A number moves together with its type:
int32, int64, bool and enum are one kind on the wire, texts and bytes another.

Runs in: the terminal of whoever tests a server. May not: connect.
Source: protobuf encoding, "Message Structure"; protobuf language guide, "Assigning Field Numbers".
"""

import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from joblet.wire import joblet_pb2
from joblet_conformance.calls import CALLS, Call

_BYTES: Final = 2  # the wire type of texts, bytes, messages and maps
_NEXT_KEY: Final = 7  # bits after which a varint goes on
_MOST: Final = 2**29 - 1  # number of a field
_RESERVED: Final = range(19_000, 20_000)  # protobuf's own
_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\.[A-Za-z_][A-Za-z0-9_]*)*")


class DialectUnusable(Exception):
    """A dialect's file says what cannot be."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    How one line of servers speaks.

    Args:
        services, calls: Their name for ours.
        fields: By message and field, the number over there.
    """

    name: str
    about: str = ""
    package: str = "joblet"
    services: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def service(self, ours: str) -> str:
        """The full name of a service over there."""
        return f"{self.package}.{self.services.get(ours, ours)}"

    def path(self, call: Call) -> str:
        """Where a call is found."""
        service = call.id.partition(".")[0]
        return f"/{self.service(service)}/{self.calls.get(call.id) or self.calls.get(call.name) or call.name}"

    def to_theirs(self, message: type[Message], data: bytes) -> bytes:
        """A message of ours as they would write it. Fields that they do not have are left out."""
        return data if not self.fields else b"".join(self._moved(_described(message), data, outward=True))

    def to_ours(self, message: type[Message], data: bytes) -> bytes:
        """A message of theirs as we would write it."""
        return data if not self.fields else b"".join(self._moved(_described(message), data, outward=False))

    def _moved(self, message: Descriptor, data: bytes, *, outward: bool) -> Iterator[bytes]:
        moves = self.fields.get(message.name, {})
        by_number = {each.number: each for each in message.fields}
        back = {moves.get(each.name, each.number): each.number for each in message.fields}
        for number, kind, payload in _pieces(data):
            ours = number if outward else back.get(number, 0)
            known = by_number.get(ours)
            if known is None:
                # Unknown to us. Coming in, it may have a number that means something else here.
                if outward or number not in by_number:
                    yield _piece(number, kind, payload)
                continue
            theirs = moves.get(known.name, ours)
            if not theirs:
                continue
            if kind == _BYTES and known.message_type is not None:
                payload = b"".join(self._moved(known.message_type, payload, outward=outward))
            yield _piece(theirs if outward else ours, kind, payload)


def _described(message: type[Message]) -> Descriptor:
    return cast("Descriptor", message.DESCRIPTOR)  # of protobuf's C implementation, with the same attributes


def _pieces(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and payload of each field; a varint's payload is its bytes."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        start = at
        match key & 7:
            case 0:  # a varint
                _, at = _read_varint(data, at)
            case 1:  # eight bytes
                at += 8
            case 2:  # `_BYTES`
                length, start = _read_varint(data, at)
                at = start + length
            case 5:  # four bytes
                at += 4
            case other:
                raise ValueError(f"wire type {other} at byte {start}")
        if at > len(data):
            raise ValueError("the message ends in the middle of a field")
        yield key >> 3, key & 7, data[start:at]


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the message ends in the middle of a number")
        value |= (data[at] & 0x7F) << shift
        shift += _NEXT_KEY
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _piece(number: int, kind: int, payload: bytes) -> bytes:
    head = varint(number << 3 | kind)
    return head + (varint(len(payload)) if kind == _BYTES else b"") + payload


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= _NEXT_KEY
    encoded.append(number)
    return bytes(encoded)


def read(text: str, name: str) -> Dialect:
    """
    A dialect from its file.

    Raises:
        DialectUnusable: It is no TOML, names what the specification does not have, or gives it what cannot be.
    """
    try:
        found = tomllib.loads(text)
        return _dialect(name, found)
    except (tomllib.TOMLDecodeError, _Slip) as error:
        raise DialectUnusable(f"dialect {name}: {error}") from None


class _Slip(Exception):
    """What is wrong in a file, and where."""


def _dialect(name: str, found: Mapping[str, Any]) -> Dialect:
    _known("", found, ("about", "package", "services", "calls", "fields"))
    about, package = found.get("about", ""), found.get("package", "joblet")
    if not isinstance(about, str):
        raise _Slip(f"about must be a text, and is {about!r}")
    messages = joblet_pb2.DESCRIPTOR.message_types_by_name
    services = _names("services", found, joblet_pb2.DESCRIPTOR.services_by_name)
    calls = _names("calls", found, {*CALLS, *(call.name for call in CALLS.values())})
    fields = _table("", "fields", found)
    _known("fields", fields, messages)
    return Dialect(
        name=name,
        about=about,
        package=_text("", "package", package, _PACKAGE),
        services=services,
        calls=calls,
        fields={message: _numbers(messages[message], _table("fields", message, fields)) for message in fields},
    )


def _within(table: str) -> str:
    return f" in [{table}]" if table else ""


def _known(table: str, entries: Mapping[str, Any], known: Container[str]) -> None:
    for key in entries:
        if key not in known:
            raise _Slip(f"there is no {key}{_within(table)}")


def _table(table: str, key: str, entries: Mapping[str, Any]) -> Mapping[str, Any]:
    found = entries.get(key, {})
    if not isinstance(found, dict):
        raise _Slip(f"{key}{_within(table)} must be a table, and is {found!r}")
    return found


def _text(table: str, key: str, value: object, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _Slip(f"{key}{_within(table)} must be a name as a proto has it, and is {value!r}")
    return value


def _names(table: str, found: Mapping[str, Any], known: Container[str]) -> Mapping[str, str]:
    entries = _table("", table, found)
    _known(table, entries, known)
    return {key: _text(table, key, value, _NAME) for key, value in entries.items()}


def _numbers(message: Descriptor, moved: Mapping[str, Any]) -> Mapping[str, int]:
    table = f"fields.{message.name}"
    _known(table, moved, message.fields_by_name)
    for key, number in moved.items():
        if type(number) is not int or not 0 <= number <= _MOST or number in _RESERVED:
            raise _Slip(
                f"{key}{_within(table)} must be a number from 1 to {_MOST} but for {_RESERVED[0]} to {_RESERVED[-1]},"
                f" or 0 for none, and is {number!r}"
            )
    taken: dict[int, str] = {}
    for each in message.fields:
        number = moved.get(each.name, each.number)
        if number and number in taken:
            raise _Slip(f"{taken[number]} and {each.name}{_within(table)} both have the number {number}")
        taken[number] = each.name
    return moved


def built_in() -> Mapping[str, Dialect]:
    """The dialects that come with the suite, the specification's own first."""
    folder = files("joblet_conformance") / "dialects"
    read_in = [
        read(file.read_text(encoding="utf-8"), file.name.removesuffix(".toml"))
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name)
    ]
    return {dialect.name: dialect for dialect in sorted(read_in, key=lambda dialect: dialect.name != "joblet")}


def named(name: str) -> Dialect:
    """
    The built-in dialect of this name, or the one in this file.

    Raises:
        DialectUnusable: There is neither.
    """
    known = built_in()
    if name in known:
        return known[name]
    try:
        return read(Path(name).read_text(encoding="utf-8"), Path(name).stem)
    except UnicodeDecodeError as error:
        raise DialectUnusable(f"dialect {name}: it is not UTF-8: {error}") from None
    except OSError as error:
        raise DialectUnusable(
            f"no dialect {name} ({(error.strerror or str(error)).lower()}); built in: {', '.join(known)}"
        ) from None


def matching(services: frozenset[str]) -> Dialect | None:
    """The built-in dialect most of whose services a server offers; None when it offers none of any."""
    best, most = None, 0
    for dialect in built_in().values():
        there = sum(dialect.service(ours) in services for ours in joblet_pb2.DESCRIPTOR.services_by_name)
        if there > most:
            best, most = dialect, there
    return best
