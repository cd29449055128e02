"""
The test machine's command line, and what a user is told when the machine does not answer.

Runs in: pytest.
"""

from pathlib import Path

import pytest
from machine import VERBS, last_words, main


def test_the_last_lines_of_the_console_are_shown(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"[  1.0] first\r\n\r\n[  2.0] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n")

    assert last_words(console).splitlines() == [
        "The last lines of the machine's console:",
        "    [  1.0] first",
        "    [  2.0] Kernel panic - not syncing: VFS: Unable to mount root fs",
    ]


def test_a_console_that_is_empty_tells_how_far_the_machine_got(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.touch()

    assert last_words(console) == f"The machine's console ({console}) is empty: it did not get as far as its kernel."


def test_a_console_that_is_not_there_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    console = tmp_path / "console.log"

    assert last_words(console) == f"The machine's console ({console}) cannot be read: No such file or directory."


@pytest.mark.parametrize("arguments", [[], ["begin"], ["get", "one"], ["up", "more"], ["exec"]])
def test_a_command_line_that_is_not_understood_is_told_so(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "usage: machine.py" in capsys.readouterr().err


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    shown = capsys.readouterr().out
    assert (ended.value.code, [verb for verb in VERBS if verb not in shown]) == (0, [])
