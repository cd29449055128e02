"""
Conditions that follow the ends of jobs one by one: true, false (it can no longer hold), or not yet known.

Each part counts its own parts that are still open and knows whose part it is, so an end travels only as far up as it
decides something: a job that waits for 10,000 others costs each of them a step, not a look at all.

Runs in: server loop. May not: do I/O; recurse (a file decides how deep an expression is).
"""

from collections.abc import Mapping
from enum import Enum, auto

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome


class _Kind(Enum):
    LEAF = auto()
    ALL = auto()
    ANY = auto()
    NOT = auto()


class _Part:
    __slots__ = ("kind", "open", "parent", "truth")

    def __init__(self, kind: _Kind, parent: "_Part | None", parts: int) -> None:
        self.kind = kind
        self.parent = parent
        self.open = parts
        self.truth: bool | None = None

    def decide(self, truth: bool) -> None:
        """Its truth is known; tell whose part it is, as far up as that decides anything."""
        part: _Part | None = self
        while part is not None and part.truth is None:
            part.truth = truth
            part = part.parent
            if part is None or part.truth is not None:
                return
            match part.kind:
                case _Kind.NOT:
                    truth = not truth
                case kind:
                    # One false part decides an All, one true part an Any; else the last one does.
                    part.open -= 1
                    if truth == (kind is _Kind.ALL) and part.open:
                        return


class Pending:
    """
    The condition of one job.

    Args:
        condition: Of names that are all known.
    """

    __slots__ = ("_leaves", "_root")

    def __init__(self, condition: Condition) -> None:
        self._leaves: dict[str, list[tuple[Outcome, _Part]]] = {}
        self._root = self._part(condition, None)
        rest = [(condition, self._root)]
        constant: list[_Part] = []
        while rest:
            whole, part = rest.pop()
            for inner in _parts(whole):
                below = self._part(inner, part)
                rest.append((inner, below))
            if not _parts(whole) and part.kind is not _Kind.LEAF:
                constant.append(part)
        for part in constant:
            part.decide(part.kind is _Kind.ALL)

    @property
    def truth(self) -> bool | None:
        """Whether it holds; None while that is open."""
        return self._root.truth

    @property
    def names(self) -> list[str]:
        """The jobs whose ends it follows."""
        return list(self._leaves)

    def ended(self, name: str, holds: Mapping[Outcome, bool]) -> None:
        """A job has ended: which of the outcomes it has had. A second end changes nothing."""
        for outcome, part in self._leaves.pop(name, ()):
            part.decide(holds[outcome])

    def _part(self, condition: Condition, parent: _Part | None) -> _Part:
        match condition:
            case Is(job, outcome):
                part = _Part(_Kind.LEAF, parent, 0)
                self._leaves.setdefault(job, []).append((outcome, part))
            case All(parts):
                part = _Part(_Kind.ALL, parent, len(parts))
            case Any(parts):
                part = _Part(_Kind.ANY, parent, len(parts))
            case Not():
                part = _Part(_Kind.NOT, parent, 1)
        return part


def _parts(condition: Condition) -> tuple[Condition, ...]:
    match condition:
        case Is():
            return ()
        case All(parts) | Any(parts):
            return parts
        case Not(part):
            return (part,)
