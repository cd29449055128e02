"""
Every session and program in the documentation, run against a real server and compared with what it prints.

Ids, times and the like differ from run to run: an id in a page stands for the one that was printed in its place
(so a later command may use it, or a beginning of it), a time for any time, and `...` for anything, also many lines.

Runs in: pytest, as root. May not: run a block that is not a session or a program.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from blocks import ROOT, Command, blocks_of, commands_of, pages
from real_server import real_server

pytestmark = pytest.mark.native

COMMAND_DEADLINE_S: Final = 60
UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
PROGRAMS: Final = Path(sys.executable).parent


@dataclass
class Reader:
    """
    Somebody who follows a page from top to bottom in one shell.

    Args:
        ids: The page's ids, and the real ones they turned out to be.
    """

    folder: Path
    environment: Mapping[str, str]
    ids: dict[str, str] = field(default_factory=dict)
    last_status: int = 0

    def types(self, command: Command) -> str:
        """Run one command where the one before it left off; what it prints, on both outputs."""
        text = command.text
        for shown, real in self.ids.items():
            text = text.replace(shown, real).replace(shown[:8], real[:8])
        script = "\n".join(
            (
                "[ -f .shell ] && . ./.shell",  # what the commands before have exported
                f"(exit {self.last_status})",
                text,
                "status=$?; export -p >.shell; exit $status",
            )
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_DEADLINE_S,
        )
        self.last_status = done.returncode
        return done.stdout

    def recognises(self, shown: tuple[str, ...], printed: str) -> bool:
        """Whether this is what the page shows; learns the real ids from it."""
        pattern = ""
        groups: list[str] = []
        text = "\n".join(shown)
        for known, real in self.ids.items():
            text = text.replace(known, real).replace(known[:8], real[:8])
        for token in re.split(rf"({UUID.pattern}|{TIME.pattern}|\.\.\.)", text):
            if token == "...":
                pattern += r"(?s:.*)"
            elif TIME.fullmatch(token):
                pattern += TIME.pattern
            elif UUID.fullmatch(token) and token not in self.ids.values():
                pattern += f"({UUID.pattern})"
                groups.append(token)
            else:
                pattern += re.escape(token)
        found = re.fullmatch(pattern, printed.rstrip("\n"))
        if found:
            self.ids.update(zip(groups, found.groups(), strict=True))
        return found is not None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The environment of somebody who may use a server."""
    folder = tmp_path_factory.mktemp("server")
    with real_server(folder) as server:
        yield {
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            **server.client_environ,
        }


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_does_what_it_shows(page: Path, served: Mapping[str, str], tmp_path: Path) -> None:
    reader = Reader(tmp_path, served)
    for block in blocks_of(page):
        if block.language == "python":
            program = tmp_path / "program.py"
            program.write_text(block.text)
            subprocess.run(
                [sys.executable, str(program)], cwd=tmp_path, env=dict(served), check=True, timeout=COMMAND_DEADLINE_S
            )
        if block.language != "console":
            continue
        commands = list(commands_of(block))
        for command, following in zip(commands, [*commands[1:], None], strict=True):
            printed = reader.types(command)

            shown = "\n".join(command.output)
            at = f"{page.relative_to(ROOT)}:{command.line}: {command.text}"
            assert reader.recognises(command.output, printed), f"{at}\nshown:\n{shown}\nprinted:\n{printed}"
            if following is None or following.text != "echo $?":
                assert reader.last_status == 0, f"{at}\nended with {reader.last_status}:\n{printed}"
