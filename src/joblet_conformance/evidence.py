"""
What was sent and what came back, and the expectations that fail with both at hand.

Runs in: the terminal of whoever tests a server. May not: connect.
"""

import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

Thing = TypeVar("Thing")

MOST_CHARACTERS: Final = 600  # of one message
MOST_BYTES: Final = 8192  # of one message that is shown at all
MOST_EXCHANGES: Final = 12  # of one case, in a report


class Failed(Exception):
    """The server did not do what the specification says."""


class Found(dict[str, Thing]):
    """
    Things by name, in which one that is missing is the server's fault.

    Args:
        where: What they were found in.
    """

    def __init__(self, where: str, things: Mapping[str, Thing]) -> None:
        super().__init__(things)
        self._where = where

    def __missing__(self, name: str) -> Thing:
        raise Failed(f"{name} is not in {self._where}")


class Skipped(Exception):
    """The case cannot be tried here, for this reason."""


@dataclass(slots=True)
class Exchange:
    """
    One call.

    Args:
        role: Whose certificate was shown.
        sent: The request.
        code: Name of the status it ended with; empty while it is under way.
        came: The answer, or the status' words.
        times: How often the same was said in a row.
    """

    role: str
    call: str
    sent: str
    code: str = ""
    came: str = ""
    times: int = 1
    began_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0

    def ended(self, code: str, came: str) -> None:
        """Note its end."""
        self.code, self.came = code, clipped(came)
        self.took_s = time.monotonic() - self.began_s

    def __str__(self) -> str:
        ended = f"{self.code} {self.came}" if self.code else "(not ended)"
        often = f", {self.times} times the same" if self.times > 1 else ""
        return f"{self.role} → {self.call}({self.sent})\n    ← {ended} [{self.took_s * 1000:.0f} ms{often}]"


@dataclass(slots=True)
class Evidence:
    """All that one case has exchanged with the server, and notes on what is not a call."""

    exchanges: list[Exchange] = field(default_factory=list)

    def begin(self, role: str, call: str, request: Message | str) -> Exchange:
        """Note a call that begins."""
        sent = request if isinstance(request, str) else text_of(request)
        exchange = Exchange(role, call, clipped(sent))
        self.exchanges.append(exchange)
        return exchange

    def seen(self) -> frozenset[str]:
        """Every `RPC=CODE` that happened."""
        return frozenset(f"{exchange.call}={exchange.code}" for exchange in self.exchanges if exchange.code)

    def last(self) -> Sequence[Exchange]:
        """Those that a report shows; a question that was answered the same again and again is one."""
        shown: list[Exchange] = []
        for exchange in self.exchanges:
            before = shown[-1] if shown else None
            if before and _said(before) == _said(exchange):
                shown[-1] = replace(before, times=before.times + 1)
            else:
                shown.append(exchange)
        return shown[-MOST_EXCHANGES:]


def _said(exchange: Exchange) -> tuple[str, ...]:
    return exchange.role, exchange.call, exchange.sent, exchange.code, exchange.came


def text_of(message: Message) -> str:
    """A message on one line; of a large one, how large it is (rendering a list of all jobs takes a second)."""
    if message.ByteSize() > MOST_BYTES:
        return f"({message.ByteSize()} bytes)"
    return text_format.MessageToString(message, as_one_line=True, as_utf8=True)


def clipped(text: str) -> str:
    """At most `MOST_CHARACTERS`, and how many more there were."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}… ({len(text) - MOST_CHARACTERS} more characters)"


# All that moves a cursor, changes a colour or the direction of writing, or begins a line, but for the plain newline.
_CONTROL: Final = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """A text of the server's as it may be shown: what would steer the terminal or the page is written out."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def expect(holds: object, words: str) -> None:
    """
    Fail unless it holds.

    Args:
        words: What is wrong then.
    """
    if not holds:
        raise Failed(words)


def same(what: str, came: object, wanted: object) -> None:
    """Fail unless what came is what was wanted."""
    if came != wanted:
        raise Failed(f"{what}: {clipped(repr(came))}, expected {clipped(repr(wanted))}")


def one_of(what: str, came: object, wanted: Sequence[object]) -> None:
    """Fail unless what came is one of those wanted."""
    if came not in wanted:
        raise Failed(f"{what}: {clipped(repr(came))}, expected {' or '.join(map(repr, wanted))}")


def is_uuid(what: str, came: str) -> None:
    """Fail unless it is a UUID, in the form in which everybody writes one."""
    try:
        same(what, came, str(uuid.UUID(came)))
    except ValueError:
        raise Failed(f"{what}: {clipped(repr(came))}, expected a UUID") from None
