"""
Blocks of records: what a producer's memory may grow to, and that nobody's bytes are written over.

Runs in: pytest.
"""

from joblet.logs.blocks import Buffers, block_bytes
from joblet.logs.memory import Memory

SIZE = 1 << 18


def filled(buffers: Buffers, number: int, size_bytes: int = SIZE) -> None:
    """So many blocks were needed at once, and are stored."""
    taken = [buffers.take(size_bytes) for _ in range(number)]
    for buffer in taken:
        buffer.write(bytes(size_bytes))
        buffers.give(buffer, size_bytes)


def test_what_is_stored_is_used_again_from_its_beginning() -> None:
    buffers = Buffers(Memory())
    first = buffers.take(SIZE)
    first.write(b"some output")
    buffers.give(first, SIZE)

    again = buffers.take(SIZE)

    assert again is first
    assert again.tell() == 0


def test_what_somebody_still_looks_at_is_not_used_again() -> None:
    buffers = Buffers(Memory())
    first = buffers.take(SIZE)
    first.write(b"some output")
    view = first.getbuffer()
    buffers.give(first, SIZE)

    buffers.take(SIZE).write(b"other output")

    assert bytes(view) == b"some output"


def test_a_sixteenth_of_the_limit_is_kept_at_most() -> None:
    buffers = Buffers(Memory(limit_bytes=64 * SIZE))

    filled(buffers, 10)

    assert buffers.kept_bytes == 4 * SIZE


def test_what_a_large_record_has_made_large_is_not_kept() -> None:
    buffers = Buffers(Memory())
    large = buffers.take(SIZE)
    large.write(bytes(64 * SIZE))

    buffers.give(large, SIZE)

    assert buffers.kept_bytes == 0


def test_what_was_not_needed_lately_is_freed() -> None:
    buffers = Buffers(Memory())
    filled(buffers, 10)
    filled(buffers, 20, SIZE // 2)
    buffers.trim()
    filled(buffers, 3)

    buffers.trim()

    assert buffers.kept_bytes == 3 * SIZE


def test_blocks_have_few_sizes() -> None:
    """So that one log's memory serves the next one's."""
    sizes = {block_bytes(Memory(), handles) for handles in range(1, 20_000)}

    assert sizes == {1 << exponent for exponent in range(13, 19)}
