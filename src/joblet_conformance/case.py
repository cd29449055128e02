"""
A case: what it checks, how strictly, and the function that does it.

    @case("stop-job.finished", "error.not-running", covers=("StopJob=INVALID_ARGUMENT",))
    async def stop_of_a_finished_job_is_refused(server: Subject) -> None:
        ...

An id is for ever: reports of years are compared by it. A second case of the same id is a crash, and so is one
that names a statement nobody wrote down.

Runs in: the terminal of whoever tests a server. May not: do I/O but read the suite's own files.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from joblet_conformance.statements import STATEMENTS, Statement

if TYPE_CHECKING:
    from joblet_conformance.subject import Subject


class Level(StrEnum):
    """How strict the specification is; only `must` decides the exit status."""

    MUST = "must"
    SHOULD = "should"
    MAY = "may"


class Profile(StrEnum):
    """What a server may claim to be."""

    CORE = "core"
    SECURITY = "security"
    WORKFLOW = "workflow"
    RUNTIME = "runtime"
    PROCESS = "process"
    LIMITS = "limits"
    LOAD = "load"


PROFILES: Final[Mapping[Profile, str]] = {
    Profile.CORE: "the five calls of jobs",
    Profile.SECURITY: "TLS, certificates and roles",
    Profile.WORKFLOW: "workflows of jobs",
    Profile.RUNTIME: "RuntimeService",
    Profile.PROCESS: "what a job is on its machine, seen from inside it",
    Profile.LIMITS: "limits of jobs, seen from inside them, on a server with real cgroups",
    Profile.LOAD: "many at once",
}

Body = Callable[["Subject"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """
    One check.

    Args:
        states: The statements of the specification that it checks, the main one first.
        covers: What else it exercises: `RPC=CODE` (really seen while it runs) and `Message.field`.
        alone: It measures time or fills the server, so no other case runs meanwhile.
        deadline_s: After so long it has failed.
    """

    id: str
    title: str
    states: tuple[Statement, ...]
    level: Level
    profile: Profile
    covers: tuple[str, ...]
    alone: bool
    deadline_s: float
    body: Body


def fields(message: str, *names: str) -> tuple[str, ...]:
    """Several fields of one message, for `covers`."""
    return tuple(f"{message}.{name}" for name in names)


_CASES: Final[dict[str, Case]] = {}


def case(
    case_id: str,
    *states: str,
    profile: Profile = Profile.CORE,
    level: Level = Level.MUST,
    covers: tuple[str, ...] = (),
    alone: bool = False,
    deadline_s: float = 60.0,
) -> Callable[[Body], Body]:
    """
    Register the decorated function; its docstring's first line is the case's title.

    Args:
        states: Ids of statements.

    Raises:
        ValueError: The id is taken, or a statement is unknown.
    """

    if case_id in _CASES:
        raise ValueError(f"two cases are called {case_id}")
    if unknown := [name for name in states if name not in STATEMENTS]:
        raise ValueError(f"{case_id} checks statements that do not exist: {', '.join(unknown)}")

    def register(body: Body) -> Body:
        title = (body.__doc__ or "").strip().partition("\n")[0]
        found = tuple(STATEMENTS[name] for name in states)
        _CASES[case_id] = Case(case_id, title, found, level, profile, covers, alone, deadline_s, body)
        return body

    return register


def cases() -> Mapping[str, Case]:
    """Every case of the suite by its id."""
    from joblet_conformance import cases as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_CASES.items()))
