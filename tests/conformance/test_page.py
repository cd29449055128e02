"""
What docs/conformance.md shows can be done as it is shown.

Runs in: pytest.
"""

import asyncio
import os
import shlex
from pathlib import Path

import pytest
from blocks import ROOT, blocks_of
from certificates import DAY, Authority
from served import a_server

from joblet_conformance import dialect
from joblet_conformance.case import PROFILES
from joblet_conformance.main import main
from joblet_conformance.target import read_programs

PAGE = ROOT / "docs" / "conformance.md"


def texts(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [block.text for block in blocks_of(PAGE) if block.language == language]


COMMANDS = [
    shlex.split(line)[1:]
    for text in texts("sh")
    for line in text.replace("\\\n", " ").splitlines()
    if line.startswith("joblet-conformance")
]


@pytest.fixture
def folder(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's: it has the files that the page names."""
    monkeypatch.chdir(tmp_path)
    Path("ca-cert.pem").write_bytes(authority.certificate)
    Path("ca-key.pem").write_bytes(authority.key)
    for name, issued in (
        ("admin", authority.issue("admin", ["admin"])),
        ("viewer", authority.issue("viewer", ["viewer"])),
        ("old", authority.issue("old", ["admin"], starts=-2 * DAY, ends=-DAY)),
    ):
        Path(f"{name}.pem").write_bytes(issued.certificate)
        Path(f"{name}-key.pem").write_bytes(issued.key)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_a_command_works(
    command: list[str], folder: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """On one case of each profile it needs files for, since all of them are tried elsewhere."""
    async with a_server(authority) as served:
        words = [word.replace("localhost:50051", f"localhost:{served.port}") for word in command]
        few = ("--case", "stop-job.answer", "--case", "certificates.expired")
        status = await asyncio.to_thread(main, [*words, *few])

    assert status == 0, capsys.readouterr()
    assert [name for name in os.listdir(folder) if name.endswith(".html")] == [
        word for word in words if word.endswith(".html")
    ]


def test_the_dialect_can_be_read() -> None:
    _, shown = texts("toml")

    assert dialect.read(shown, "page").fields == {"RunJobReq": {"command": 31, "maxIOBPS": 0}}


def test_the_programs_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "programs.toml").write_text(texts("toml")[0])

    assert read_programs(tmp_path / "programs.toml").echo == "/opt/tools/echo"


def test_every_profile_is_told() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert [profile for profile, what in PROFILES.items() if f"| `{profile}` | {what} |" not in page] == []
