"""
What the suite's README shows can be done as it is shown.

Runs in: pytest.
"""

import re
import shlex
from pathlib import Path

import pytest

from joblet_conformance import dialect
from joblet_conformance.case import PROFILES
from joblet_conformance.main import main
from joblet_conformance.target import read_programs

README = Path(dialect.__file__).with_name("README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [
    shlex.split(line)[1:]
    for block in blocks("sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("joblet-conformance")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_understood(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As far as its first file, which is not there."""
    assert main(command) == 2
    assert "cannot read ca-cert.pem" in capsys.readouterr().err


def test_the_dialect_can_be_read() -> None:
    _, shown = blocks("toml")

    assert dialect.read(shown, "README").fields == {"RunJobReq": {"command": 31, "maxIOBPS": 0}}


def test_the_programs_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "programs.toml").write_text(blocks("toml")[0])

    assert read_programs(tmp_path / "programs.toml").echo == "/opt/tools/echo"


def test_every_profile_is_told() -> None:
    assert [profile for profile, what in PROFILES.items() if f"| `{profile}` | {what} |" not in README] == []
