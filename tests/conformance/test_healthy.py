"""The suite against our own server, on the fake engine, over real TLS: it conforms, and the suite's tables are true."""

from certificates import Authority
from served import a_server

from joblet_conformance.case import Case, Profile, cases
from joblet_conformance.certificates import identities
from joblet_conformance.coverage import CODES
from joblet_conformance.reports.outcome import explanation
from joblet_conformance.runner import Conclusion, Verdict, conclusion, run
from joblet_conformance.target import Target

PROFILES = (Profile.CORE, Profile.SECURITY, Profile.WORKFLOW, Profile.LOAD)


def chosen() -> list[Case]:
    """The cases of the profiles that the fake-backed server can take."""
    return [case for case in cases().values() if case.profile in PROFILES]


async def test_our_own_server_conforms(authority: Authority) -> None:
    """Every case passes, those that are no must too; and what a case says it covers has really happened in it."""
    async with (
        a_server(authority) as served,
        Target(
            f"localhost:{served.port}",
            authority.certificate,
            identities(authority.certificate, authority.key, {}),
        ) as target,
    ):
        results = await run(target, chosen())

    assert [
        f"{result.case.id}: {explanation(result)}" for result in results if result.verdict is not Verdict.PASSED
    ] == []
    assert conclusion(results) is Conclusion.CONFORMS
    assert [
        f"{result.case.id}: {thing}"
        for result in results
        for thing in result.case.covers
        if thing.partition("=")[2] in CODES and thing not in result.seen
    ] == []
