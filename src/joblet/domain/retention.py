"""
Which logs stay: the rules, without files and clock.

Looked at in two rounds, because what the first one does changes how much there is for the second:

    tidy    finish what was interrupted; remove what is too old, cut what is too long, compress what has rested
    shrink  while all logs together take too much: remove the one whose job ended first

A job that has not ended keeps its log; only the limit of a single log cuts it, at its beginning. A log that
somebody reads just now is not removed under their eyes.

Runs in: server loop, an administrator's terminal. May not: do I/O, read a clock.
Source: docs/administrators.md, "How long logs are kept".
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from joblet.domain.job import JobId

BLOCK_BYTES: Final = 4096
"""A file system gives whole blocks back, so a log is cut at a multiple of this."""

_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What is kept; 0 in each stands for no limit.

    Args:
        max_bytes_per_job: Of one log, the newest.
        max_bytes: Of all logs together, on the disk.
        max_age_s: After the job's end.
        compress_after_s: After the job's end.
    """

    max_bytes_per_job: int = 0
    max_bytes: int = 0
    max_age_s: float = 0.0
    compress_after_s: float = 0.0

    @property
    def keep_everything(self) -> bool:
        """Whether nothing is ever to be done."""
        return self == Rules()


@dataclass(frozen=True, slots=True)
class StoredLog:
    """
    One log as it lies on the disk.

    Args:
        size_bytes: Offset behind its last byte; 0 of an archive, unless it was asked for.
        first_bytes: Offset of its first byte that is kept, likewise.
        disk_bytes: What all its files take.
        plain: It is there as it was written.
        archived: It is there compressed.
        interrupted: Something was begun with it and not finished.
    """

    job_id: JobId
    size_bytes: int
    disk_bytes: int
    first_bytes: int = 0
    plain: bool = True
    archived: bool = False
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """Of one file system; `free_bytes` is what we may still use of it."""

    size_bytes: int
    free_bytes: int

    @property
    def used(self) -> float:
        """The share in use, from 0 to 1."""
        return 1.0 - self.free_bytes / self.size_bytes if self.size_bytes else 0.0


@dataclass(frozen=True, slots=True)
class Mend:
    """Finish or undo what was interrupted."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Trim:
    """Give the space before `first_bytes` back."""

    job_id: JobId
    first_bytes: int


@dataclass(frozen=True, slots=True)
class Compress:
    """Make an archive of it."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove it whole."""

    job_id: JobId


Action = Mend | Trim | Compress | Remove

IsRead = Callable[[JobId], bool]


def nobody_reads(_: JobId) -> bool:
    """For who cannot know, or need not."""
    return False


def tidy(
    rules: Rules,
    logs: Iterable[StoredLog],
    ended_ns: Mapping[JobId, int],
    *,
    now_ns: int,
    is_read: IsRead = nobody_reads,
) -> Sequence[Action]:
    """
    What is to be done with each log by itself, in this order.

    Args:
        ended_ns: When each job ended that has.
    """
    actions: list[Action] = []
    for log in logs:
        ended = ended_ns.get(log.job_id)
        if not log.plain and not log.archived:
            # What is left of a removal; of a job that runs, it may be what is there before the first byte.
            if ended is not None:
                actions.append(Remove(log.job_id))
            continue
        if log.interrupted:
            actions.append(Mend(log.job_id))
        age_s = (now_ns - ended) / _NS_PER_S if ended is not None else -1.0
        if rules.max_age_s and age_s > rules.max_age_s and not is_read(log.job_id):
            actions.append(Remove(log.job_id))
            continue
        if log.plain and (first_bytes := cut_at(log, rules.max_bytes_per_job)):
            actions.append(Trim(log.job_id, first_bytes))
        if log.plain and rules.compress_after_s and age_s > rules.compress_after_s:
            actions.append(Compress(log.job_id))
    return actions


def cut_at(log: StoredLog, keep_bytes: int) -> int:
    """Where a log is to begin that keeps so many bytes; 0 when it is not longer. Whole blocks, so rather too many."""
    if not keep_bytes:
        return 0
    first_bytes = max(0, log.size_bytes - keep_bytes) // BLOCK_BYTES * BLOCK_BYTES
    return first_bytes if first_bytes > log.first_bytes else 0


def shrink(
    rules: Rules, logs: Sequence[StoredLog], ended_ns: Mapping[JobId, int], *, is_read: IsRead = nobody_reads
) -> Sequence[Remove]:
    """Which logs go whole, so that all of them together take no more than they may; those that ended first go first."""
    surplus_bytes = surplus(rules, logs)
    actions: list[Remove] = []
    finished = [log for log in logs if log.job_id in ended_ns]
    for log in sorted(finished, key=lambda log: (ended_ns[log.job_id], log.job_id)):
        if surplus_bytes <= 0:
            break
        if log.disk_bytes and not is_read(log.job_id):
            actions.append(Remove(log.job_id))
            surplus_bytes -= log.disk_bytes
    return actions


def surplus(rules: Rules, logs: Iterable[StoredLog]) -> int:
    """By how many bytes all logs together are too large; 0 when they are not."""
    return max(0, sum(log.disk_bytes for log in logs) - rules.max_bytes) if rules.max_bytes else 0
