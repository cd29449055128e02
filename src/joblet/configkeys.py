"""
Every key of the server's configuration: the one table that the file is checked against, that `Config` is built from,
and that the documentation and `joblet config keys` are printed from.

Runs in: server loop at start, command lines. May not: know the machine (limits are checked against it later).
Source: API specification, "Server Configuration"; docs/administrators.md, "Limits and cgroups".
"""

import re
from dataclasses import dataclass
from typing import Final

from joblet.domain.limits import MIB
from joblet.yamlkinds import Choice, Duration, Integer, Kind, Size, Text

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S

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


def check_spill_dir(path: str) -> None:
    """
    An absolute path, or "state".

    Raises:
        ValueError: With words that follow the path.
    """
    if path != "state" and not path.startswith("/"):
        raise ValueError("is not absolute")


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
        " waits for it. What its unit (joblet-supervisor.service) says holds then; isolation.cgroups,"
        " joblet.cleanupTimeout, joblet.pidsLimit and what tells how logs are written (logs.memoryLimit, queueSize,"
        " overflow, spillDir, sampleEvery, fsync) hold no more: the unit has --log-memory and so on for them.",
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
        "logs.memoryLimit",
        "memory_limit_bytes",
        Size(4 * MIB, 2**50),
        1024 * MIB,
        "Output of all jobs together that may wait for the disk in memory, shared fairly.",
    ),
    Key(
        "logs.queueSize",
        "queue_max",
        Integer(1, 1_000_000_000),
        100_000,
        "Logs that may wait for the disk, and blocks of in-process producers.",
    ),
    Key(
        "logs.overflow",
        "overflow",
        Choice(("compress", "spill", "alert", "sample")),
        "alert",
        "What happens when the disk is slower than the jobs until the memory is short: compress keeps what waits"
        " compressed, spill moves it to logs.spillDir, alert lets the noisiest jobs wait, sample drops all but every"
        " n-th MiB and says so in the log. Where the others reach their end, jobs wait.",
    ),
    Key(
        "logs.spillDir",
        "spill_dir",
        Text("an absolute path, or state for the folder spill in the state folder", check_spill_dir),
        "state",
        "Where spill moves output to; it helps only on another disk than the logs'.",
    ),
    Key(
        "logs.sampleEvery",
        "sample_every",
        Integer(2, 1_000_000),
        10,
        "Of how many MiB that wait sample keeps one.",
    ),
    Key(
        "logs.fsync",
        "fsync",
        Choice(("never", "end", "always")),
        "never",
        "When logs are made to survive a loss of power: never, as the kernel sees fit (within about 30 s); end, before"
        " a job's end is told; always, after each write.",
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
