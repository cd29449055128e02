"""
The suite's tables: no hole in what is covered, no slip of the pen, ids that mean what they say.

Runs in: pytest.
"""

import re

import pytest

from joblet_conformance.case import Level, case, cases
from joblet_conformance.coverage import coverage, markdown, needless_reasons, unknown_things
from joblet_conformance.statements import STATEMENTS


def test_the_coverage_has_no_empty_cell() -> None:
    """Each call by code, each field and each sentence has a case, or the reason why there is none."""
    assert coverage(cases()).holes() == []


def test_what_has_a_case_needs_no_reason_why_there_is_none() -> None:
    """A reason that has become wrong is removed: of a sentence, a call, a field, or a message."""
    assert [cell.what for cell in coverage(cases()).statements if cell.cases and STATEMENTS[cell.what].unchecked] == []
    assert needless_reasons(cases()) == []


def test_cases_cover_what_there_is() -> None:
    assert unknown_things(cases()) == []


def test_every_case_has_a_title_and_a_statement() -> None:
    assert [found.id for found in cases().values() if not found.title.endswith(".") or not found.states] == []


def test_ids_are_words_with_dashes_behind_their_group() -> None:
    assert [name for name in cases() if not re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", name)] == []


def test_statements_of_our_own_proto_are_no_must() -> None:
    """What the specification leaves open may be done otherwise: not one of them may decide."""
    own = [found for found in cases().values() if any(each.section == "joblet.proto" for each in found.states)]

    assert own
    assert [found.id for found in own if found.level is Level.MUST] == []


def test_a_second_case_of_the_same_id_is_a_crash() -> None:
    """So that a report of years ago means the same case."""
    first = next(iter(cases()))

    with pytest.raises(ValueError, match="two cases"):
        case(first, "overview.grpc")


def test_a_case_cannot_check_a_statement_that_nobody_wrote_down() -> None:
    with pytest.raises(ValueError, match=r"no\.such"):
        case("some.case", "no.such")


def test_the_table_for_people_names_every_statement() -> None:
    table = markdown(coverage(cases()))

    assert [name for name in STATEMENTS if f"| `{name}`" not in table] == []
