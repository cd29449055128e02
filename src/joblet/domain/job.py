"""
A job: what it is, the states it passes through, and the rules for its command.

Runs in: server loop, supervisor, client. May not: do I/O, read a clock.
Source: API specification, "Job Status Values", "RunJob", "Command validation failed".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NewType

from joblet.domain.errors import InvalidCommand, InvalidRequest
from joblet.domain.limits import Limits

JobId = NewType("JobId", str)

STOPPED_EXIT_CODE: Final = -1
STOP_GRACE_MS: Final = 100
TIMED_OUT: Final = "timed out after"  # the reason's first words


class JobState(StrEnum):
    """Where a job stands, in the words of the wire."""

    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


class JobEvent(StrEnum):
    """What can happen to a job."""

    STARTED = "started"
    SETUP_FAILED = "set-up failed"
    EXITED_ZERO = "exited with 0"
    EXITED_NONZERO = "exited with another code"
    STOP_FINISHED = "stop finished"


_S, _E = JobState, JobEvent

TRANSITIONS: Final[Mapping[JobState, Mapping[JobEvent, JobState]]] = {
    # A successor server may learn of a whole life at once, so the ends are reachable from INITIALIZING too.
    _S.INITIALIZING: {
        _E.STARTED: _S.RUNNING,
        _E.SETUP_FAILED: _S.FAILED,
        _E.EXITED_ZERO: _S.COMPLETED,
        _E.EXITED_NONZERO: _S.FAILED,
        _E.STOP_FINISHED: _S.STOPPED,
    },
    _S.RUNNING: {_E.EXITED_ZERO: _S.COMPLETED, _E.EXITED_NONZERO: _S.FAILED, _E.STOP_FINISHED: _S.STOPPED},
    _S.COMPLETED: {},
    _S.FAILED: {},
    _S.STOPPED: {},
}


class IllegalTransition(Exception):
    """The event cannot happen in this state; nothing has changed."""

    def __init__(self, state: JobState, event: JobEvent) -> None:
        super().__init__(f"a job that is {state} cannot have {event}")


def after(state: JobState, event: JobEvent) -> JobState:
    """The state `event` leads to. Raises IllegalTransition, and then nothing has changed."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


@dataclass(frozen=True, slots=True)
class Usage:
    """What all processes of a job used together; 0 where the machine does not account it."""

    cpu_usec: int = 0
    memory_peak_bytes: int = 0
    io_read_bytes: int = 0
    io_write_bytes: int = 0


@dataclass(frozen=True, slots=True)
class JobSpec:
    """
    What a job is asked to do, complete: every default filled in, every check passed.

    Args:
        work_dir: Folder inside the job to start in; empty for its own work folder.
        timeout_s: Seconds after which it is stopped; 0 for never.
        secret_environment: Values are handed to the job and nowhere else: `repr` hides them,
            and stores keep the names with `MASK` as the value.
    """

    command: str
    args: tuple[str, ...]
    limits: Limits
    timeout_s: float
    name: str = ""
    work_dir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)


MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Being set up: it has no start and no end yet."""


@dataclass(frozen=True, slots=True)
class Running:
    """
    Its command has been started.

    Args:
        started_ns: Nanoseconds since the epoch.
        pid: Of the job's init, in the server's PID namespace.
    """

    started_ns: int
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """
    It is over, and this is how.

    Args:
        state: COMPLETED, FAILED or STOPPED.
        exit_code: The command's own; 128 + n after signal n; -1 when STOPPED.
        started_ns: 0 when its command was never started.
        ended_ns: Nanoseconds since the epoch.
        reason: Why, in words; empty for a plain exit.
        signal: That ended the command; 0 for none.
        oom_killed: The kernel killed one of its processes for memory.
        log_bytes: Length of its whole log.
    """

    state: JobState
    exit_code: int
    started_ns: int
    ended_ns: int
    reason: str = ""
    signal: int = 0
    oom_killed: bool = False
    log_bytes: int = 0
    usage: Usage = Usage()

    @property
    def timed_out(self) -> bool:
        """Whether it was stopped because it ran too long."""
        return self.state is JobState.STOPPED and self.reason.startswith(TIMED_OUT)


Phase = Waiting | Running | Ended


@dataclass(frozen=True, slots=True)
class Job:
    """
    A job as the server knows it.

    Args:
        created_ns: Nanoseconds since the epoch; lists are sorted by it.
        limits_enforced: "yes", or why not (a machine without writable cgroups v2).
        workflow: UUID of the workflow it belongs to; empty for none.
        dependencies: Names of the workflow's jobs it had to wait for.
    """

    id: JobId
    spec: JobSpec
    created_ns: int
    phase: Phase = Waiting()
    limits_enforced: str = "yes"
    workflow: str = ""
    dependencies: tuple[str, ...] = ()

    @property
    def state(self) -> JobState:
        """The phase in the words of the wire."""
        match self.phase:
            case Waiting():
                return JobState.INITIALIZING
            case Running():
                return JobState.RUNNING
            case Ended(state=state):
                return state


def with_end(job: Job, end: Ended) -> Job:
    """The job with this end. Raises IllegalTransition, and then nothing has changed."""
    match end.state:
        case JobState.COMPLETED:
            event = JobEvent.EXITED_ZERO
        case JobState.STOPPED:
            event = JobEvent.STOP_FINISHED
        case _ if isinstance(job.phase, Waiting) and not end.started_ns:
            event = JobEvent.SETUP_FAILED
        case _:
            event = JobEvent.EXITED_NONZERO
    if after(job.state, event) is not end.state:
        raise IllegalTransition(job.state, event)
    return replace(job, phase=end)


# A shell would act on these; Joblet starts the program itself, so a command that holds one is a mistake.
DANGEROUS: Final = frozenset(";&|`$(){}[]<>\n\0")


def check_command(command: str, args: tuple[str, ...]) -> None:
    """
    Refuse a command that cannot be meant.

    Raises:
        InvalidCommand: Empty, blank, or with a character only a shell understands
            (the command only: arguments may hold anything but NUL).
    """
    if not command.strip():
        raise InvalidCommand("command is empty")
    if DANGEROUS.intersection(command):
        raise InvalidCommand("command contains dangerous characters")
    for number, argument in enumerate(args, start=1):
        if "\0" in argument:
            raise InvalidCommand(f"argument {number} contains a NUL character")


def check_environment(field_name: str, environment: Mapping[str, str]) -> None:
    """
    Refuse variables that no process can be given. The values are never part of the message.

    Raises:
        InvalidRequest: An empty name, a name with "=", or a NUL character anywhere.
    """
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            raise InvalidRequest(
                f"{field_name} has a variable with an invalid name ({name!r}): it must not be empty or contain = or NUL"
            )
        if "\0" in value:
            raise InvalidRequest(f"{field_name} variable {name} contains a NUL character")
