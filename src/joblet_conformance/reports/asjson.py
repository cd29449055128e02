"""
JSON for programs.

    schema    1; it changes when a field is removed or means something else, not when one is added
    suite, server, dialect, profiles, began, seconds, conclusion, counts, not_tried (when it was interrupted)
    cases     id, title, level, profile, verdict, seconds, words, statements (id, section, quote),
              exchanges (role, call, sent, code, came, seconds), these of cases that did not pass

Runs in: the terminal of whoever tests a server.
"""

import json
from typing import Any, Final

from joblet_conformance.reports.outcome import Report, suite
from joblet_conformance.runner import Result, Verdict

SCHEMA: Final = 1


def render(report: Report) -> str:
    """The report."""
    whole = {
        "schema": SCHEMA,
        "suite": suite(),
        "server": report.server,
        "dialect": report.dialect,
        "profiles": list(report.profiles),
        "began": report.began,
        "seconds": round(report.took_s, 3),
        "conclusion": report.conclusion,
        "counts": {verdict: report.counts[verdict] for verdict in Verdict},
        "not_tried": report.not_tried,
        "cases": [_case(result) for result in report.results],
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    return {
        "id": case.id,
        "title": case.title,
        "level": case.level,
        "profile": case.profile,
        "verdict": result.verdict,
        "seconds": round(result.took_s, 3),
        "words": result.words,
        "statements": [{"id": each.id, "section": each.section, "quote": each.quote} for each in case.states],
        "exchanges": []
        if result.verdict is Verdict.PASSED
        else [
            {
                "role": each.role,
                "call": each.call,
                "sent": each.sent,
                "code": each.code,
                "came": each.came,
                "seconds": round(each.took_s, 3),
            }
            for each in result.exchanges
        ],
    }
