"""
What of the specification is checked by which case, and why the rest cannot be: three tables without an empty cell.

    calls        every call by every status code of the specification
    fields       every field of every message
    statements   every sentence

Runs in: the terminal of whoever tests a server. May not: connect.
Source: API specification, "gRPC Status Codes"; proto/joblet.proto.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from joblet.wire import joblet_pb2
from joblet_conformance.calls import ADDITIONS, CALLS
from joblet_conformance.case import Case
from joblet_conformance.statements import STATEMENTS

CODES: Final = (
    "OK",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "INTERNAL",
    "CANCELLED",
    "INVALID_ARGUMENT",
)

_OUR_OWN: Final = "an addition of our own server: not in the specification"
_FIRST_OWN_NUMBER: Final = 100
_RUNTIMES: Final = "the specification names the call, but not its messages"
# But for these, which need none of what is in the messages.
_OF_RUNTIMES: Final = frozenset(
    {"ListRuntimes=OK", "InstallRuntime=PERMISSION_DENIED", "InstallRuntime=INVALID_ARGUMENT"}
)
_BY_ID: Final = frozenset({"GetJobStatus", "StopJob", "GetJobLogs", "GetWorkflowStatus", "GetWorkflowJobs"})
_CHANGING: Final = frozenset({"RunJob", "StopJob", "RunWorkflow", "InstallRuntime", "TestRuntime"})

# Fields without a case, and messages all of whose fields have none.
_WHY_NO_FIELD: Final[Mapping[str, str]] = {
    "FileUpload": "the specification's RunJobReq has no uploads",
    "RunJobReq.uploads": "not in the specification's RunJobReq",
    "RunJobReq.schedule": "not in the specification's RunJobReq",
    "RunJobReq.network": "not in the specification's RunJobReq",
    "RunJobReq.volumes": "not in the specification's RunJobReq",
    "RunJobReq.runtime": "not in the specification's RunJobReq",
    "RunJobReq.workDir": "not in the specification's RunJobReq",
    "RunJobRes.cpuCores": "the specification's RunJobReq has no way to ask for it",
    "RunJobRes.endTime": "empty: a job that was just started has not ended",
    "RunJobRes.exitCode": "0: a job that was just started has not ended",
    "RunJobRes.scheduledTime": "the specification's RunJobReq has no way to ask for it",
    "GetJobStatusRes.scheduledTime": "the specification's RunJobReq has no way to ask for it",
    "GetJobStatusRes.network": "the specification names the message, but not this field",
    "GetJobStatusRes.volumes": "the specification names the message, but not this field",
    "GetJobStatusRes.runtime": "the specification's RunJobReq has no way to ask for it",
    "GetJobStatusRes.workDir": "the specification names the message, but not this field",
    "GetJobStatusRes.uploads": "the specification names the message, but not this field",
    "Job.scheduledTime": "the specification's RunJobReq has no way to ask for it",
    "Job.runtime": "the specification's RunJobReq has no way to ask for it",
    "RunWorkflowRequest.jobOrder": "the specification names the message, but not this field",
    "RunWorkflowRequest.workflowFiles": "the specification names the message, but not this field",
    "WorkflowInfo.canceledJobs": "the specification does not say what counts as canceled",
    "StopWorkflowRequest": _OUR_OWN,
    "StopWorkflowResponse": _OUR_OWN,
    **dict.fromkeys(("InstallRuntimeRequest.source", "InstallRuntimeRequest.force"), _RUNTIMES),
    **dict.fromkeys(("InstallRuntimeResponse", "RuntimeInfo", "GetRuntimeInfoRequest"), _RUNTIMES),
    **dict.fromkeys(("GetRuntimeInfoResponse", "TestRuntimeRequest", "TestRuntimeResponse"), _RUNTIMES),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """
    One thing there is to check.

    Args:
        cases: Ids of those that do.
        why_not: Why there are none; empty where there are.
    """

    what: str
    cases: tuple[str, ...]
    why_not: str

    @property
    def is_empty(self) -> bool:
        """Neither a case nor a reason: a hole in the suite."""
        return not self.cases and not self.why_not


@dataclass(frozen=True, slots=True)
class Coverage:
    """The three tables."""

    calls: Sequence[Cell]
    fields: Sequence[Cell]
    statements: Sequence[Cell]

    def holes(self) -> Sequence[str]:
        """What is neither checked nor excused."""
        return [cell.what for cell in (*self.calls, *self.fields, *self.statements) if cell.is_empty]


def coverage(cases: Mapping[str, Case]) -> Coverage:
    """What these cases check."""
    by_thing: dict[str, list[str]] = defaultdict(list)
    for case in cases.values():
        for thing in dict.fromkeys((*case.covers, *(statement.id for statement in case.states))):
            by_thing[thing].append(case.id)

    def cell(what: str, why_not: str) -> Cell:
        found = tuple(by_thing.get(what, ()))
        return Cell(what, found, "" if found else why_not)

    names = dict.fromkeys(call.name for call in CALLS.values())
    return Coverage(
        calls=[cell(f"{name}={code}", _why_no_code(name, code)) for name in names for code in CODES],
        fields=[cell(name, why_not) for name, why_not in _fields()],
        statements=[cell(statement.id, statement.unchecked) for statement in STATEMENTS.values()],
    )


def unknown_things(cases: Mapping[str, Case]) -> Sequence[str]:
    """What cases say that they cover, though there is no such thing: slips of the pen."""
    known = {f"{call.name}={code}" for call in CALLS.values() for code in CODES}
    known |= {name for name, _ in _fields()}
    return [f"{case.id}: {thing}" for case in cases.values() for thing in case.covers if thing not in known]


def needless_reasons(cases: Mapping[str, Case]) -> Sequence[str]:
    """Calls, fields and messages of which it is said why they have no case, though they have one."""
    covered = {thing for case in cases.values() for thing in case.covers}
    calls = {thing for thing in covered if "=" in thing and _why_no_code(*thing.split("="))}
    covered |= {thing.partition(".")[0] for thing in covered}
    return sorted(calls | (covered & set(_WHY_NO_FIELD)))


def _why_no_code(name: str, code: str) -> str:
    own = any(call.id in ADDITIONS for call in CALLS.values() if call.name == name)
    runtimes = any(call.id.startswith("RuntimeService.") for call in CALLS.values() if call.name == name)
    match code:
        case "UNAUTHENTICATED":
            return ""
        case _ if own:
            return _OUR_OWN
        case "INTERNAL":
            return "needs a server that is broken"
        case "CANCELLED" if name != "GetJobLogs":
            return "the specification knows it for streams only"
        case "PERMISSION_DENIED" if name not in _CHANGING:
            return "open to every role"
        case _ if runtimes and f"{name}={code}" not in _OF_RUNTIMES:
            return _RUNTIMES
        case "NOT_FOUND" if name not in _BY_ID:
            return "asks for nothing by its id"
        case "INVALID_ARGUMENT" if name in _BY_ID and name != "StopJob":
            return "its one parameter is an id, and an id that is none is NOT_FOUND"
        case "INVALID_ARGUMENT":
            return "has no parameter that could be invalid" if name.startswith("List") else ""
        case _:
            return ""


def _fields() -> Iterator[tuple[str, str]]:
    """Each field, and why there is no case for it where there is none."""
    for message in joblet_pb2.DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            name = f"{message.name}.{field.name}"
            why_not = _WHY_NO_FIELD.get(name) or _WHY_NO_FIELD.get(message.name, "")
            yield name, why_not or (_OUR_OWN if field.number >= _FIRST_OWN_NUMBER else "")


def markdown(found: Coverage) -> str:
    """The three tables."""
    lines = ["# What is checked, and by which case"]
    for heading, what, cells in (
        ("Calls and status codes", "call and code", found.calls),
        ("Fields", "field", found.fields),
        ("Statements", "statement", found.statements),
    ):
        checked = sum(bool(cell.cases) for cell in cells)
        lines += ["", f"## {heading}: {checked} of {len(cells)} are checked", "", f"| {what} | cases, or why none |"]
        lines.append("|---|---|")
        for cell in cells:
            shown = ", ".join(f"`{case}`" for case in cell.cases) or cell.why_not
            quote = STATEMENTS[cell.what].quote.replace("|", "\\|") if cell.what in STATEMENTS else ""
            lines.append(f"| `{cell.what}`{f'<br>{quote}' if quote else ''} | {shown} |")
    return "\n".join(lines) + "\n"
