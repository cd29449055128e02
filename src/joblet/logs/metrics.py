"""
What an `AsyncLogSystem` counts.

Runs in: every thread of an `AsyncLogSystem`; each number has one thread that changes it, but for `waits`, which may
miss one.
May not: import outside the standard library.
"""

from dataclasses import dataclass, field, fields
from typing import Final

_BUCKETS: Final = 24  # up to 2^23 us, 8 s, and beyond


class Histogram:
    """Durations by powers of two of a microsecond."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.max_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[min(int(seconds * 1e6).bit_length(), _BUCKETS - 1)] += 1
        self.max_s = max(self.max_s, seconds)

    def at_most_s(self, share: float) -> float:
        """A duration that this share of them did not exceed, to the next power of two; 0 without any."""
        wanted = share * sum(self.counts)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen and seen >= wanted:
                return min((1 << bucket) / 1e6, self.max_s)
        return 0.0


@dataclass(slots=True)
class Metrics:
    """
    Counters since the start.

    Args:
        batches, stored_bytes: Writes to log files, and what they wrote.
        syncs: Log files made durable.
        write_errors: Writes that a disk refused; nothing is lost by one.
        waits: Times that a log had to wait for memory.
        compressed_blocks, spilled_blocks, dropped_blocks: Moved by the overflow strategies.
        dropped_bytes: Lost to `sample`, each counted by a marker in its log.
        moved_bytes: Memory that the strategies gave back.
        writes: How long each turn of a log took, with its fsync where there is one.
    """

    batches: int = 0
    stored_bytes: int = 0
    syncs: int = 0
    write_errors: int = 0
    waits: int = 0
    compressed_blocks: int = 0
    spilled_blocks: int = 0
    dropped_blocks: int = 0
    dropped_bytes: int = 0
    moved_bytes: int = 0
    writes: Histogram = field(default_factory=Histogram)


COUNTERS: Final = tuple(each.name for each in fields(Metrics) if each.type is int)
