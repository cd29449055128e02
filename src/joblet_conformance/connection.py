"""
Before any case: which dialect the server speaks, and whether it can be talked to at all.

Runs in: the terminal of whoever tests a server. May not: know a case.
"""

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import dialect
from joblet_conformance.evidence import Evidence, Failed, Skipped
from joblet_conformance.subject import Outcome, Subject
from joblet_conformance.target import Target, services


class Unusable(Exception):
    """What the user has asked for cannot be done; with words for the user."""


async def spoken(target: Target, wanted: str) -> dialect.Dialect:
    """
    The dialect in which the server answers.

    Args:
        wanted: What the user says: `auto`, a name, or a file.

    Raises:
        Unusable: It is none that we know, or the server cannot be reached.
        DialectUnusable: What the user has named is none.
    """
    if wanted != "auto":
        return dialect.named(wanted)
    offered = await services(target)
    if offered is None:
        return await _answered(target)
    found = dialect.matching(offered)
    if found is None:
        raise Unusable(
            f"the server offers {', '.join(sorted(offered)) or 'nothing'}, which is no dialect that is built in:"
            " write one (see docs/conformance.md) and give it as --dialect FILE"
        )
    return found


async def _answered(target: Target) -> dialect.Dialect:
    """The built-in dialect whose ListJobs the server knows; the first where it knows none."""
    first, *others = dialect.built_in().values()
    for target.dialect in (first, *others):
        if (await _list_of_jobs(target)).code is not StatusCode.UNIMPLEMENTED:
            return target.dialect
    return first


async def _list_of_jobs(target: Target) -> Outcome:
    try:
        return await Subject(target, Evidence()).outcome("ListJobs", pb.EmptyRequest())
    except (Skipped, Failed) as error:
        raise Unusable(f"cannot list the jobs of {target.address} as admin: {error}") from None


async def check(target: Target) -> None:
    """Raises Unusable when not even an admin can list jobs: nothing else would work either."""
    outcome = await _list_of_jobs(target)
    if outcome.code is not StatusCode.OK:
        raise Unusable(f"cannot list the jobs of {target.address} as admin: {outcome.code.name} {outcome.words}")
