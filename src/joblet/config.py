"""
The server's configuration: every key, its default, and where it is read from.

`KEYS` is the one table: the file is checked against it, `Config` is built from it, and the
documentation and `joblet config keys` are printed from it.

Runs in: server loop at start, command lines. May not: know the machine (limits are checked against it later).
Source: API specification, "Server Configuration"; docs/administrators.md, "Limits and cgroups".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joblet import yamlfile
from joblet.complaint import Complaint, why
from joblet.domain.limits import MIB
from joblet.yamlkinds import Choice, Duration, Integer, Kind, Size, Text

SYSTEM_FILE: Final = Path("/opt/joblet/joblet-config.yml")
ENVIRONMENT_VARIABLE: Final = "JOBLET_CONFIG"

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S


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
    """
    The server log's lowest level, when a client that reads a job's log too slowly is cut off, and how long logs stay.

    What is 0 is not limited, or not done.
    """

    level: str
    slow_reader_timeout_s: float
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


_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[A-Za-z0-9_.*-]+):(?P<port>[0-9]{1,5})")


def check_address(address: str) -> tuple[str, int]:
    """
    Host and port of HOST:PORT or [IPV6]:PORT.

    Raises:
        ValueError: With words that follow the address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError("is not HOST:PORT")
    port = int(match["port"])
    if port > 65535:
        raise ValueError("has a port above 65535")
    return match["host"].strip("[]"), port


@dataclass(frozen=True, slots=True)
class Key:
    """
    One key of the file.

    Args:
        path: Section and name, as in the file.
        attribute: Its name in the section's dataclass, with the code's unit.
        kind: What may stand there.
        default: In the code's unit.
        meaning: One sentence for the documentation.
    """

    path: str
    attribute: str
    kind: Kind
    default: int | float | str
    meaning: str

    @property
    def section(self) -> str:
        """The section it stands in."""
        return self.path.partition(".")[0]

    @property
    def name(self) -> str:
        """Its name in the section."""
        return self.path.partition(".")[2]


_INT32: Final = 2**31 - 1  # limits travel as int32
_INT63: Final = 2**63 - 1  # the largest file offset

KEYS: Final[tuple[Key, ...]] = (
    Key(
        "joblet.defaultCpuLimit",
        "default_cpu_percent",
        Integer(1, 1_000_000, "percent of one core"),
        100,
        "CPU limit of a job that asks for none.",
    ),
    Key(
        "joblet.defaultMemoryLimit",
        "default_memory_bytes",
        Integer(1, _INT32, "MB", scale=MIB),
        512 * MIB,
        "Memory limit of a job that asks for none.",
    ),
    Key(
        "joblet.defaultIoLimit",
        "default_io_bytes_per_s",
        Integer(0, _INT32, "bytes per second, 0 for unlimited"),
        0,
        "Limit for reading, and for writing, of a job that asks for none.",
    ),
    Key(
        "joblet.maxConcurrentJobs",
        "max_concurrent_jobs",
        Integer(1, 65_536),
        100,
        "Jobs that may run at the same time; further ones are refused.",
    ),
    Key(
        "joblet.jobTimeout",
        "job_timeout_s",
        Duration(1.0, 365 * DAY_S, zero="no limit"),
        HOUR_S,
        "A job that runs longer is stopped.",
    ),
    Key(
        "joblet.cleanupTimeout",
        "cleanup_timeout_s",
        Duration(0.1, HOUR_S),
        5.0,
        "How long removing what an ended job left may take before the server log complains. A supervisor of the service"
        " manager has its own --cleanup-timeout.",
    ),
    Key(
        "joblet.pidsLimit",
        "pids_max",
        Integer(8, 4_194_304),
        4096,
        "Processes and threads that one job may have. A supervisor of the service manager has its own --pids-max.",
    ),
    Key(
        "grpc.maxRecvMsgSize",
        "max_receive_bytes",
        Size(1024, _INT32),
        524_288,
        "Largest message that the server takes.",
    ),
    Key(
        "grpc.maxSendMsgSize",
        "max_send_bytes",
        Size(1024, _INT32),
        4_194_304,
        "Largest message that the server sends.",
    ),
    Key(
        "grpc.keepAliveTime",
        "keep_alive_s",
        Duration(1.0, DAY_S),
        30.0,
        "How long a connection may be silent before the server asks whether the client is still there.",
    ),
    Key(
        "isolation.cgroups",
        "cgroups",
        Choice(("required", "auto", "off")),
        "auto",
        "Whether limits must be enforced: without writable cgroups v2, required starts, says ERROR in the server log"
        " and refuses every job with `cgroup setup failed: …`, auto runs jobs without limits and says so; off never"
        " uses them. A supervisor of the service manager has its own --cgroups.",
    ),
    Key(
        "isolation.supervisor",
        "supervisor",
        Choice(("own", "service")),
        "own",
        "Who starts the supervisor: own, the server when none answers; service, the service manager, and the server"
        " waits for it. What its unit (joblet-supervisor.service) says holds then, and isolation.cgroups,"
        " joblet.cleanupTimeout and joblet.pidsLimit hold no more.",
    ),
    Key(
        "server.address",
        "address",
        Text("HOST:PORT such as 0.0.0.0:50051 or [::]:50051", check_address),
        "0.0.0.0:50051",
        "Where the server listens; port 0 lets the kernel choose (see the file `address` in the state folder).",
    ),
    Key(
        "logs.level",
        "level",
        Choice(("DEBUG", "INFO", "WARN", "ERROR")),
        "INFO",
        "Lowest level that is written to the server log.",
    ),
    Key(
        "logs.slowReaderTimeout",
        "slow_reader_timeout_s",
        Duration(1.0, DAY_S),
        30.0,
        "A client that reads nothing of a log stream for so long is removed.",
    ),
    Key(
        "logs.maxBytesPerJob",
        "max_bytes_per_job",
        Size(65_536, _INT63, zero="all of it"),
        0,
        "How many bytes of a job's log are kept, the newest ones, also while it runs.",
    ),
    Key(
        "logs.maxBytes",
        "max_bytes",
        Size(1_048_576, _INT63, zero="no limit"),
        0,
        "How much of the disk all logs together may take: beyond it those of the jobs that ended first are removed.",
    ),
    Key(
        "logs.maxAge",
        "max_age_s",
        Duration(1.0, 100 * 365 * DAY_S, zero="for ever"),
        0.0,
        "How long the log of a job that has ended is kept.",
    ),
    Key(
        "logs.compressAfter",
        "compress_after_s",
        Duration(1.0, 100 * 365 * DAY_S, zero="never"),
        0.0,
        "How long after its job's end a log is compressed.",
    ),
)

# What the supervisor is told by whoever starts it.
FOR_THE_SUPERVISOR: Final = ("isolation.cgroups", "joblet.cleanupTimeout", "joblet.pidsLimit")

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
