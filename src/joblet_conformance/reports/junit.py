"""
JUnit XML, for CI.

Runs in: the terminal of whoever tests a server.
"""

import re
from typing import Final
from xml.etree import ElementTree

from joblet_conformance.reports.outcome import Report, explanation, suite
from joblet_conformance.runner import Verdict

# What XML cannot carry, not even escaped (XML 1.0, 2.2).
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report) -> str:
    """The report."""
    counts = report.counts
    root = ElementTree.Element(
        "testsuite",
        name=suite(),
        hostname=report.server,
        timestamp=report.began,
        time=f"{report.took_s:.3f}",
        tests=str(len(report.results)),
        failures=str(counts[Verdict.FAILED]),
        errors=str(counts[Verdict.BROKEN]),
        skipped=str(counts[Verdict.SKIPPED]),
    )
    for result in report.results:
        group = f"{result.case.profile}.{result.case.level}"
        entry = ElementTree.SubElement(
            root, "testcase", classname=group, name=result.case.id, time=f"{result.took_s:.3f}"
        )
        kind = {Verdict.FAILED: "failure", Verdict.BROKEN: "error", Verdict.SKIPPED: "skipped"}.get(result.verdict)
        if kind:
            told = ElementTree.SubElement(entry, kind, message=_clean(result.words))
            told.text = _clean(explanation(result))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
