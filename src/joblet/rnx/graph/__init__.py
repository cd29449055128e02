"""
Draws what a workflow's jobs wait for, in one module for each format; all give lines of text.

`edges` says what there is to draw between two jobs, `layers` which jobs could run at the same time.

Runs in: the user's terminal. May not: do I/O, recurse (a chain may be of ten thousand jobs).
"""

from collections.abc import Callable, Mapping
from typing import Final

from joblet.domain.workflow.definition import Definition
from joblet.rnx.graph import dot, mermaid, svg, text

DRAWINGS: Final[Mapping[str, Callable[[Definition], list[str]]]] = {
    "text": text.lines,
    "dot": dot.lines,
    "mermaid": mermaid.lines,
    "svg": svg.lines,
}
"""What draws each format; the first is the default."""
