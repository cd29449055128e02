"""
How much of one log is written before it is another one's turn.

Runs in: pytest, in virtual time.
"""

from dataclasses import dataclass
from pathlib import Path

from joblet.logs.memory import Memory
from joblet.logs.metrics import Metrics
from joblet.logs.writer import LARGEST_TURN_BYTES, TURN_BYTES, Writer


@dataclass
class Clock:
    """Stands still but for what is waited for."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(eq=False)
class Endless:
    """A log that always has more, on a disk that takes so much a second."""

    clock: Clock
    disk_bytes_per_s: float
    path: Path = Path("endless.log")
    queued: bool = False
    not_before_s: float = 0.0
    stored_bytes: int = 0
    given_back_bytes: int = 0
    backlog_bytes: int = 1 << 40

    def store(self, most_bytes: int) -> int:
        self.clock.now_s += most_bytes / self.disk_bytes_per_s
        self.stored_bytes += most_bytes
        return most_bytes

    def sync(self) -> None: ...

    def close_file(self) -> None: ...


def turns(writer: Writer, log: Endless, number: int) -> list[int]:
    """What was written in each of so many turns."""
    found = []
    for _ in range(number):
        before = log.stored_bytes
        writer.step()
        found.append(log.stored_bytes - before)
    return found


def test_a_turn_lasts_some_milliseconds_on_a_fast_disk_and_is_4_mib_on_a_slow_one() -> None:
    clock = Clock()
    log = Endless(clock, disk_bytes_per_s=1 << 30)
    writer = Writer(Memory(), Metrics(), lambda _: None, lambda _: None, clock=clock)
    writer.dirty(log)

    fast = turns(writer, log, 20)
    log.disk_bytes_per_s = 1 << 40
    faster = turns(writer, log, 20)
    log.disk_bytes_per_s = 1 << 24
    slow = turns(writer, log, 20)

    assert fast[0] == TURN_BYTES
    assert 0.02 <= fast[-1] / (1 << 30) <= 0.08
    assert faster[-1] == LARGEST_TURN_BYTES
    assert slow[-1] == TURN_BYTES
