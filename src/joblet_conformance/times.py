"""
Times as the specification writes them.

Runs in: the terminal of whoever tests a server. May not: connect.
Source: RFC 3339, section 5.6; API specification, "Job" and its examples, which are all in UTC ("…Z").
"""

import datetime
import re
from typing import Final

from joblet_conformance.evidence import Failed

# Two machines' clocks need not agree better than this.
FAR_S: Final = 300.0

# Small letters are legal (section 5.6).
_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.IGNORECASE)


def read(what: str, text: str) -> datetime.datetime:
    """
    A time, wherever on Earth it was written.

    Raises:
        Failed: It is not RFC 3339.
    """
    if not _RFC_3339.fullmatch(text):
        raise Failed(f"{what} is {text!r}, expected an RFC 3339 time such as 2024-01-15T10:30:00Z")
    # More digits than microseconds are legal, and datetime does not take them.
    # Nor does it take a leap second.
    short = re.sub(r":60(?=[.Z+-])", ":59", re.sub(r"(\.\d{6})\d+", r"\1", text.upper()))
    try:
        return datetime.datetime.fromisoformat(short)
    except ValueError as error:
        raise Failed(f"{what} is {text!r}, which is no time: {error}") from None


def utc(what: str, text: str) -> datetime.datetime:
    """A time that is written in UTC. Raises as `read`, and when it is not."""
    found = read(what, text)
    if found.utcoffset() != datetime.timedelta(0):
        raise Failed(f"{what} is {text!r}, expected UTC")
    return found


def recent(what: str, text: str) -> datetime.datetime:
    """A time that is about now. Raises as `read`, and when it is not."""
    found = read(what, text)
    away_s = abs((datetime.datetime.now(datetime.UTC) - found).total_seconds())
    if away_s > FAR_S:
        raise Failed(f"{what} is {text!r}, {away_s:.0f} s away from now")
    return found
