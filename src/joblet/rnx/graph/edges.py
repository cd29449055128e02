"""
What there is to draw between two jobs of a workflow: one edge a pair, however often the condition names it.

    in the condition of c            edge a → c
    a=COMPLETED                      solid, no words
    a=FAILED                         solid, "FAILED"
    a=COMPLETED OR b=COMPLETED       dashed, no words: c may start without it
    NOT a=FAILED                     dashed, "NOT FAILED"
    a=COMPLETED OR a=FAILED          dashed, "COMPLETED, FAILED"

Runs in: the user's terminal. May not: do I/O, recurse.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from joblet.domain.workflow.definition import All, Any, Condition, Definition, Is, Not, Outcome


@dataclass(frozen=True, slots=True)
class Edge:
    """
    One job waits for another.

    Args:
        source: Who is waited for.
        target: Who waits.
        words: Which outcomes, unless it is just COMPLETED.
        certain: Nothing else can stand in for it: no Any and no Not around it.
    """

    source: str
    target: str
    words: str
    certain: bool


def edges_of(definition: Definition) -> list[Edge]:
    """Every edge, by target in the order of the file, then by source as the condition names them."""
    edges = []
    for target in definition.jobs.values():
        words: dict[str, dict[str, None]] = {}
        certain: set[str] = set()
        for part, word, is_certain in _named(target.requires):
            words.setdefault(part.job, {})[word] = None
            if is_certain:
                certain.add(part.job)
        for source, found in words.items():
            shown = "" if list(found) == [Outcome.COMPLETED] else ", ".join(found)
            edges.append(Edge(source, target.name, shown, source in certain))
    return edges


def _named(condition: Condition) -> Iterator[tuple[Is, str, bool]]:
    """Each outcome that is asked for, from left to right, its words, and whether it is certain."""
    pending = [(condition, False, True)]
    while pending:
        match pending.pop():
            case (Is(outcome=outcome) as part, negated, certain):
                yield part, f"NOT {outcome}" if negated else str(outcome), certain
            case (Not(part), negated, _):
                pending.append((part, not negated, False))
            case (All(parts), negated, certain):
                pending += ((part, negated, certain) for part in reversed(parts))
            case (Any(parts), negated, certain):
                pending += ((part, negated, certain and len(parts) == 1) for part in reversed(parts))
