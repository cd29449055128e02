"""
The server's configuration: where it is read from, and what the code sees of it. The keys are in `configkeys.py`.

Runs in: server loop at start, command lines. May not: know the machine (limits are checked against it later).
Source: API specification, "Server Configuration"; docs/administrators.md, "Limits and cgroups".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joblet import yamlfile
from joblet.complaint import Complaint, why
from joblet.configkeys import KEYS, Key

SYSTEM_FILE: Final = Path("/opt/joblet/joblet-config.yml")
ENVIRONMENT_VARIABLE: Final = "JOBLET_CONFIG"


@dataclass(frozen=True, slots=True)
class JobletSection:
    """What jobs get, and how many there may be."""

    default_cpu_percent: int
    default_memory_bytes: int
    default_io_bytes_per_s: int
    max_concurrent_jobs: int
    job_timeout_s: float
    cleanup_timeout_s: float
    pids_max: int


@dataclass(frozen=True, slots=True)
class GrpcSection:
    """How the server talks."""

    max_receive_bytes: int
    max_send_bytes: int
    keep_alive_s: float


@dataclass(frozen=True, slots=True)
class IsolationSection:
    """`cgroups` is "required", "auto" or "off"; `supervisor` is "own" or "service"."""

    cgroups: str
    supervisor: str


@dataclass(frozen=True, slots=True)
class ServerSection:
    """`address` is HOST:PORT; port 0 lets the kernel choose."""

    address: str


@dataclass(frozen=True, slots=True)
class LogsSection:
    """The server log's lowest level, and how the logs of jobs are kept and read. 0 is no limit, or never."""

    level: str
    slow_reader_timeout_s: float
    memory_limit_bytes: int
    queue_max: int
    overflow: str
    spill_dir: str
    sample_every: int
    fsync: str
    max_bytes_per_job: int
    max_bytes: int
    max_age_s: float
    compress_after_s: float


@dataclass(frozen=True, slots=True)
class Config:
    """
    Everything that can be configured, complete.

    Args:
        source: The file it was read from; None for the embedded defaults.
        given: Dotted paths of the keys that the file sets.
    """

    joblet: JobletSection
    grpc: GrpcSection
    isolation: IsolationSection
    server: ServerSection
    logs: LogsSection
    source: Path | None = None
    given: frozenset[str] = frozenset()


# What the supervisor is told by whoever starts it.
FOR_THE_SUPERVISOR: Final = (
    "isolation.cgroups",
    "joblet.cleanupTimeout",
    "joblet.pidsLimit",
    "logs.memoryLimit",
    "logs.queueSize",
    "logs.overflow",
    "logs.spillDir",
    "logs.sampleEvery",
    "logs.fsync",
)

_SECTIONS: Final[Mapping[str, type[Any]]] = {
    "joblet": JobletSection,
    "grpc": GrpcSection,
    "isolation": IsolationSection,
    "server": ServerSection,
    "logs": LogsSection,
}

ALLOWED: Final[yamlfile.Section] = {
    section: {key.name: key.kind for key in KEYS if key.section == section} for section in _SECTIONS
}


def load(path: Path | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Config:
    """
    The configuration in force: `path`, else the file that JOBLET_CONFIG names, else the
    system's file when there is one, else the embedded defaults.

    Raises:
        Complaint: A file that was named is missing, or what was found cannot be used.
            As `YamlInvalid` it lists every problem with its line.
    """
    source = find(path, environ, system_file)
    return defaults() if source is None else read(source)


def find(path: Path | None, environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """
    The file that `load` reads; None for the embedded defaults.

    Raises:
        Complaint: A file that was named is missing, or nobody can tell whether the system's file exists.
    """
    named = environ.get(ENVIRONMENT_VARIABLE, "")
    if path is not None:
        return _must_exist(path, "--config")
    if named:
        return _must_exist(Path(named), ENVIRONMENT_VARIABLE)
    try:
        system_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Complaint(f"cannot read the configuration file {system_file}: {why(error)}") from None
    return system_file


def _must_exist(path: Path, named_by: str) -> Path:
    try:
        path.stat()
    except OSError as error:
        raise Complaint(
            f"cannot read the configuration file {path} (named by {named_by}): {why(error)}",
            f"name one that exists, or none: without {named_by} the defaults apply (see joblet config show)",
        ) from None
    return path


def defaults() -> Config:
    """The configuration without any file."""
    return _build({}, None)


def read(path: Path) -> Config:
    """
    The configuration in one file.

    Raises:
        YamlInvalid: With every problem in it.
    """
    return _build(yamlfile.read(path, ALLOWED), path)


def _build(values: Mapping[str, object], source: Path | None) -> Config:
    sections: dict[str, Any] = {
        name: section(**{key.attribute: values.get(key.path, key.default) for key in KEYS if key.section == name})
        for name, section in _SECTIONS.items()
    }
    return Config(**sections, source=source, given=frozenset(values))


def without_effect(config: Config) -> tuple[str, ...]:
    """The keys that the file sets for a supervisor which the service manager starts, and which so never learns them."""
    if config.isolation.supervisor == "own":
        return ()
    return tuple(path for path in FOR_THE_SUPERVISOR if path in config.given)


def value(config: Config, key: Key) -> object:
    """What a key is set to."""
    return getattr(getattr(config, key.section), key.attribute)


def as_yaml(config: Config) -> str:
    """The whole configuration as a file that `read` takes back, each key with its meaning."""
    lines: list[str] = []
    for section in _SECTIONS:
        lines += ["", f"{section}:"] if lines else [f"{section}:"]
        for key in KEYS:
            if key.section == section:
                origin = "" if key.path in config.given else "  # default"
                lines.append(f"  {key.name}: {key.kind.show(value(config, key))}{origin}")
    return "\n".join(lines) + "\n"
