"""
The suite is itself tested: deliberately broken servers, each of which must be caught by the case meant for it.

Runs in: pytest.
"""

import broken_access
import broken_answers
import broken_limits
import broken_load
import broken_logs
import broken_refusals
import broken_stops
import broken_workflows
import pytest
from broken_server import MUTANTS, Broken
from certificates import Authority

from joblet_conformance.case import cases
from joblet_conformance.certificates import identities
from joblet_conformance.reports.outcome import explanation
from joblet_conformance.runner import Result, Verdict, run
from joblet_conformance.target import Target

PATIENCE_S = 3.0  # what is broken so that it hangs, hangs so long
FOLDER = (
    *(broken_access, broken_answers, broken_limits, broken_load),
    *(broken_logs, broken_refusals, broken_stops, broken_workflows),
)


async def tried(broken: Broken, authority: Authority, case_ids: list[str]) -> list[Result]:
    """What these cases say of a server."""
    known = identities(authority.certificate, authority.key, {})
    async with (
        broken.serving(authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, patience_s=PATIENCE_S) as target,
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
    results = await tried(healthy(), authority, sorted({mutant.caught_by for mutant in mutants}))

    assert [
        f"{result.case.id}: {explanation(result)}" for result in results if result.verdict is not Verdict.PASSED
    ] == []


def test_there_are_many_mutants_and_each_says_what_is_wrong_with_it() -> None:
    assert len(MUTANTS) >= 40
    assert [mutant.__name__ for mutant in MUTANTS if not mutant.__doc__] == []
    assert {mutant.__module__ for mutant in MUTANTS} == {module.__name__ for module in FOLDER}
