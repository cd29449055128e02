"""
The keys of a workflow file, and what may stand at each.

Runs in: server loop, command lines. May not: know YAML, or the machine (`jobs.py` checks limits against it).
Source: API specification, "Workflow API", "Resource Limits".
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from joblet.domain.errors import InvalidLimit
from joblet.domain.limits import MIB, core_ranges
from joblet.domain.workflow.definition import Outcome
from joblet.yamlkinds import Choice, Duration, Integer, Kind, Text

MAX_BYTES: Final = 4 * 1024 * 1024
MAX_JOBS: Final = 20_000
MAX_TEXT: Final = 128 * 1024  # characters of an argument; Linux takes no longer one

TOP: Final = ("environment", "secret_environment", "jobs")
JOB: Final = (
    "command",
    "args",
    "requires",
    "resources",
    "environment",
    "secret_environment",
    "workdir",
    "timeout",
    "retries",
    "continue_on_failure",
    "network",
    "volumes",
    "runtime",
    "uploads",
)

EXPRESSION: Final = "expression"
"""The key of an item of `requires` that is no job; so no job can be called like this."""

JOB_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
JOB_NAMES: Final = "letters, digits, '.', '_' and '-', at most 64, a letter or digit first"


def _check_cores(cores: str) -> None:
    if not _are_cores(cores):
        raise ValueError("is no list of cores")


@lru_cache(maxsize=2048)  # as many long ones as a file can hold, which an alias gives to each of its jobs
def _are_cores(cores: str) -> bool:
    try:
        core_ranges(cores)
    except InvalidLimit:
        return False
    return True


def _check_upload(path: str) -> None:
    if path.startswith("/"):
        raise ValueError("is absolute")
    if ".." in path.split("/"):
        raise ValueError("leads out of the folder with '..'")


_INT32: Final = 2**31 - 1  # limits travel as int32

RESOURCES: Final[Mapping[str, Kind]] = {
    "max_cpu": Integer(0, 1_000_000, "percent of one core, 0 for the default"),
    "max_memory": Integer(0, _INT32, "MB, 0 for the default", scale=MIB),
    "max_io_bps": Integer(0, _INT32, "bytes per second, 0 for the default"),
    "cpu_cores": Text("cores such as 0-1,3, each range upwards", _check_cores, most=4096),
}
RETRIES: Final[Mapping[str, Kind]] = {
    "max": Integer(0, 100),
    "backoff": Duration(0.001, 3600.0, zero="no wait"),
}
# Where a key belongs that stands a level too high.
HOMES_AT_TOP: Final[Mapping[str, str]] = {name: f"jobs.<name>.{name}" for name in JOB}
HOMES_IN_JOB: Final[Mapping[str, str]] = {
    **{name: f"resources.{name}" for name in RESOURCES},
    **{name: f"retries.{name}" for name in RETRIES},
    "files": "uploads.files",
}
COMMAND: Final = Text("the path or name of a program", most=MAX_TEXT)
WORK_DIR: Final = Text("the path of a folder in the job")
TIMEOUT: Final = Duration(0.1, 365 * 24 * 3600.0, zero="the default")
CONTINUE_ON_FAILURE: Final = Choice(("true", "false"))
NAME: Final = Text("a name", most=255)
UPLOAD: Final = Text("a path inside the folder of the workflow, without '..'", _check_upload)
OUTCOME: Final = Choice(tuple(Outcome))
