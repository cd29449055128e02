"""
Puts the output of several jobs into one stream, each line behind the name of its job.

    build    | compiling
    test     | 3 passed
    build    | a line that grew beyond 64 KiB before its end
    build    > goes on here: the line break before `>` is ours

Lines of different jobs never mix: an unfinished line is held back until its end, its job's end, or 64 KiB, where it is
cut so that memory has a bound. Nothing is lost or changed: without the prefixes, and without the line breaks before
`>`, each job's bytes are what it printed, but for a last line that had no end.

With colours, each name has one, by the order in which jobs first print. The colour before it starts from a reset, so
what a job left on (bold, inverse) does not reach the next job's name.

Runs in: the user's terminal. May not: do I/O, read the environment, decode a job's bytes.
Source: no-color.org, force-color.org and bixense.com/clicolors for `colours_wanted`; ECMA-48, SGR.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from joblet.rnx.output import escaped

LONGEST_HELD_BYTES: Final = 64 * 1024

# Cyan, yellow, green, magenta, blue, then bright: no red, which would look like a failure, no black or white.
COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_RESET: Final = b"\x1b[0m"


def colours_wanted(stream_is_tty: bool, environ: Mapping[str, str]) -> bool:
    """
    Whether to print in colour. The first line that applies decides; an empty variable counts as none.

    NO_COLOR                       no
    FORCE_COLOR, CLICOLOR_FORCE    yes, unless it is 0
    TERM=dumb                      no
    otherwise                      on a terminal only
    """
    if environ.get("NO_COLOR"):
        return False
    if any(environ.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return stream_is_tty and environ.get("TERM") != "dumb"


@dataclass(slots=True)
class _Line:
    """The line that an attempt is printing."""

    prefix: bytes
    continued_prefix: bytes
    held: bytearray = field(default_factory=bytearray)
    is_cut: bool = False
    """What comes next belongs to a line that was cut."""

    def taken(self, more: bytes = b"") -> bytes:
        """Whole lines for the stream, from what is held and more, neither ending with a line break."""
        begin = self.continued_prefix if self.is_cut else self.prefix
        lines = b"".join((begin, self.held, more.replace(b"\n", b"\n" + self.prefix), b"\n"))
        self.held.clear()
        return lines


class Prefixer:
    """
    Turns pieces of several jobs' output into lines for one stream.

    Args:
        names: The jobs that may print. The longest decides where the text begins.
        colour: Names are coloured.
    """

    def __init__(self, names: Iterable[str], *, colour: bool = False) -> None:
        self._width = max((len(escaped(name)) for name in names), default=0)
        self._colour = colour
        self._prefixes: dict[str, tuple[bytes, bytes]] = {}
        self._lines: dict[tuple[str, str], _Line] = {}

    def feed(self, job_name: str, piece: bytes, attempt: str = "") -> bytes:
        """
        What the stream gets now that a job has printed this: whole lines, or nothing.

        Args:
            attempt: Which of them; two may be on their way here at once.
        """
        line = self._lines.get((job_name, attempt))
        if line is None:
            line = self._lines[job_name, attempt] = _Line(*self._prefixes_of(job_name))
        whole, end, rest = piece.rpartition(b"\n")
        lines = b""
        if end:
            lines = line.taken(whole)
            line.is_cut = False
        line.held += rest
        if len(line.held) > LONGEST_HELD_BYTES:
            lines += line.taken()
            line.is_cut = True
        return lines

    def close(self, job_name: str, attempt: str = "") -> bytes:
        """What the stream gets at an attempt's end: the last line, if it had no end."""
        line = self._lines.pop((job_name, attempt), None)
        return line.taken() if line is not None and line.held else b""

    def _prefixes_of(self, job_name: str) -> tuple[bytes, bytes]:
        found = self._prefixes.get(job_name)
        if found is None:
            name = f"{escaped(job_name):<{self._width}}".encode("utf-8", "backslashreplace")
            before, after = b"", b""
            if self._colour:
                before, after = b"\x1b[0;%dm" % COLOURS[len(self._prefixes) % len(COLOURS)], _RESET
            found = self._prefixes[job_name] = (
                b"%b%b | %b" % (before, name, after),
                b"%b%b > %b" % (before, name, after),
            )
        return found
