"""
The fenced blocks of the documentation, and what becomes of each.

    ```console   a session: run by tests/native/test_documented_sessions.py and compared with what it really prints
    ```python    a program: run by the same test
    ```sh        a command that is not run there; the line above tells why, or what runs it instead:
                 <!-- run by: .ci/run --> or <!-- not run: it needs a machine of its own -->
    ```yaml      a configuration, or a workflow (it has jobs): read by a test as the product would
    other        text to read

Runs in: tests, docs/generate.py. May not: import joblet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]

RUN: Final = frozenset({"console", "python", "yaml"})
COMMANDS: Final = frozenset({"sh", "bash", "shell"})
READ_ONLY: Final = frozenset({"text", "mermaid", "json", "ini", "proto", "markdown", "toml"})

_NOTE: Final = re.compile(r"<!-- (run by|not run): (.+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """
    One fenced block.

    Args:
        line: Of its opening fence, from 1.
        note: The words of the comment above it: ("run by", "…"), ("not run", "…"), or none.
    """

    page: Path
    line: int
    language: str
    text: str
    note: tuple[str, str] | None

    @property
    def where(self) -> str:
        """For a message: file and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a session, and the output shown for it."""

    line: int
    text: str
    output: tuple[str, ...]


def pages() -> list[Path]:
    """Every page a reader may follow."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "packaging" / "README.md"]


def blocks_of(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    opened: int | None = None
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        above = next((text for text in reversed(lines[: opened - 1]) if text.strip()), "")
        note = _NOTE.fullmatch(above)
        yield Block(
            page=page,
            line=opened,
            language=lines[opened - 1].removeprefix("```").strip(),
            text="\n".join(lines[opened : number - 1]),
            note=(note[1], note[2]) if note else None,
        )
        opened = None
    if opened is not None:
        raise ValueError(f"{page}:{opened}: this block never ends")


def commands_of(block: Block) -> Iterator[Command]:
    """
    The commands of a session: `$ ` begins one, `> ` continues it.

    Raises:
        ValueError: Output before the first command.
    """
    text: list[str] = []
    output: list[str] = []
    start = 0
    for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
        if line.startswith("$ "):
            if text:
                yield Command(start, "\n".join(text), tuple(output))
            text, output, start = [line[2:]], [], number
        elif line.startswith("> ") and not output:
            text.append(line[2:])
        elif text:
            output.append(line)
        else:
            raise ValueError(f"{block.page}:{number}: output before the first `$ ` command")
    if text:
        yield Command(start, "\n".join(text), tuple(output))
