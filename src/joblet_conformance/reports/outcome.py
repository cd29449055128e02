"""
What every report says, in the order in which it says it.

Runs in: the terminal of whoever tests a server. May not: print, write a file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from joblet_conformance.case import Level
from joblet_conformance.evidence import printable
from joblet_conformance.runner import Conclusion, Result, Verdict, conclusion


@dataclass(frozen=True, slots=True)
class Report:
    """
    One run.

    Args:
        server: Its address.
        dialect: How it was spoken to.
        profiles: Those that were chosen.
        began: RFC 3339.
        not_tried: How many cases were left when the run was interrupted.
    """

    server: str
    dialect: str
    profiles: tuple[str, ...]
    began: str
    took_s: float
    results: Sequence[Result]
    not_tried: int = 0

    @property
    def conclusion(self) -> Conclusion:
        """Whether the server conforms; open when cases are left that might say it does not."""
        found = conclusion(self.results)
        return Conclusion.OPEN if self.not_tried and found is Conclusion.CONFORMS else found

    @property
    def counts(self) -> Counter[Verdict]:
        """How many cases went how."""
        return Counter(result.verdict for result in self.results)

    def of(self, *verdicts: Verdict) -> Sequence[Result]:
        """The cases that went so, the strictest first."""
        found = [result for result in self.results if result.verdict in verdicts]
        return sorted(found, key=lambda result: (list(Level).index(result.case.level), result.case.id))

    @property
    def summary(self) -> str:
        """One line; of what did not pass, with how many of each level where that tells them apart."""
        counts = self.counts
        parts = [f"{counts[verdict]} {verdict}{self._levels(verdict)}" for verdict in Verdict if counts[verdict]]
        if self.not_tried:
            parts.append(f"{self.not_tried} not tried")
        return f"{self.conclusion}: {', '.join(parts) or 'no case'} in {self.took_s:.1f} s"

    def _levels(self, verdict: Verdict) -> str:
        levels = Counter(result.case.level for result in self.results if result.verdict is verdict)
        if verdict is Verdict.PASSED or set(levels) <= {Level.MUST}:
            return ""
        return f" ({', '.join(f'{levels[level]} {level}' for level in Level if levels[level])})"


def suite() -> str:
    """The suite's name and version."""
    return f"joblet-conformance {version('joblet')}"


def explanation(result: Result) -> str:
    """A case that failed or was skipped, in full: what was expected, what was sent and came back, what is specified."""
    lines = [printable(result.words)]
    lines += [f"specification, {each.section!r}: {each.quote}" for each in result.case.states]
    if result.verdict in (Verdict.FAILED, Verdict.BROKEN):
        lines += ["what was sent and what came back, the newest last:"]
        lines += [f"  {printable(str(exchange))}" for exchange in result.exchanges] or ["  nothing"]
    return "\n".join(lines)
