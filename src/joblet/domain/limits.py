"""
What a job may use, and the checks of what a user asks for.

Runs in: server loop, supervisor. May not: do I/O (the machine's size is handed in).
Source: API specification, "Resource Limits" and "Resource limits exceeded".
"""

import re
from dataclasses import dataclass

from joblet.domain.errors import InvalidLimit

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The limits in force for one job.

    Args:
        cpu_max_percent: Share of CPU time; 100 is one core.
        cpu_cores: Cores to bind to in the kernel's list format ("0-1,3"); empty for any.
        memory_max_bytes: RAM, with no swap on top.
        io_max_bytes_per_s: Reads and, separately, writes; 0 for unlimited.
    """

    cpu_max_percent: int
    cpu_cores: str
    memory_max_bytes: int
    io_max_bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has to give."""

    cores: int
    memory_bytes: int


_CORES = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*")


def core_ranges(cores: str) -> tuple[tuple[int, int], ...]:
    """
    First and last of each range in a list such as "0-1,3" (cpuset(7), "List format").

    Raises:
        InvalidLimit: Not such a list, or a range that runs backwards.
    """
    if not _CORES.fullmatch(cores):
        raise InvalidLimit(f"cpuCores must be a list such as 0-1,3 (given: {cores!r})")
    ranges = []
    for part in cores.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low:
            raise InvalidLimit(f"cpuCores has a range that runs backwards (given: {part!r})")
        ranges.append((low, high))
    return tuple(ranges)


def parse_cores(cores: str) -> frozenset[int]:
    """The core numbers in a list such as "0-1,3". Raises what `core_ranges` does."""
    return frozenset(core for low, high in core_ranges(cores) for core in range(low, high + 1))


def check(limits: Limits, machine: Machine) -> None:
    """
    Refuse limits that are negative or above what the machine has.

    Raises:
        InvalidLimit: With the field's name on the wire.
    """
    for field, value, most in (
        ("maxCPU", limits.cpu_max_percent, machine.cores * 100),
        ("maxMemory", limits.memory_max_bytes, machine.memory_bytes),
        ("maxIOBPS", limits.io_max_bytes_per_s, None),
    ):
        if value < 0:
            raise InvalidLimit(f"{field} must not be negative")
        if most is not None and value > most:
            raise InvalidLimit(f"{field} exceeds system limits")
    if limits.cpu_cores and max(high for _, high in core_ranges(limits.cpu_cores)) >= machine.cores:
        raise InvalidLimit("cpuCores exceeds system limits")
