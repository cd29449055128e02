"""
Reports, of cases that went every possible way, and with words that every format has to escape.

Runs in: pytest.
"""

import io
import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joblet_conformance.case import Level, cases
from joblet_conformance.evidence import Evidence
from joblet_conformance.reports import asjson, junit, markdown, page
from joblet_conformance.reports.outcome import Report
from joblet_conformance.reports.terminal import Progress
from joblet_conformance.runner import Conclusion, Result, Verdict, conclusion

HOSTILE = "</pre><script>alert(1)</script> | ``` ]]> \x1b[31m \0 \ud83d ünï"


def a_result(verdict: Verdict, words: str = "", level: Level = Level.MUST) -> Result:
    """One case that went so."""
    case = next(case for case in cases().values() if case.level is level)
    evidence = Evidence()
    evidence.begin("admin", "RunJob", words).ended("OK", words)
    return Result(case, verdict, 0.5, words, evidence.last(), frozenset())


def a_report(*results: Result) -> Report:
    """A run of these."""
    return Report("localhost:50051", "joblet", ("core",), "2024-01-15T10:30:00Z", 1.5, results)


WHOLE = a_report(*(a_result(verdict, HOSTILE) for verdict in Verdict))


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([a_result(Verdict.PASSED)], Conclusion.CONFORMS),
        ([a_result(Verdict.PASSED), a_result(Verdict.FAILED, level=Level.SHOULD)], Conclusion.CONFORMS),
        ([a_result(Verdict.PASSED), a_result(Verdict.SKIPPED)], Conclusion.OPEN),
        ([a_result(Verdict.SKIPPED), a_result(Verdict.FAILED)], Conclusion.FAILS),
        ([a_result(Verdict.BROKEN)], Conclusion.FAILS),
        ([a_result(Verdict.FAILED, level=Level.MAY)], Conclusion.OPEN),
        ([a_result(Verdict.PASSED, level=Level.MAY)], Conclusion.CONFORMS),
        ([a_result(Verdict.SKIPPED, level=Level.MAY)], Conclusion.OPEN),
        ([a_result(Verdict.PASSED, level=Level.SHOULD), a_result(Verdict.BROKEN, level=Level.MAY)], Conclusion.OPEN),
        ([], Conclusion.OPEN),
    ],
)
def test_only_what_is_a_must_decides(results: list[Result], expected: Conclusion) -> None:
    assert conclusion(results) is expected


def test_junit_is_xml_that_can_be_read_back() -> None:
    suite = ElementTree.fromstring(junit.render(WHOLE))

    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "</pre><script>" in (failure.text or "")


@given(st.text())
def test_junit_takes_any_words(words: str) -> None:
    ElementTree.fromstring(junit.render(a_report(a_result(Verdict.FAILED, words))))


def test_json_can_be_read_back() -> None:
    found = json.loads(asjson.render(WHOLE))

    assert [case["verdict"] for case in found["cases"]] == [str(verdict) for verdict in Verdict]
    assert [bool(case["exchanges"]) for case in found["cases"]] == [False, True, True, True]
    assert found["cases"][1]["words"] == HOSTILE


class Tags(HTMLParser):
    """Every tag of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def test_what_a_server_says_is_never_html() -> None:
    tags = Tags()
    tags.feed(page.render(WHOLE))

    assert "script" not in tags.found
    assert {"svg", "table", "pre"} <= tags.found


def test_what_a_server_says_stays_in_its_block_of_markdown() -> None:
    """A fence in it ends nothing, and a bar in a table is no cell."""
    text = markdown.render(WHOLE)

    assert [line for line in text.splitlines() if line.startswith("```")] == []
    assert "\\| ``` ]]>" in text


def test_what_a_server_says_steers_no_terminal() -> None:
    """Escapes, returns and marks of direction are written out, wherever people read."""
    words = "a\x1b[2Jb\rc\x9bd\u202ee\x07f\ng"
    report = a_report(a_result(Verdict.FAILED, words), a_result(Verdict.SKIPPED, words))
    out = io.StringIO()
    Progress(2, out).finish(report)

    for text in (out.getvalue(), markdown.render(report), page.render(report)):
        assert [mark for mark in "\x1b\r\x9b\u202e\x07" if mark in text] == []
        assert "a\\x1b[2Jb\\rc\\x9bd\\u202ee\\x07f" in text


def test_the_summary_tells_the_levels_apart_where_they_differ() -> None:
    report = a_report(
        a_result(Verdict.PASSED), a_result(Verdict.FAILED), *[a_result(Verdict.FAILED, level=Level.SHOULD)] * 2
    )

    assert report.summary == "fails: 1 passed, 3 failed (1 must, 2 should) in 1.5 s"


class Full(io.StringIO):
    """Standard output on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_output_that_cannot_be_written_ends_no_run() -> None:
    progress = Progress(1, Full())
    progress(a_result(Verdict.PASSED))
    progress.finish(a_report(a_result(Verdict.PASSED)))

    assert progress.error is not None


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_what_passes_is_written_over_and_what_fails_stays() -> None:
    out = Terminal()
    progress = Progress(2, out)
    progress(a_result(Verdict.PASSED))
    progress(a_result(Verdict.FAILED, "wrong"))
    progress.finish(a_report(a_result(Verdict.PASSED), a_result(Verdict.FAILED, "wrong")))

    first, second, *_ = out.getvalue().split("\r")[1:]
    assert not first.endswith("\n")
    assert second.endswith("\n")
    assert "fails: 1 passed, 1 failed" in out.getvalue()


def test_elsewhere_each_case_is_a_line_without_colours() -> None:
    out = io.StringIO()
    Progress(1, out)(a_result(Verdict.SKIPPED, "no key"))

    assert out.getvalue() == f"[1/1] skipped {a_result(Verdict.SKIPPED).case.id}\n"


def test_a_question_answered_the_same_again_and_again_is_one() -> None:
    """Else the polls of a wait would be all that a report shows."""
    evidence = Evidence()
    for answer in ("RUNNING", "RUNNING", "RUNNING", "FAILED"):
        evidence.begin("admin", "GetJobStatus", "id").ended("OK", answer)

    for _ in range(2):
        shown = [str(exchange) for exchange in evidence.last()]
        assert len(shown) == 2
        assert "3 times the same" in shown[0]
