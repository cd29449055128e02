"""
What overflow, stalls and kills leave of a job's log: random schedules, every strategy, a kill at any step of them.

Every 16 bytes that the job writes tell where they stand, so any file can be judged by itself. A kill is an exception at
a system call, before it or after it; the successor gets the pipe and the memfd, as it does from a living init.

Runs in: pytest, on a real pipe, a real memfd and real files; no privilege needed.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from joblet.logs.calls import REAL, Calls
from joblet.logs.memfd import memory_file
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.pipe import Pumped, output_pipe
from joblet.logs.spool import Spool
from joblet.logs.times import TimeIndex
from joblet.testing.output import numbered, told

BLOCK: Final = 8192
OUTPUT: Final = numbered(0, 256 * BLOCK)
EVERYTHING: Final = 1 << 40


# At which system call of one thread another one runs (0: at none), which of the two others, and how much it may do.
Meeting = tuple[int, bool, int]
NOBODY: Final[Meeting] = (0, False, 0)
MEETING: Final = st.tuples(st.integers(0, 4), st.booleans(), st.integers(1, 9 * BLOCK))


def nothing() -> None:
    """What happens at a system call otherwise."""


class Killed(Exception):
    """The supervisor ends here."""


class Assassin:
    """Kills at the n-th step from now, before or after it; or lets something else happen before it."""

    def __init__(self) -> None:
        self.left = 0
        self.after = False
        self.meet: Callable[[], object] = nothing

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            self.meet()
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            result = call(*arguments, **named)
            if self.left == 0:
                raise Killed
            return result

        return step

    def calls(self) -> Calls:
        """Every system call is a step."""
        return Calls(**{field.name: self.around(getattr(REAL, field.name)) for field in fields(Calls)})


class Schedule(RuleBasedStateMachine):
    """One job's output through any order of pumping, storing, moving and dying."""

    overflow: Overflow
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        self.assassin = Assassin()
        root = Path(tempfile.mkdtemp(dir=self.folder))
        self.path = root / "a-job.log"
        self.policy = Policy(self.overflow, root / "spilled", sample_every=3)
        read_fd, self.write_fd = output_pipe()
        os.set_blocking(self.write_fd, False)
        self.spool = self._spool(read_fd, memory_file("a-job"))
        self.written = 0

    @initialize(size=st.integers(0, 20 * BLOCK), most=st.integers(1, 20 * BLOCK))
    def begins(self, size: int, most: int) -> None:
        self.writes(size)
        self.pumps(most, NOBODY)

    @rule(size=st.integers(1, 9 * BLOCK) | st.integers(4 * BLOCK, 9 * BLOCK))
    def writes(self, size: int) -> None:
        if self.write_fd >= 0 and self.written + size <= len(OUTPUT):
            try:
                self.written += os.write(self.write_fd, OUTPUT[self.written : self.written + size])
            except BlockingIOError:
                return

    @rule(most=st.integers(1, 12 * BLOCK) | st.just(EVERYTHING), meets=MEETING)
    def pumps(self, most: int, meets: Meeting) -> None:
        self._or_dies(lambda: self.spool.pump(most), self.stored_or_moved, meets)

    @rule(most=st.integers(1, 9 * BLOCK), meets=MEETING)
    def stores(self, most: int, meets: Meeting) -> None:
        self._or_dies(lambda: self.spool.store(most), self.pumped_or_moved, meets)

    @rule(meets=MEETING)
    def moves_a_block(self, meets: Meeting) -> None:
        self._or_dies(lambda: self.spool.relieve(self.policy), self.pumped_or_stored, meets)

    def stored_or_moved(self, first: bool, most: int) -> object:
        return self.spool.store(most) if first else self.spool.relieve(self.policy)

    def pumped_or_moved(self, first: bool, most: int) -> object:
        return self.spool.pump(most) if first else self.spool.relieve(self.policy)

    def pumped_or_stored(self, first: bool, most: int) -> object:
        return self.spool.pump(most) if first else self.spool.store(most)

    @rule(steps=st.integers(1, 9), after=st.booleans())
    def will_be_killed(self, steps: int, after: bool) -> None:
        self.assassin.left, self.assassin.after = steps, after

    @rule()
    def is_killed(self) -> None:
        """A successor takes over; of the old one nothing is left but what the kernel has."""
        self.assassin.meet = nothing
        self.assassin.left = 0
        old = self.spool
        self.spool = self._spool(os.dup(old.pipe_fd), os.dup(old.memory_fd))
        os.set_blocking(self.spool.pipe_fd, False)
        old.close()
        if old._file_fd >= 0:
            os.close(old._file_fd)

    def _spool(self, pipe_fd: int, memory_fd: int) -> Spool:
        times = TimeIndex(self.path.with_suffix(".times"))
        return Spool(pipe_fd, memory_fd, self.path, times, block_bytes=BLOCK, calls=self.assassin.calls())

    def _or_dies(self, act: Callable[[], object], other: Callable[[bool, int], object], meets: Meeting) -> None:
        """At one of its system calls another thread runs, unless the log is locked just then."""
        left, first, most = meets

        def meet() -> None:
            nonlocal left
            if not self.spool._lock.locked():
                left -= 1
                if left == 0:
                    other(first, most)

        self.assassin.meet = meet
        try:
            act()
        except Killed:
            self.is_killed()
        finally:
            self.assassin.meet = nothing

    @invariant()
    def every_reader_sees_only_the_output(self) -> None:
        if self.path.exists():
            assert told(self.path.read_bytes(), OUTPUT) <= self.written

    @invariant()
    def memory_is_accounted_for(self) -> None:
        assert 0 <= self.spool.memory_bytes <= self.spool.received_bytes

    @precondition(lambda self: self.write_fd >= 0)
    @rule()
    def ends(self) -> None:
        os.close(self.write_fd)
        self.write_fd = -1

    def teardown(self) -> None:
        self.assassin.left = 0
        if self.write_fd >= 0:
            self.ends()
        try:
            self._comes_out_whole()
        finally:
            self.spool.close_file()
            self.spool.close()
        assert not self.policy.spill_path("a-job").exists()

    def _comes_out_whole(self) -> None:
        while self.spool.pump() is not Pumped.ENDED:
            pass
        size = self.spool.conclude()
        while self.spool.relieve(self.policy) is not None:
            pass
        self.spool.store(EVERYTHING)
        log = self.path.read_bytes()
        assert len(log) == size
        assert told(log, OUTPUT) == self.written
        assert self.spool.memory_bytes == 0
        if self.overflow is not Overflow.SAMPLE:
            assert log == OUTPUT[: self.written]


@pytest.mark.parametrize("strategy", list(Overflow))
def test_no_schedule_loses_repeats_or_reorders_a_byte(strategy: Overflow, tmp_path: Path) -> None:
    machine = type("Schedule", (Schedule,), {"overflow": strategy, "folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )


@pytest.mark.parametrize("strategy", [Overflow.COMPRESS, Overflow.SPILL])
def test_a_log_that_is_over_while_a_block_moves_leaves_the_next_one_alone(strategy: Overflow, tmp_path: Path) -> None:
    """Its descriptor's number may by then be that of another job's memory."""
    policy = Policy(strategy, tmp_path / "spilled")
    others: list[int] = []

    def ends_before(fd: int, data: bytes, offset: int) -> int:
        if not others:
            before.store(EVERYTHING)
            before.close_file()
            before.close()
            while number not in others:
                others.append(memory_file("another"))
        return os.pwrite(fd, data, offset)

    read_fd, write_fd = output_pipe()
    times = TimeIndex(tmp_path / "times")
    before = Spool(
        read_fd, memory_file("a-job"), tmp_path / "a-job.log", times, block_bytes=BLOCK, calls=Calls(pwrite=ends_before)
    )
    number = before.memory_fd
    os.write(write_fd, OUTPUT[: 2 * BLOCK])
    os.close(write_fd)
    before.pump()

    before.relieve(policy)

    assert (tmp_path / "a-job.log").read_bytes() == OUTPUT[: 2 * BLOCK]
    assert [os.fstat(other).st_blocks for other in others] == [0] * len(others)
    assert not policy.spill_path("a-job").exists()
    for other in others:
        os.close(other)
