"""
What every report says, in the order in which it says it.

Runs in: the terminal of whoever tests a server. May not: print, write a file.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from joblet_conformance.case import Level
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
    """

    server: str
    dialect: str
    profiles: tuple[str, ...]
    began: str
    took_s: float
    results: Sequence[Result]

    @property
    def conclusion(self) -> Conclusion:
        """Whether the server conforms."""
        return conclusion(self.results)

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
        """One line."""
        counts = self.counts
        parts = [f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]]
        return f"{self.conclusion}: {', '.join(parts) or 'no case'} in {self.took_s:.1f} s"


def suite() -> str:
    """The suite's name and version."""
    return f"joblet-conformance {version('joblet')}"


def explanation(result: Result) -> str:
    """A case that failed or was skipped, in full: what was expected, what was sent and came back, what is specified."""
    lines = [result.words]
    lines += [f"specification, {each.section!r}: {each.quote}" for each in result.case.states]
    if result.verdict in (Verdict.FAILED, Verdict.BROKEN):
        lines += ["what was sent and what came back, the newest last:"]
        lines += [f"  {exchange}" for exchange in result.exchanges] or ["  nothing"]
    return "\n".join(lines)
