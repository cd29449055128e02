"""
What the kernel limits a process to, for tests that must know whether limits are real.

Runs in: tests, as root.
"""

from pathlib import Path


def memory_limit_bytes(pid: int) -> int | None:
    """Of the control group that a process is in; None when that has no limit, or there is no cgroup v2 tree."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::/"):
            try:
                limit = Path(f"/sys/fs/cgroup/{line.removeprefix('0::/')}/memory.max").read_text().strip()
            except OSError:
                return None
            return None if limit == "max" else int(limit)
    return None
