"""
Sorts a workflow's jobs into levels: each job one below the lowest of those it waits for.

Runs in: the user's terminal. May not: do I/O, recurse.
"""

from collections import deque

from joblet.domain.workflow.definition import Definition


def levels_of(definition: Definition) -> list[list[str]]:
    """The names of the jobs of each level, in the order of the file; no level is empty."""
    waits_for = {name: len(job.dependencies) for name, job in definition.jobs.items()}
    waiting: dict[str, list[str]] = {name: [] for name in definition.jobs}
    for name, job in definition.jobs.items():
        for dependency in job.dependencies:
            waiting[dependency].append(name)
    level = dict.fromkeys(definition.jobs, 0)
    ready = deque(name for name, count in waits_for.items() if not count)
    while ready:
        name = ready.popleft()
        for follower in waiting[name]:
            level[follower] = max(level[follower], level[name] + 1)
            waits_for[follower] -= 1
            if not waits_for[follower]:
                ready.append(follower)
    levels: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for name in definition.jobs:
        levels[level[name]].append(name)
    return levels


def size_text(levels: list[list[str]]) -> str:
    """How large a workflow is: `7 jobs in 4 levels`."""
    jobs = sum(map(len, levels))
    return f"{jobs} job{'s' if jobs != 1 else ''} in {len(levels)} level{'s' if len(levels) != 1 else ''}"
