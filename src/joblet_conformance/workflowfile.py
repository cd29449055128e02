"""
Writes the files of workflows that cases run.

Runs in: the terminal of whoever tests a server. May not: do I/O.
Source: API specification, "Job Names in Workflows".
"""

import json
from typing import Any

from joblet.wire import joblet_pb2 as pb


def job(command: str, *args: str, requires: dict[str, str] | None = None, **further: Any) -> dict[str, Any]:
    """One job of a workflow's file."""
    made: dict[str, Any] = {"command": command, "args": list(args), **further}
    if requires:
        made["requires"] = [{name: status} for name, status in requires.items()]
    return made


def file_of(jobs: dict[str, Any], **further: Any) -> str:
    """A workflow's file: JSON is YAML."""
    return json.dumps({**further, "jobs": jobs}, indent=1)


def request_of(jobs: dict[str, Any], name: str, **further: Any) -> pb.RunWorkflowRequest:
    """A request to run a workflow of these jobs."""
    return pb.RunWorkflowRequest(workflow=name, totalJobs=len(jobs), yamlContent=file_of(jobs, **further))
