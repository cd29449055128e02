"""
Long answers, made without holding the loop; of a list that does not fit into one message, the newest entries.

Runs in: server loop. May not: know what is listed.
Source: Protocol Buffers, "Encoding", "Last One Wins": merging appends repeated fields.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message

Entry = TypeVar("Entry", bound=Message)
Answer = TypeVar("Answer", bound=Message)
Item = TypeVar("Item")

PIECE: Final = 100  # entries; the loop is let go after each


async def newest_that_fit(
    pieces: Iterable[Sequence[Entry]], answer_with: Callable[[Sequence[Entry]], Answer], room_bytes: int
) -> tuple[Answer, bool]:
    """
    The answer with all entries, oldest first, or with as many of the newest as there is room for.

    Args:
        pieces: The entries, newest first: the oldest are left out, and need not even be made.
        answer_with: Makes the answer from entries in their order.

    Returns:
        The answer, and whether entries were left out of it.
    """
    fitting: list[bytes] = []
    left_out = False
    for entries in pieces:
        piece = answer_with(entries[::-1]).SerializeToString()
        if left_out := len(piece) > room_bytes:
            piece = answer_with(_first_that_fit(entries, answer_with, room_bytes)[::-1]).SerializeToString()
        room_bytes -= len(piece)
        fitting.append(piece)
        if left_out:
            break
        await asyncio.sleep(0)
    answer = answer_with(())
    while fitting:
        answer.MergeFromString(fitting.pop())
        await asyncio.sleep(0)
    return answer, left_out


def _first_that_fit(
    entries: Sequence[Entry], answer_with: Callable[[Sequence[Entry]], Answer], room_bytes: int
) -> Sequence[Entry]:
    for count, entry in enumerate(entries):
        room_bytes -= answer_with((entry,)).ByteSize()
        if room_bytes < 0:
            return entries[:count]
    return entries


def in_pieces(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Them all, in their order."""
    for begin in range(0, len(items), PIECE):
        yield items[begin : begin + PIECE]
