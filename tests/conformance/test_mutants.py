"""
The suite is itself tested: deliberately broken servers, each of which must be caught by the case meant for it.

Runs in: pytest.
"""

from typing import Any

import broken_access
import broken_answers
import broken_deadlines
import broken_limits
import broken_load
import broken_logs
import broken_moments
import broken_refusals
import broken_stops
import broken_transitions
import broken_words
import broken_workflows
import pytest
from broken_server import MUTANTS, Broken, Go, Refusal, Write
from certificates import Authority
from google.protobuf.message import Message
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import cases
from joblet_conformance.certificates import identities
from joblet_conformance.reports.outcome import explanation
from joblet_conformance.runner import Conclusion, Result, Verdict, conclusion, run
from joblet_conformance.target import Target

PATIENCE_S = 3.0  # what is broken so that it hangs, hangs so long
FOLDER = (
    *(broken_access, broken_answers, broken_deadlines, broken_limits, broken_load),
    *(broken_logs, broken_moments, broken_refusals, broken_stops, broken_transitions, broken_words, broken_workflows),
)


async def tried(
    broken: Broken, authority: Authority, case_ids: list[str], patience_s: float = PATIENCE_S
) -> list[Result]:
    """What these cases say of a server."""
    known = identities(authority.certificate, authority.key, {})
    async with (
        broken.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=patience_s) as target,
    ):
        return list(await run(target, [cases()[case_id] for case_id in case_ids]))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.__module__}.{mutant.__name__}")
async def test_a_broken_server_is_caught_by_the_case_meant_for_it(authority: Authority, mutant: type[Broken]) -> None:
    """By name, and by an expectation: not because the suite itself breaks."""
    (result,) = await tried(mutant(), authority, [mutant.caught_by])

    assert result.verdict is Verdict.FAILED, explanation(result)
    assert result.words


@pytest.mark.parametrize("healthy", [Broken, broken_limits.Machine])
async def test_the_same_server_without_a_fault_is_not_caught(authority: Authority, healthy: type[Broken]) -> None:
    """What the mutants are made of passes each case that catches one of them."""
    machines = healthy is broken_limits.Machine
    mutants = [mutant for mutant in MUTANTS if issubclass(mutant, broken_limits.Machine) == machines]
    results = await tried(healthy(), authority, sorted({mutant.caught_by for mutant in mutants}), patience_s=30.0)

    assert [
        f"{result.case.id}: {explanation(result)}" for result in results if result.verdict is not Verdict.PASSED
    ] == []


# Cases that no mutant can show to work, because our own server does not have what they ask about.
WITHOUT_A_MUTANT = {
    "runtime.install-nothing": "our own server has no runtimes yet",
    "runtime.list": "our own server has no runtimes yet",
}


def test_every_case_has_been_seen_to_catch_a_server() -> None:
    """A case that has never failed may be one that cannot."""
    assert set(cases()) - {mutant.caught_by for mutant in MUTANTS} == set(WITHOUT_A_MUTANT)


class Blank(Broken, caught_by=""):
    """Every answer is empty, and no log has a byte."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        return type(await go(request))()

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        return


class Refuses(Broken, caught_by=""):
    """Nothing is served."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        raise Refusal(StatusCode.UNIMPLEMENTED, "")

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        raise Refusal(StatusCode.UNIMPLEMENTED, "")


class Babbles(Broken, caught_by=""):
    """Every text of an answer is another one, and every number."""

    def answer(self, call: str, answer: Any) -> Any:
        for field, value in answer.ListFields():
            if isinstance(value, str):
                setattr(answer, field.name, f"no {field.name}")
            elif isinstance(value, int):
                setattr(answer, field.name, value + 1)
            elif not hasattr(value, "keys"):
                for each in value if hasattr(value, "__iter__") else [value]:
                    if isinstance(each, Message):
                        self.answer(call, each)
        return answer


@pytest.mark.parametrize("server", [Blank, Refuses, Babbles])
async def test_no_server_can_break_the_suite(authority: Authority, server: type[Broken]) -> None:
    """However little of what it says makes sense: a case fails, or is skipped."""
    known = identities(authority.certificate, authority.key, {})
    async with (
        server().serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=0.5) as target,
    ):
        results = await run(target, list(cases().values()), parallel=32)

    assert [f"{each.case.id}: {each.words}" for each in results if each.verdict is Verdict.BROKEN] == []
    assert conclusion(results) is Conclusion.FAILS


def test_there_are_many_mutants_and_each_says_what_is_wrong_with_it() -> None:
    assert len(MUTANTS) >= 40
    assert [mutant.__name__ for mutant in MUTANTS if not mutant.__doc__] == []
    assert {mutant.__module__ for mutant in MUTANTS} == {module.__name__ for module in FOLDER}
