"""
The sentences of the specification, each with an id that cases point to.

They are data, in `specification/*.toml`, a file a chapter and a table a section:

    [stop-job]
    section = "StopJob"
    grace = "Wait 100ms for graceful shutdown"                 # the statement `stop-job.grace`
    cgroup = { quote = "Clean up …", unchecked = "happens inside the server's machine" }

A quote is verbatim, but for line breaks and the markup of the document.

Runs in: the terminal of whoever tests a server. May not: read anything but the suite's own files.
Source: "Joblet API Documentation", version 2.11; for messages that it names without fields, the comments of
proto/joblet.proto (section "joblet.proto").
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True)
class Statement:
    """
    One sentence.

    Args:
        unchecked: Why no case can check it from outside; empty where one must.
    """

    id: str
    section: str
    quote: str
    unchecked: str = ""


def _read() -> Iterator[Statement]:
    folder = files("joblet_conformance") / "specification"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        for group, entries in tomllib.loads(file.read_text(encoding="utf-8")).items():
            section = entries.pop("section")
            for name, value in entries.items():
                if isinstance(value, str):
                    yield Statement(f"{group}.{name}", section, value)
                else:
                    yield Statement(f"{group}.{name}", section, value["quote"], value["unchecked"])


STATEMENTS: Final[Mapping[str, Statement]] = {statement.id: statement for statement in _read()}
