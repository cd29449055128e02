"""
The table of deliberately broken Joblets: each must still be one, and name tests that are there.

Runs in: pytest.
"""

import ast
import contextlib
import os
from pathlib import Path

import pytest
from mutant_table import MUTANTS, Edit, Mutant, broken
from mutants import TESTS, installed, read_report
from progress import Failed

PACKAGE = Path(__file__).parents[2] / "src" / "joblet"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_the_sources_to_others_that_compile(mutant: Mutant) -> None:
    texts = broken(PACKAGE, mutant)

    for file, text in texts.items():
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(file.read_text()))


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_mutants_tests_are_there() -> None:
    named = {tuple(test.partition("[")[0].split("::")) for mutant in MUTANTS for test in mutant.tests}

    missing = [
        f"{file}::{name}" for file, name in named if f"\ndef {name}(" not in (TESTS / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_a_text_that_no_longer_matches_is_named_with_its_mutant(tmp_path: Path) -> None:
    (tmp_path / "io.py").write_text("write()\nwrite()\n")

    with pytest.raises(Failed, match=r"mutant 'no limit': io.py has this text 0 times, not once: 'limit\(\)'"):
        broken(tmp_path, Mutant("no limit", (Edit("io.py", "limit()"),), ()))
    with pytest.raises(Failed, match="2 times"):
        broken(tmp_path, Mutant("no write", (Edit("io.py", "write()"),), ()))


def test_two_edits_of_one_file_are_both_made(tmp_path: Path) -> None:
    (tmp_path / "io.py").write_text("read()\nwrite()\n")

    texts = broken(tmp_path, Mutant("nothing", (Edit("io.py", "read()"), Edit("io.py", "write()")), ()))

    assert texts == {tmp_path / "io.py": "pass\npass\n"}


def test_installed_files_are_as_they_were_also_after_an_error(tmp_path: Path) -> None:
    file = tmp_path / "io.py"
    file.write_text("write()\n")
    os.utime(file, (1000, 1000))

    with contextlib.suppress(KeyboardInterrupt), installed({file: "pass\n"}):
        meanwhile = file.read_text()
        raise KeyboardInterrupt

    assert (meanwhile, file.read_text(), file.stat().st_mtime) == ("pass\n", "write()\n", 1000)


def test_only_an_assertion_of_the_test_itself_catches_a_mutant() -> None:
    report = """<testsuites><testsuite>
        <testcase classname="tests.integration.test_io" name="test_a"><failure message="AssertionError: too fast&#10;..."/></testcase>
        <testcase classname="tests.integration.test_io" name="test_a"><error message="its teardown"/></testcase>
        <testcase classname="tests.integration.test_io" name="test_b"><failure message="assert 1 == 2"/></testcase>
        <testcase classname="tests.integration.test_io" name="test_c"><failure message="Unavailable: nobody answers"/></testcase>
        <testcase classname="tests.integration.test_io" name="test_d"><error message="its set-up"/></testcase>
        <testcase classname="tests.integration.test_io" name="test_e"/>
    </testsuite></testsuites>"""  # noqa: E501

    run = read_report(report)

    assert run.failed == {"test_io.py::test_a": "AssertionError: too fast", "test_io.py::test_b": "assert 1 == 2"}
    assert run.others == {
        "test_io.py::test_c": "Unavailable: nobody answers",
        "test_io.py::test_d": "its set-up",
        "test_io.py::test_e": "passed",
    }
