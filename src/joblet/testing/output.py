"""
Output that tells of each of its bytes where it stands, so that any log can be judged by itself.

Runs in: tests and benchmarks. May not: be imported by production code.
"""

import re
from typing import Final

LINE_BYTES: Final = 16
_MARKER: Final = re.compile(rb"\n\[joblet: (\d+) bytes dropped here, the disk was slower than the job\]\n")
_LONGEST_MARKER: Final = 100


def numbered(begin: int, end: int) -> bytes:
    """Bytes `begin` to `end` of lines of 15 digits, each the number of its line."""
    first = begin // LINE_BYTES
    lines = b"".join(b"%015d\n" % number for number in range(first, -(-end // LINE_BYTES)))
    return lines[begin - first * LINE_BYTES : end - first * LINE_BYTES]


def told(log: bytes, output: bytes) -> int:
    """
    How much of the output a log accounts for, every byte of it as written or counted by a marker.

    The log may end anywhere, also within a marker: whoever writes it was stopped there.

    Raises:
        AssertionError: A byte is missing, repeated, changed or out of order.
    """
    position = at = 0
    for found in _MARKER.finditer(log):
        position = _matched(log[at : found.start()], output, position, at) + int(found[1])
        at = found.end()
    rest = log[at:]
    if (begun := rest.find(b"\n[", max(0, len(rest) - _LONGEST_MARKER))) >= 0:
        rest = rest[:begun]
    elif rest.endswith(b"\n") and output[position + len(rest) - 1 :][:1] != b"\n":
        rest = rest[:-1]
    return _matched(rest, output, position, at)


def _matched(piece: bytes, output: bytes, position: int, at: int) -> int:
    end = position + len(piece)
    if piece != output[position:end]:
        wrong = next((n for n, (a, b) in enumerate(zip(piece, output[position:end], strict=False)) if a != b), 0)
        raise AssertionError(f"byte {at + wrong} of the log is not byte {position + wrong} of the output")
    return end
