"""
One HTML page with a badge, which needs nothing else.

Runs in: the terminal of whoever tests a server.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from joblet_conformance.evidence import printable
from joblet_conformance.reports.outcome import Report, explanation, suite
from joblet_conformance.runner import Conclusion, Result, Verdict

_COLOUR: Final = {Conclusion.CONFORMS: "#2e7d32", Conclusion.FAILS: "#c62828", Conclusion.OPEN: "#b26a00"}
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; white-space: pre-wrap }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #ddd; padding: .2rem .5rem }
.failed, .broken { color: #c62828 } .skipped { color: #b26a00 } .passed { color: #2e7d32 }
"""


def badge(report: Report) -> str:
    """The conclusion as a small picture (SVG)."""
    left, right = "Joblet API", str(report.conclusion)
    first, second = 7 * len(left) + 12, 7 * len(right) + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img"'
        f' aria-label="{left}: {right}"><rect width="{first}" height="20" fill="#555"/>'
        f'<rect x="{first}" width="{second}" height="20" fill="{_COLOUR[report.conclusion]}"/>'
        '<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{first / 2}" y="14">{left}</text><text x="{first + second / 2}" y="14">{right}</text></g></svg>'
    )


def render(report: Report) -> str:
    """The report."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    title = f"{escape(report.server)}: {report.conclusion}"
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    yield f"<style>{_STYLE}</style>"
    yield f"<h1>{escape(report.server)}</h1><p>{badge(report)}</p>"
    yield (
        f"<p>{escape(suite())}, profiles {', '.join(report.profiles)}, dialect {escape(report.dialect)},"
        f" {report.began}: {report.summary}.</p>"
    )
    for result in report.of(Verdict.FAILED, Verdict.BROKEN):
        yield f"<h3 class={result.verdict}>{result.case.id} ({result.case.level}, {result.verdict})</h3>"
        yield f"<p>{escape(result.case.title)}</p><pre>{escape(explanation(result))}</pre>"
    yield "<h2>All cases</h2><table>"
    yield from map(_row, report.results)
    yield "</table></html>"


def _row(result: Result) -> str:
    case = result.case
    why = f"<br><small>{escape(printable(result.words))}</small>" if result.verdict is Verdict.SKIPPED else ""
    return (
        f"<tr><td>{case.id}<td>{case.profile}<td>{case.level}<td class={result.verdict}>{result.verdict}"
        f"<td>{escape(case.title)}{why}</tr>"
    )
