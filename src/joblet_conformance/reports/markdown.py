"""
Markdown, for a pull request or a page.

Runs in: the terminal of whoever tests a server.
"""

from collections.abc import Iterator

from joblet_conformance.evidence import printable
from joblet_conformance.reports.outcome import Report, explanation, suite
from joblet_conformance.runner import Verdict


def render(report: Report) -> str:
    """The report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {report.server}: {report.conclusion}"
    yield ""
    profiles = ", ".join(report.profiles)
    yield f"{suite()}, profiles {profiles}, dialect {report.dialect}, {report.began}: {report.summary}."
    for heading, verdict in (("Failed", Verdict.FAILED), ("Faults of the suite", Verdict.BROKEN)):
        found = report.of(verdict)
        if found:
            yield from ("", f"## {heading}")
        for result in found:
            yield from ("", f"### `{result.case.id}` ({result.case.level})", "", result.case.title, "")
            # Indented, because what came back may hold a fence.
            yield from (f"    {line}" for line in explanation(result).splitlines())
    skipped = report.of(Verdict.SKIPPED)
    if skipped:
        yield from ("", "## Skipped", "", "| case | level | why |", "|---|---|---|")
        yield from (f"| `{each.case.id}` | {each.case.level} | {_cell(each.words)} |" for each in skipped)
    yield from ("", "## All cases", "", "| case | profile | level | | |", "|---|---|---|---|---|")
    for result in report.results:
        case = result.case
        yield f"| `{case.id}` | {case.profile} | {case.level} | {result.verdict} | {_cell(case.title)} |"


def _cell(text: str) -> str:
    return printable(text).replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
