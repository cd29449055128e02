"""
Says in words what a job waits for.

    condition                                        expression
    Is("a", COMPLETED)                               a=COMPLETED
    All((Is a, Any((Is b, Is c))))                   a=COMPLETED AND (b=FAILED OR c=COMPLETED)
    Any((All((Is a, Is b)), Not(Is c)))              a=COMPLETED AND b=COMPLETED OR NOT c=FAILED
    All(())                                          nothing

NOT binds tighter than AND, AND tighter than OR; parentheses stand only where this would read otherwise.

Runs in: server loop, command lines. May not: do I/O, recurse (nobody says how deep a condition is).
Source: API specification, "Job Names in Workflows" for `name: OUTCOME`.
"""

from typing import Final

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not

NOTHING: Final = "nothing"
NEVER: Final = "never"

# How tightly the words around a part bind it.
_LOOSE: Final = 0
_OR: Final = 1
_AND: Final = 2
_NOT: Final = 3


def requirement_text(condition: Condition) -> str:
    """As a file lists it, `build: COMPLETED, test: FINISHED`, where it is a mere list; else as `condition_text`."""
    listed: list[str] = []
    pending = [condition]
    while pending:
        match pending.pop():
            case Is(job, outcome):
                listed.append(f"{job}: {outcome}")
            case All(parts):
                pending += reversed(parts)
            case _:
                return condition_text(condition)
    return ", ".join(listed) or NOTHING


def condition_text(condition: Condition) -> str:
    """The condition as one expression. Job names are as they are: escape them for a terminal."""
    words: list[str] = []
    pending: list[str | tuple[Condition, int]] = [(condition, _LOOSE)]
    while pending:
        match pending.pop():
            case str(word):
                words.append(word)
            case (Is(job, outcome), _):
                words.append(f"{job}={outcome}")
            case (Not(part), _):
                words.append("NOT ")
                pending.append((part, _NOT))
            case (All(()), _):
                words.append(NOTHING)
            case (Any(()), _):
                words.append(NEVER)
            case (All((part,)) | Any((part,)), around):
                pending.append((part, around))
            case (All(parts), around):
                pending += reversed(_joined(parts, " AND ", _AND, around))
            case (Any(parts), around):
                pending += reversed(_joined(parts, " OR ", _OR, around))
    return "".join(words)


def _joined(parts: tuple[Condition, ...], word: str, tightness: int, around: int) -> list[str | tuple[Condition, int]]:
    joined: list[str | tuple[Condition, int]] = []
    for part in parts:
        joined += (word, (part, tightness))
    joined[0] = "(" if around > tightness else ""
    joined.append(")" if around > tightness else "")
    return joined
