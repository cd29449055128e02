"""
What a successor of a killed supervisor must know of a job before it has run.

Runs in: supervisor. May not: do I/O, import outside the standard library.
"""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """
    What a successor needs to know of a job, written into its status file before it can run.

    Args:
        slot: Which of the job user ids it has.
        cgroup: Whether it has a cgroup.
    """

    job_id: str
    slot: int
    timeout_s: float
    memory_max_bytes: int
    cgroup: bool

    def encode(self) -> bytes:
        """One line of JSON, without the newline."""
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(line: bytes) -> "Record":
        """Raises ValueError for a line that is not a record (a status file cut short by a crash)."""
        try:
            values = json.loads(line)
            return Record(
                str(values["job_id"]),
                int(values["slot"]),
                float(values["timeout_s"]),
                int(values["memory_max_bytes"]),
                bool(values["cgroup"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a job's record: {error}") from None
