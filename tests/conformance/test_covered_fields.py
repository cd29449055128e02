"""
A case that says it covers a field notices when that field is wrong: on a server that garbles it, and nothing else.

Runs in: pytest.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from broken_server import Broken, Go
from certificates import Authority
from google.protobuf.message import Message

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Case, Profile, cases
from joblet_conformance.certificates import identities
from joblet_conformance.coverage import CODES
from joblet_conformance.reports.outcome import explanation
from joblet_conformance.runner import Verdict, run
from joblet_conformance.target import Target

PROFILES = (Profile.CORE, Profile.SECURITY, Profile.WORKFLOW)
PATIENCE_S = 1.0


class Garbles(Broken, caught_by=""):
    """One field of one message is never what it should be, in requests as in answers."""

    def __init__(self, field: str) -> None:
        self._message, _, self._name = field.partition(".")

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        self._garble(request)
        answer = await go(request)
        self._garble(answer)
        return answer

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Any) -> None:
        self._garble(request)

        async def written(payload: bytes) -> None:
            await write(payload[:-1] + b"?" if self._message == "DataChunk" else payload)

        await go(request, written)

    def _garble(self, message: Message) -> None:
        for each in _messages(message):
            if each.DESCRIPTOR.name == self._message:
                _garbled(each, each.DESCRIPTOR.fields_by_name[self._name])


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else [value]:
                yield from _messages(each)


def _garbled(message: Message, field: Any) -> None:
    value = getattr(message, field.name)
    if field.message_type and field.message_type.GetOptions().map_entry:
        value["garbled"] = "garbled"
    elif field.message_type and field.is_repeated:
        del value[:]
    elif field.message_type:
        value.seconds += 100_000
    elif field.is_repeated:
        value.append("garbled")
    elif isinstance(value, str):
        setattr(message, field.name, f"{value}garbled")
    else:
        setattr(message, field.name, not value if isinstance(value, bool) else -1 - value)


# What is covered by not being there.
UNSEEN = {("workflow.secrets", "WorkflowInfo.yamlContent"), ("workflow.secrets", "Job.secret_environment")}


def covered() -> Iterator[tuple[Case, str]]:
    """Each case with each field that it covers."""
    for case in cases().values():
        for thing in case.covers:
            is_field = thing.partition("=")[2] not in CODES
            if is_field and case.profile in PROFILES and (case.id, thing) not in UNSEEN:
                yield case, thing


def _id(each: Case | str) -> str:
    return each if isinstance(each, str) else each.id


@pytest.mark.parametrize(("case", "field"), list(covered()), ids=_id)
async def test_a_garbled_field_is_noticed(authority: Authority, case: Case, field: str) -> None:
    known = identities(authority.certificate, authority.key, {})
    async with (
        Garbles(field).serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=PATIENCE_S) as target,
    ):
        (result,) = await run(target, [case])

    assert result.verdict is Verdict.FAILED, explanation(result)
