"""
Live progress, then what failed and why.

Runs in: the terminal of whoever tests a server.
"""

import sys
from typing import Final, TextIO

from joblet_conformance.evidence import printable
from joblet_conformance.reports.outcome import Report, explanation
from joblet_conformance.runner import Result, Verdict

_MARK: Final = {Verdict.PASSED: "ok", Verdict.FAILED: "FAILED", Verdict.SKIPPED: "skipped", Verdict.BROKEN: "BROKEN"}
_COLOUR: Final = {Verdict.PASSED: 32, Verdict.FAILED: 31, Verdict.SKIPPED: 33, Verdict.BROKEN: 35}
_WIDTH: Final = 7


class Progress:
    """
    One line a case as it ends; on a terminal those that passed share one line that is written over.

    Args:
        total: How many cases there will be.
        out: Where to; standard output when not given.

    Attributes:
        error: Why nothing is said any more; the run goes on, for its other reports.
    """

    def __init__(self, total: int, out: TextIO | None = None) -> None:
        self._total = total
        self._out = out or sys.stdout
        self.error: OSError | None = None
        self._done = 0
        self._live = self._out.isatty()

    def __call__(self, result: Result) -> None:
        self._done += 1
        mark = f"{_MARK[result.verdict]:<{_WIDTH}}"
        if self._live:
            mark = f"\033[{_COLOUR[result.verdict]}m{mark}\033[0m"
        line = f"[{self._done:>{len(str(self._total))}}/{self._total}] {mark} {result.case.id}"
        passing = self._live and result.verdict is Verdict.PASSED
        self._say(f"{chr(13)}\033[K{line}" if self._live else line)
        self._say("" if passing else "\n")
        self._flush()

    def finish(self, report: Report) -> None:
        """Say what failed and was skipped, and the summary."""
        if self._live:
            self._say("\r\033[K")
        for result in report.of(Verdict.FAILED, Verdict.BROKEN):
            self._say(f"\n{_MARK[result.verdict]} {result.case.id} ({result.case.level}): {result.case.title}\n")
            self._say("".join(f"  {line}\n" for line in explanation(result).splitlines()))
        skipped = report.of(Verdict.SKIPPED)
        if skipped:
            self._say("\nskipped:\n")
        for result in skipped:
            self._say(f"  {result.case.id} ({result.case.level}): {printable(result.words)}\n")
        self._say(f"\n{report.server}, profiles {', '.join(report.profiles)}, dialect {report.dialect}\n")
        self._say(f"{report.summary}\n")
        self._flush()

    def _say(self, text: str) -> None:
        if self.error is None:
            try:
                self._out.write(text)
            except OSError as error:
                self.error = error

    def _flush(self) -> None:
        if self.error is None:
            try:
                self._out.flush()
            except OSError as error:
                self.error = error
