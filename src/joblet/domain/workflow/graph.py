"""
What is wrong with how the jobs of a workflow depend on each other: circles, and conditions that nothing can fulfil.

A job that may run ends COMPLETED, FAILED or in another way (stopped by a person; canceled), and whoever waits for it
must reckon with each of the three. Whether a job can ever run is asked of its own condition only: is there an end for
each job it names with which the condition holds? A job of which that is denied never runs; one of which it is not may
still never run where a job it names waits for another it names (`a=FAILED AND b=COMPLETED`, and b waits for a).

    end          Is COMPLETED            Is FAILED   Is FINISHED
    completed    yes                     no          yes
    failed       continue_on_failure     yes         yes
    otherwise    no                      no          yes

Everything here is linear in the size of the workflow, but for that question, which has a budget of steps; and nothing
recurses along the graph.

Runs in: server loop, command lines. May not: do I/O, know YAML.
Source: API specification, "Workflow API"; R. Tarjan, "Depth-First Search and Linear Graph Algorithms" (1972).
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from joblet.domain.workflow.definition import All, Any, Condition, Is, Not, Outcome

SEARCH_STEPS: Final = 1_000_000  # parts of conditions looked at, for all jobs of a workflow together: a second


def circles(dependencies: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """
    One circle for each set of jobs that wait for each other: a job, what it waits for, …, the same job.

    Args:
        dependencies: For each job the jobs it waits for, all of them keys here.

    Returns:
        For each set the shortest through the job that the mapping has first.
    """
    return [_shortest(min_first, members, dependencies) for min_first, members in _knots(dependencies)]


def _knots(dependencies: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Collection[str]]]:
    """Tarjan's strongly connected components that hold a circle, each with its first member; the stack is our own."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: dict[str, None] = {}
    position = {name: index for index, name in enumerate(dependencies)}
    for root in dependencies:
        if root in order:
            continue
        path = [(root, iter(dependencies[root]))]
        order[root] = lowest[root] = len(order)
        stack[root] = None
        while path:
            name, remaining = path[-1]
            for other in remaining:
                if other not in order:
                    path.append((other, iter(dependencies[other])))
                    order[other] = lowest[other] = len(order)
                    stack[other] = None
                    break
                if other in stack:
                    lowest[name] = min(lowest[name], order[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[name])
                if lowest[name] == order[name]:
                    members: set[str] = set()
                    while name not in members:
                        members.add(stack.popitem()[0])
                    if len(members) > 1 or name in dependencies[name]:
                        yield min(members, key=position.__getitem__), members


def _shortest(first: str, members: Collection[str], dependencies: Mapping[str, Sequence[str]]) -> list[str]:
    """Breadth first from a job back to it."""
    came_from: dict[str, str] = {}
    queue = deque([first])
    while first not in came_from:
        name = queue.popleft()
        for other in dependencies[name]:
            if other in members and other not in came_from:
                came_from[other] = name
                queue.append(other)
    circle = [first]
    while len(circle) == 1 or circle[-1] != first:
        circle.append(came_from[circle[-1]])
    return circle[::-1]


# Bits: how a job may end, as far as a condition can tell.
_COMPLETED: Final = 1
_FAILED: Final = 2
_OTHERWISE: Final = 4
_EVERY: Final = _COMPLETED | _FAILED | _OTHERWISE


@dataclass(slots=True)
class Possibility:
    """
    Tells whether a condition can ever hold; its budget is for all the conditions of a workflow.

    Args:
        lenient: The jobs with continue_on_failure.
        steps: Parts of conditions it may still look at; without any left, everything is possible.
    """

    lenient: Collection[str]
    steps: int = SEARCH_STEPS
    _ends: dict[str, int] = field(default_factory=dict)
    _words: dict[str, list[str]] = field(default_factory=dict)

    def contradiction(self, condition: Condition) -> str:
        """Why it can never hold, in words that follow "can never run: "; empty when it can, or nobody knows."""
        self._ends, self._words = {}, {}
        open_parts: list[tuple[Condition, bool]] = []
        if why := self._narrow(condition, open_parts):
            return why
        names = {name: None for part, _ in open_parts for name in jobs_in(part)}
        if self._searched(list(names), open_parts):
            return ""
        shown = list(names)[:5] + (["..."] if len(names) > 5 else [])
        return f"no ends of {', '.join(shown)} fulfil all that it requires"

    def _narrow(self, condition: Condition, open_parts: list[tuple[Condition, bool]]) -> str:
        """Take what must hold about single jobs at once; the rest goes to `open_parts`, with whether it must hold."""
        waiting = [(condition, True)]
        while waiting:
            part, wanted = waiting.pop()
            match part:
                case Not(inner):
                    waiting.append((inner, not wanted))
                case All(parts) if wanted:
                    waiting += [(each, True) for each in reversed(parts)]
                case Any(parts) if not wanted:
                    waiting += [(each, False) for each in reversed(parts)]
                case Is(job, outcome):
                    ends = self._satisfying(job, outcome)
                    if why := self._restrict(job, ends if wanted else _EVERY & ~ends, part, wanted):
                        return why
                case Any(parts) | All(parts):
                    literals = [each for each in parts if isinstance(each, Is)]
                    jobs = {each.job for each in literals}
                    if len(literals) < len(parts) or len(jobs) != 1:
                        open_parts.append((part, wanted))
                        continue
                    ends = 0 if isinstance(part, Any) else _EVERY
                    for each in literals:
                        each_ends = self._satisfying(each.job, each.outcome)
                        ends = ends | each_ends if isinstance(part, Any) else ends & each_ends
                    if why := self._restrict(jobs.pop(), ends if wanted else _EVERY & ~ends, part, wanted):
                        return why
        return ""

    def _restrict(self, job: str, ends: int, part: Condition, wanted: bool) -> str:
        words = self._words.setdefault(job, [])
        word = f"{'' if wanted else 'NOT '}{_shown(part)}"
        if word not in words:  # at most a dozen different ones
            words.append(word)
        self._ends[job] = self._ends.get(job, _EVERY) & ends
        if self._ends[job]:
            return ""
        if len(words) == 1:
            return f"{word} never holds"
        why = f"{', '.join(words[:-1])} and {words[-1]} contradict each other"
        if job in self.lenient:
            why += f" ({job} has continue_on_failure: COMPLETED holds when it fails, too)"
        return why

    def _searched(self, names: Sequence[str], parts: Sequence[tuple[Condition, bool]]) -> bool:
        """Backtracking over the ends of `names`: whether some choice fulfils the parts, or the budget is spent."""
        chosen: dict[str, int] = {}
        untried: list[list[int]] = []
        while self.steps > 0:
            verdict = self._verdict(parts, chosen)
            if verdict is True:
                return True
            if verdict is None:
                name = names[len(untried)]
                untried.append([end for end in (_COMPLETED, _FAILED, _OTHERWISE) if end & self._ends.get(name, _EVERY)])
            while untried and not untried[-1]:
                untried.pop()
                chosen.pop(names[len(untried)], None)
            if not untried:
                return False
            chosen[names[len(untried) - 1]] = untried[-1].pop(0)
        return True

    def _verdict(self, parts: Sequence[tuple[Condition, bool]], chosen: Mapping[str, int]) -> bool | None:
        known = True
        for part, wanted in parts:
            value = self._value(part, chosen)
            if value is None:
                known = False
            elif value is not wanted:
                return False
        return known or None

    def _value(self, condition: Condition, chosen: Mapping[str, int]) -> bool | None:
        """Three-valued: None while it depends on a job without a chosen end. Recurses as an expression nests."""
        self.steps -= 1
        match condition:
            case Is(job, outcome):
                end = chosen.get(job)
                return None if end is None else bool(end & self._satisfying(job, outcome))
            case Not(part):
                value = self._value(part, chosen)
                return None if value is None else not value
            case Any(parts) | All(parts):
                decisive = isinstance(condition, Any)
                known = True
                for part in parts:
                    value = self._value(part, chosen)
                    if value is decisive:
                        return decisive
                    known = known and value is not None
                return not decisive if known else None

    def _satisfying(self, job: str, outcome: Outcome) -> int:
        match outcome:
            case Outcome.COMPLETED:
                return _COMPLETED | _FAILED if job in self.lenient else _COMPLETED
            case Outcome.FAILED:
                return _FAILED
            case Outcome.FINISHED:
                return _EVERY


def jobs_in(condition: Condition) -> Iterator[str]:
    """The jobs that a condition names, in its order, each as often as it does."""
    return (part.job for part in parts_in(condition) if isinstance(part, Is))


def parts_in(condition: Condition) -> Iterator[Condition]:
    """A condition, its parts, and theirs, in its order."""
    waiting = [condition]
    while waiting:
        whole = waiting.pop()
        yield whole
        match whole:
            case Not(part):
                waiting.append(part)
            case All(parts) | Any(parts):
                waiting += reversed(parts)


def _shown(part: Condition) -> str:
    """A part about one job, as an expression says it."""
    match part:
        case Is(job, outcome):
            return f"{job}={outcome}"
        case Any(parts):
            words = {each.outcome: None for each in parts if isinstance(each, Is)}
            first = parts[0]
            return f"{first.job if isinstance(first, Is) else ''} IN ({', '.join(words)})"
        case All(parts):
            return f"({' AND '.join({_shown(each): None for each in parts})})"
        case Not(inner):
            return f"NOT {_shown(inner)}"
