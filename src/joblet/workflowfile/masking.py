"""
A workflow file as it may be shown: every secret's value is `***`, and everything else stands as it was.

Runs in: server loop, command lines. May not: do I/O.
Source: API specification, "Workflow API"; YAML 1.2.2, "6.9. Node Properties".
"""

import re
from collections.abc import Iterable
from typing import Final

import yaml

from joblet.domain.job import MASK

_ANCHOR: Final = re.compile(r"(?:!\S*\s+)?(&[^\s,\[\]{}]+)")

_LINE_END: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


def masked(text: str, secrets: Iterable[yaml.Node]) -> str:
    """
    The text with these nodes replaced.

    An alias stays, and what it stands for is replaced where it is written. An anchor stays too: something may name it.
    """
    places = {node.start_mark.index: node.end_mark.index for node in secrets}
    pieces: list[str] = []
    position = 0
    for start, end in sorted(places.items()):
        written = text[start:end]
        anchor = _ANCHOR.match(written)
        # A block ends where the next line begins, and takes the empty lines before it along.
        line_end = _LINE_END.search(written, len(written.rstrip()))
        pieces += [
            text[position:start],
            f'{anchor[1]} "{MASK}"' if anchor else f'"{MASK}"',
            line_end[0] if line_end else "",
        ]
        position = end
    return "".join([*pieces, text[position:]])
