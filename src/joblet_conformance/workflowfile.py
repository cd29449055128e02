"""
Writes the files of workflows that cases run.

Runs in: the terminal of whoever tests a server. May not: do I/O.
Source: API specification, "Job Names in Workflows".
"""

import json
from typing import Any


def job(command: str, *args: str, requires: dict[str, str] | None = None, **further: Any) -> dict[str, Any]:
    """One job of a workflow's file."""
    made: dict[str, Any] = {"command": command, "args": list(args), **further}
    if requires:
        made["requires"] = [{name: status} for name, status in requires.items()]
    return made


def file_of(jobs: dict[str, Any], **further: Any) -> str:
    """A workflow's file: JSON is YAML."""
    return json.dumps({**further, "jobs": jobs}, indent=1)
