"""
A workflow for a terminal: one line a job, by level, with what it waits for.

    5 jobs in 3 levels
    1  ├─ lint
       └─ setup
    2  ├─ build    needs setup: COMPLETED
       └─ test     needs setup: COMPLETED, lint: FINISHED
    3  └─ report   needs build=COMPLETED AND test=COMPLETED OR setup=FAILED

Jobs of one level never wait for each other. A listing and no tree, because a tree shows a job once for each way
that leads to it, and lines between two hundred jobs cross too often to be followed in a terminal.

Runs in: the user's terminal. May not: do I/O.
"""

from typing import Final

from joblet.domain.workflow.definition import Definition
from joblet.domain.workflow.words import requirement_text
from joblet.rnx.graph.layers import levels_of, size_text
from joblet.rnx.output import escaped

# One long name must not push every requirement out of the window.
_WIDEST: Final = 32


def lines(definition: Definition) -> list[str]:
    """See the module."""
    levels = levels_of(definition)
    width = max(min(len(escaped(name)), _WIDEST) for name in definition.jobs)
    margin = len(str(len(levels)))
    drawn = [size_text(levels)]
    for number, names in enumerate(levels, start=1):
        for index, name in enumerate(names):
            level = str(number) if index == 0 else ""
            branch = "└─" if index == len(names) - 1 else "├─"
            job = definition.jobs[name]
            needs = f"   needs {escaped(requirement_text(job.requires))}" if job.dependencies else ""
            drawn.append(f"{level:>{margin}}  {branch} {escaped(name):<{width if needs else 0}}{needs}")
    return drawn
