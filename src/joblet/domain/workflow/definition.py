"""
A workflow: its jobs, and what each of them waits for.

    condition of a job        holds when
    Is(job, COMPLETED)        it exited with 0, or failed and has continue_on_failure
    Is(job, FAILED)           it failed: a non-zero exit, a set-up that failed, a timeout
    Is(job, FINISHED)         it ended, however: also stopped by a person, also canceled
    All, Any, Not             of others; All of nothing holds at once

Runs in: server loop, command lines. May not: do I/O, know YAML (`workflowfile` does).
Source: API specification, "Workflow API".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """The words in which one job may wait for another."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    FINISHED = "FINISHED"


@dataclass(frozen=True, slots=True)
class Is:
    """Another job of the workflow has had this outcome."""

    job: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; so does a condition without parts."""

    parts: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Any:
    """At least one part holds."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part can no longer hold."""

    part: "Condition"


Condition = Is | All | Any | Not


@dataclass(frozen=True, slots=True)
class Retries:
    """
    What happens after a failure.

    Args:
        most: Further attempts after the first; 0 for none.
        backoff_s: Seconds before the first of them; each further wait is twice as long.
    """

    most: int = 0
    backoff_s: float = 0.0


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """
    One job of a workflow; 0 in a limit or the timeout means the server's default.

    Args:
        requires: When it may start.
        dependencies: The jobs that `requires` names, each once, in the order of the file.
        environment: Complete: what it inherits is in it, and no `${NAME}` is left.
        secret_environment: The same, of which no value is ever shown: `repr` hides them.
        continue_on_failure: Its failure does not make the workflow fail, nor cancel who waits for COMPLETED.
    """

    name: str
    command: str
    args: tuple[str, ...] = ()
    requires: Condition = All()
    dependencies: tuple[str, ...] = ()
    cpu_max_percent: int = 0
    cpu_cores: str = ""
    memory_max_bytes: int = 0
    io_max_bytes_per_s: int = 0
    timeout_s: float = 0.0
    work_dir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    retries: Retries = Retries()
    continue_on_failure: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A workflow that passed every check: at least one job, no cycle, no job whose condition contradicts itself."""

    jobs: Mapping[str, JobDefinition]
    """By name, in the order of the file."""
