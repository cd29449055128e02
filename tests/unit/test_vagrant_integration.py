"""
Which tests the session in the test machine runs, and when it calls them passed.

Runs in: pytest.
"""

from pathlib import Path

import pytest
from integration import SUITES, chosen_paths, good, parse
from progress import Failed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["tests/integration", "tests/from_host"])
def test_every_test_of_the_machine_is_in_one_suite(folder: str) -> None:
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("test_*.py"))

    chosen, _ = chosen_paths([folder])

    in_suites = [name for suite in SUITES for name in suite.paths if name.startswith(folder)]
    assert sorted(file for name in in_suites for file in files if file.startswith(name)) == files
    assert [path for paths in chosen.values() for path in paths] == in_suites


def test_without_a_path_every_suite_runs_whole() -> None:
    assert chosen_paths(["-x"]) == ({suite.name: list(suite.paths) for suite in SUITES}, ["-x"])


@pytest.mark.parametrize(
    "word", ["tests/integration/test_cpu.py", "./tests/integration/test_cpu.py", "tests//integration/test_cpu.py"]
)
def test_a_file_is_run_by_its_suite_alone(word: str) -> None:
    assert chosen_paths([word]) == ({"undisturbed": ["tests/integration/test_cpu.py"]}, [])


def test_a_test_is_run_by_its_name() -> None:
    name = "tests/integration/test_cpu.py::test_a_spinning_job_gets_its_share[20]"

    assert chosen_paths([name, "tests/from_host/test_network.py", "-x"]) == (
        {"undisturbed": [name], "from-host": ["tests/from_host/test_network.py"]},
        ["-x"],
    )


def test_a_path_that_no_suite_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(Failed, match=r"^tests/unit is not among .*\n.*tests/native/test_engine_contract\.py"):
        chosen_paths(["tests/unit"])


@pytest.mark.parametrize(
    "word",
    ["tests/integration/test_cpuu.py", "./tests/integration/test_cpuu.py::test_a", "tests/from_host/test_netwrk.py"],
)
def test_a_path_that_is_not_there_is_refused(word: str) -> None:
    with pytest.raises(Failed, match=rf"^{word} is not among "):
        chosen_paths(["-x", word])


@pytest.mark.parametrize(
    ("statuses", "matching", "expected"),
    [
        pytest.param([0, 0], False, True, id="all pass"),
        pytest.param([0, 1], False, False, id="one fails"),
        pytest.param([0, 5], False, False, id="one has no tests"),
        pytest.param([0, 5], True, True, id="what was asked for is in one of them"),
        pytest.param([5, 5], True, False, id="what was asked for is in none"),
        pytest.param([0, 255], True, False, id="the connection broke"),
    ],
)
def test_only_a_session_that_has_run_tests_and_seen_them_pass_is_good(
    statuses: list[int], matching: bool, expected: bool
) -> None:
    assert good(statuses, matching=matching) is expected


@pytest.mark.parametrize("instead", ["--bench", "--mutants"])
def test_what_runs_no_tests_takes_no_expression(instead: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([instead, "-k", "oom"])

    assert "-k chooses tests" in capsys.readouterr().err
