"""
Files of workflows that are refused before anything of them runs.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Key Workflow Features" (validation), "Job Names in Workflows".
"""

from typing import Any, Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import expect, same
from joblet_conformance.subject import Subject
from joblet_conformance.workflowfile import file_of

_ECHO: Final[dict[str, Any]] = {"command": "the-echo-of-this-machine"}


def _invalid(name: str, title: str, text: str, level: Level = Level.MUST) -> None:
    async def refused(server: Subject) -> None:
        before = await server.listed()
        text_here = text.replace(_ECHO["command"], server.programs.echo)
        request = pb.RunWorkflowRequest(workflow=f"{name}.yaml", yamlContent=text_here)
        words = await server.refused("RunWorkflow", request, StatusCode.INVALID_ARGUMENT)
        expect(words, "the refusal does not say what is wrong")
        for job_id in set(await server.listed()) - set(before):
            found = await server.status(job_id)
            same("jobs that the refused workflow has started", name in found.args, False)

    refused.__doc__ = title
    case(
        f"workflow.invalid-{name}",
        "workflow.validation",
        "code.invalid-argument",
        profile=Profile.WORKFLOW,
        level=level,
        covers=("RunWorkflow=INVALID_ARGUMENT",),
    )(refused)


_invalid("no-yaml", "Text that is no YAML is refused.", "jobs: [")
_invalid("empty", "An empty file is refused.", "", Level.SHOULD)
_invalid("no-jobs", "A workflow without jobs is refused.", "jobs: {}", Level.SHOULD)
_invalid("no-command", "A job without a command is refused before anything runs.", file_of({"one": {"args": ["x"]}}))
_invalid(
    "unknown-job",
    "A job that requires one that there is not is refused, and nothing of its workflow runs.",
    file_of({"one": {**_ECHO, "args": ["unknown-job"]}, "two": {**_ECHO, "requires": [{"three": "COMPLETED"}]}}),
)
_invalid(
    "cycle",
    "Jobs that require each other are refused, and nothing of their workflow runs.",
    file_of(
        {
            "free": {**_ECHO, "args": ["cycle"]},
            "one": {**_ECHO, "requires": [{"two": "COMPLETED"}]},
            "two": {**_ECHO, "requires": [{"one": "COMPLETED"}]},
        }
    ),
)
_invalid(
    "long-cycle",
    "Jobs that require each other in a ring of three are refused, and nothing of their workflow runs.",
    file_of(
        {
            "free": {**_ECHO, "args": ["long-cycle"]},
            "one": {**_ECHO, "requires": [{"two": "COMPLETED"}]},
            "two": {**_ECHO, "requires": [{"three": "COMPLETED"}]},
            "three": {**_ECHO, "requires": [{"one": "COMPLETED"}]},
        }
    ),
)
_invalid(
    "itself",
    "A job that requires itself is refused.",
    file_of({"one": {**_ECHO, "args": ["itself"], "requires": [{"one": "COMPLETED"}]}}),
)
_invalid(
    "unknown-status",
    "A requirement that is no status is refused.",
    file_of({"one": {**_ECHO, "args": ["unknown-status"]}, "two": {**_ECHO, "requires": [{"one": "DONE"}]}}),
)
