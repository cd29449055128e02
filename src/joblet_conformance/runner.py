"""
Runs cases: many at once where they allow it, each with a deadline, each cleaned up after.

    those that share ─► all at once, at most `parallel` ─► those that must be alone, one after the other

Runs in: the terminal of whoever tests a server. May not: print (a report does, as its listener).
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from joblet_conformance.case import Case, Level
from joblet_conformance.cleaning import clean_up
from joblet_conformance.evidence import Evidence, Exchange, Failed, Skipped
from joblet_conformance.subject import Subject
from joblet_conformance.target import PATIENCE_S, Target
from joblet_conformance.together import is_cancelled

CLEAN_UP_S: Final = 120.0  # at most, though something is still being stopped now and then
PARALLEL: Final = 8

Thing = TypeVar("Thing")


class Verdict(StrEnum):
    """How a case went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Result:
    """
    One case that was run.

    Args:
        words: Why it failed, was skipped, or is broken (a fault of the suite); empty when it passed.
        exchanges: What was sent and what came, the newest last; of a case that passed too.
        seen: Every `RPC=CODE` that happened.
    """

    case: Case
    verdict: Verdict
    took_s: float
    words: str
    exchanges: Sequence[Exchange]
    seen: frozenset[str]


Listener = Callable[[Result], None]


async def run(
    target: Target, cases: Sequence[Case], *, parallel: int = PARALLEL, listener: Listener = lambda result: None
) -> Sequence[Result]:
    """
    Run the cases.

    Args:
        parallel: How many at most at once.
        listener: Told of each as it ends.

    Returns:
        Their results, in the order of the cases. When this is cancelled, what was under way is cleaned up first, and
        the listener is told what could not be, as of a case that was skipped.
    """
    results: dict[str, Result] = {}
    slots = asyncio.Semaphore(parallel)

    async def take(case: Case) -> None:
        async with slots:
            result = await _run_one(target, case, listener)
        results[case.id] = result
        listener(result)

    async with asyncio.TaskGroup() as group:
        for case in cases:
            if not case.alone:
                group.create_task(take(case))
    for case in cases:
        if case.alone:
            await take(case)
    return [results[case.id] for case in cases]


async def _run_one(target: Target, case: Case, listener: Listener) -> Result:
    """The listener is told of a case that is cancelled when something of it is left."""
    evidence = Evidence()
    # Who has told us to be patient means it of a case as a whole too, and of what comes after it.
    stretched = max(1.0, target.patience_s / PATIENCE_S)
    deadline_s = case.deadline_s * stretched
    clean_up_s = max(CLEAN_UP_S * stretched, deadline_s)
    subject = Subject(target, evidence, deadline_s)
    began_s = time.monotonic()
    verdict, words = Verdict.PASSED, ""
    try:
        async with asyncio.timeout(deadline_s) as deadline:
            await case.body(subject)
    except asyncio.CancelledError as error:
        if is_cancelled():
            _, why = await _to_its_end(_left(subject, clean_up_s))
            if why:
                words, took_s = f"interrupted; and {why}", time.monotonic() - began_s
                listener(Result(case, Verdict.SKIPPED, took_s, words, evidence.last(), evidence.seen()))
            raise
        verdict, words = Verdict.BROKEN, _fault(error)
    except Failed as failed:
        verdict, words = Verdict.FAILED, str(failed)
    except Skipped as skipped:
        verdict, words = Verdict.SKIPPED, str(skipped)
    except Exception as error:  # a fault of the suite must not end the run of the other cases
        if isinstance(error, TimeoutError) and deadline.expired():
            verdict, words = Verdict.FAILED, f"not done after {deadline_s:g} s"
        else:
            verdict, words = Verdict.BROKEN, _fault(error)
    took_s = time.monotonic() - began_s
    left, why = await _to_its_end(_left(subject, clean_up_s))
    if verdict is Verdict.PASSED:
        verdict, words = left, why
    elif why:
        words += f"; and {why}"
    return Result(case, verdict, took_s, words, evidence.last(), evidence.seen())


def _fault(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


async def _left(subject: Subject, within_s: float) -> tuple[Verdict, str]:
    """Clean up; how that went, and why it could not be done, or nothing."""
    try:
        async with asyncio.timeout(within_s) as deadline:
            await clean_up(subject)
    except Failed as failed:
        return Verdict.FAILED, f"what it had started cannot be stopped: {failed}"
    except Exception as error:  # a fault of the suite, here too, ends no other case
        if isinstance(error, TimeoutError) and deadline.expired():
            return Verdict.FAILED, f"what it had started is not stopped after {within_s:g} s"
        return Verdict.BROKEN, f"what it had started cannot be stopped: {_fault(error)}"
    return Verdict.PASSED, ""


async def _to_its_end(work: Coroutine[Any, Any, Thing]) -> Thing:
    """Do it, even when the run is cancelled meanwhile; it is cancelled once at most."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class Conclusion(StrEnum):
    """What a run says of the server."""

    CONFORMS = "conforms"
    FAILS = "fails"
    OPEN = "not decided"


def conclusion(results: Sequence[Result]) -> Conclusion:
    """
    Whether all cases that are a must have passed; open when none failed but some could not be tried.

    Where none is a must, those that were tried decide when all of them have passed, and leave it open otherwise.
    """
    if results and all(result.case.level is not Level.MUST for result in results):
        verdicts = {result.verdict for result in results} - {Verdict.SKIPPED}
        return Conclusion.CONFORMS if verdicts == {Verdict.PASSED} else Conclusion.OPEN
    musts = {result.verdict for result in results if result.case.level is Level.MUST}
    if musts & {Verdict.FAILED, Verdict.BROKEN}:
        return Conclusion.FAILS
    return Conclusion.OPEN if Verdict.SKIPPED in musts or not musts else Conclusion.CONFORMS
