"""
From what a user asks for to what a job is: defaults filled in, every check passed.

Runs in: server loop. May not: do I/O, know the wire's units (`api/convert.py` does).
Source: API specification, "RunJob", "Resource Limits", "Resource limits exceeded".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from joblet.domain.errors import InvalidLimit, InvalidRequest
from joblet.domain.job import JobSpec, check_command, check_environment
from joblet.domain.limits import MIB, Limits, Machine, check


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """
    What the configuration says for jobs that do not say it themselves.

    Args:
        io_max_bytes_per_s: 0 for unlimited.
        timeout_s: 0 for never.
        max_concurrent_jobs: Jobs INITIALIZING or RUNNING at once.
    """

    cpu_max_percent: int = 100
    memory_max_bytes: int = 512 * MIB
    io_max_bytes_per_s: int = 0
    timeout_s: float = 3600.0
    max_concurrent_jobs: int = 100


@dataclass(frozen=True, slots=True)
class JobRequest:
    """
    A job as a user asks for it; 0 in a limit or the timeout means the configured default.

    Args:
        timeout_s: Seconds the job may run.
        secret_environment: Values are never shown: `repr` hides them.
    """

    command: str
    args: tuple[str, ...] = ()
    cpu_max_percent: int = 0
    cpu_cores: str = ""
    memory_max_bytes: int = 0
    io_max_bytes_per_s: int = 0
    timeout_s: float = 0
    name: str = ""
    work_dir: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def spec_of(request: JobRequest, defaults: JobDefaults, machine: Machine) -> JobSpec:
    """
    The complete job that was asked for.

    A default above what the machine has is lowered to it; a wish above it is refused.

    Raises:
        InvalidCommand, InvalidLimit, InvalidRequest: With the words for the user.
    """
    check_command(request.command, request.args)
    for field_name, text in (("name", request.name), ("workDir", request.work_dir)):
        if "\0" in text:
            raise InvalidRequest(f"{field_name} contains a NUL character")
    check_environment("environment", request.environment)
    check_environment("secret_environment", request.secret_environment)
    if request.timeout_s < 0:
        raise InvalidLimit("timeout must not be negative")
    limits = Limits(
        cpu_max_percent=request.cpu_max_percent or min(defaults.cpu_max_percent, machine.cores * 100),
        cpu_cores=request.cpu_cores,
        memory_max_bytes=request.memory_max_bytes or min(defaults.memory_max_bytes, machine.memory_bytes),
        io_max_bytes_per_s=request.io_max_bytes_per_s or defaults.io_max_bytes_per_s,
    )
    check(limits, machine)
    return _spec(request, limits, request.timeout_s or defaults.timeout_s)


def unchecked_spec(request: JobRequest) -> JobSpec:
    """A job as it was asked for, to be shown and not to be run: nothing is filled in, and no check was passed."""
    limits = Limits(
        cpu_max_percent=request.cpu_max_percent,
        cpu_cores=request.cpu_cores,
        memory_max_bytes=request.memory_max_bytes,
        io_max_bytes_per_s=request.io_max_bytes_per_s,
    )
    return _spec(request, limits, request.timeout_s)


def _spec(request: JobRequest, limits: Limits, timeout_s: float) -> JobSpec:
    return JobSpec(
        command=request.command,
        args=request.args,
        limits=limits,
        timeout_s=timeout_s,
        name=request.name,
        work_dir=request.work_dir,
        environment=dict(request.environment),
        secret_environment=dict(request.secret_environment),
    )
