"""
A workflow for Graphviz: `rnx workflow graph FILE --format dot | dot -Tpng > workflow.png`.

An edge that something else can stand in for is dashed; its words are the outcomes, unless it is just COMPLETED.

Runs in: the user's terminal. May not: do I/O.
Source: Graphviz, "DOT Language" (quoted IDs) and "escString" (labels, in which a backslash and `&` act).
"""

from joblet.domain.workflow.definition import Definition
from joblet.rnx.graph.edges import edges_of
from joblet.rnx.output import escaped


def lines(definition: Definition) -> list[str]:
    """See the module."""
    drawn = ["digraph workflow {", "    rankdir=LR;", "    node [shape=box];"]
    drawn += (f"    {_quoted(name)};" for name in definition.jobs)
    for edge in edges_of(definition):
        attributes = [f"label={_quoted(edge.words)}"] if edge.words else []
        if not edge.certain:
            attributes.append("style=dashed")
        shown = f" [{', '.join(attributes)}]" if attributes else ""
        drawn.append(f"    {_quoted(edge.source)} -> {_quoted(edge.target)}{shown};")
    drawn.append("}")
    return drawn


def _quoted(text: str) -> str:
    # A name is also its node's label, and only there are `\\` one backslash and `&amp;` one ampersand.
    shown = escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{shown}"'
