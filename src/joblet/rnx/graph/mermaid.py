"""
A workflow for Mermaid, which many hosts of Markdown draw.

Nodes are n0, n1, … in the order of the file, because a name may be a word of Mermaid's, such as `end`. An edge that
something else can stand in for is dotted; its words are the outcomes, unless it is just COMPLETED.

Runs in: the user's terminal. May not: do I/O.
Source: Mermaid, "Flowcharts Syntax", "Entity codes to escape characters".
"""

import re
from typing import Final

from joblet.domain.workflow.definition import Definition
from joblet.rnx.graph.edges import edges_of
from joblet.rnx.output import escaped

# Whatever could end a label, or be an entity, HTML or Markdown in it: also `1.`, a first `-`, and the `_` of `__x__`.
_SPECIAL: Final = re.compile(r"[^\w -]|^-|(?<![^\W_])_|_(?![^\W_])")


def lines(definition: Definition) -> list[str]:
    """See the module."""
    ids = {name: f"n{number}" for number, name in enumerate(definition.jobs)}
    drawn = ["flowchart LR"]
    drawn += (f"    {ids[name]}[{_quoted(name)}]" for name in definition.jobs)
    for edge in edges_of(definition):
        arrow = "-->" if edge.certain else "-.->"
        words = f"|{_quoted(edge.words)}|" if edge.words else ""
        drawn.append(f"    {ids[edge.source]} {arrow}{words} {ids[edge.target]}")
    return drawn


def _quoted(text: str) -> str:
    return f'"{_SPECIAL.sub(lambda found: f"#{ord(found[0])};", escaped(text))}"'
