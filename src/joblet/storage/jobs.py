"""
Jobs in SQLite: a job to a row and back.

Runs in: server loop. May not: decide anything about a job.
Source: API specification, "Adapter Architecture": JobStoreAdapter with UUID prefix resolution.
"""

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast
from urllib.parse import quote

from joblet.domain.job import MASK, Ended, Job, JobId, JobSpec, JobState, Phase, Running, Usage, Waiting
from joblet.domain.limits import Limits
from joblet.storage.database import MEMORY, CannotOpenDatabase, Database, Value

_SPEC: Final = (
    "id",
    "created_ns",
    "name",
    "command",
    "args",
    "cpu_max_percent",
    "cpu_cores",
    "memory_max_bytes",
    "io_max_bytes_per_s",
    "timeout_s",
    "work_dir",
    "environment",
    "secret_names",
    "limits_enforced",
    "workflow",
    "dependencies",
)
_PHASE: Final = (
    "state",
    "started_ns",
    "pid",
    "ended_ns",
    "exit_code",
    "reason",
    "signal",
    "oom_killed",
    "log_bytes",
    "cpu_usec",
    "memory_peak_bytes",
    "io_read_bytes",
    "io_write_bytes",
)
_COLUMNS: Final = ", ".join(_SPEC + _PHASE)
_INSERT: Final = f"INSERT INTO jobs ({_COLUMNS}) VALUES ({', '.join('?' * len(_SPEC + _PHASE))})"
_UPDATE: Final = f"UPDATE jobs SET {', '.join(f'{column} = ?' for column in _PHASE)} WHERE id = ?"
_SELECT: Final = f"SELECT {_COLUMNS} FROM jobs"


@dataclass(frozen=True, slots=True)
class JobStoreConfig:
    """
    Where the store is.

    Args:
        path: Of the database file, in a folder that exists; MEMORY for one that is gone at the end.
        lock_wait_s: The longest a write waits for another program (an administrator's sqlite3 shell) that
            holds the lock; all writes wait with it.
    """

    path: Path | str = MEMORY
    lock_wait_s: float = 5.0


def open_job_store(config: JobStoreConfig) -> "JobStoreAdapter":
    """
    Open the store, making or migrating the database first.

    Raises:
        CannotOpenDatabase: With the path, why, and what to do.
    """
    path = config.path
    if config.lock_wait_s < 0:
        raise ValueError(f"lock_wait_s must not be negative: {config.lock_wait_s}")
    if str(path) != MEMORY:
        path = Path(path)
        if not path.is_absolute():
            raise CannotOpenDatabase(
                f"cannot open the database {path}: the path is relative; name it from the root, or {MEMORY}"
            )
        if not path.parent.is_dir():
            raise CannotOpenDatabase(
                f"cannot open the database {path}: {path.parent} is not a folder; make the state folder first"
            )
    return JobStoreAdapter(Database(path, lock_wait_s=config.lock_wait_s))


class JobStoreAdapter:
    """`ports.JobStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """Where other stores may be too; `close` closes it for them."""
        return self._database

    async def add(self, job: Job) -> None:
        """See `ports.JobStore.add`."""
        await self._database.write(_INSERT, (*_spec_values(job), *_phase_values(job.phase)))

    async def update(self, job: Job) -> None:
        """See `ports.JobStore.update`."""
        await self._database.write(_UPDATE, (*_phase_values(job.phase), job.id))

    def get(self, job_id: JobId) -> Job | None:
        """See `ports.JobStore.get`."""
        rows = self._database.read(f"{_SELECT} WHERE id = ?", (job_id,))
        return _job(rows[0]) if rows else None

    def matching(self, prefix: str, limit: int) -> Sequence[JobId]:
        """See `ports.JobStore.matching`."""
        return [JobId(found) for found in self._database.ids("jobs", prefix, limit)]

    def all(self) -> Sequence[Job]:
        """See `ports.JobStore.all`."""
        return [_job(row) for row in self._database.read(f"{_SELECT} ORDER BY created_ns, rowid")]

    def older_than(self, job_id: JobId | None, limit: int) -> Sequence[Job]:
        """See `ports.JobStore.older_than`."""
        return [_job(row) for row in self._database.older_than("jobs", _COLUMNS, job_id, limit)]

    def unfinished(self) -> Sequence[Job]:
        """See `ports.JobStore.unfinished`."""
        # Literals, not parameters: only then may SQLite use the partial index.
        where = f"WHERE state IN ('{JobState.INITIALIZING}', '{JobState.RUNNING}')"
        return [_job(row) for row in self._database.read(f"{_SELECT} {where} ORDER BY created_ns, rowid")]

    def of_workflow(self, workflow: str) -> Sequence[Job]:
        """See `ports.JobStore.of_workflow`."""
        where = "WHERE workflow = ? AND workflow != ''"  # only then may SQLite use the partial index
        return [_job(row) for row in self._database.read(f"{_SELECT} {where} ORDER BY rowid", (workflow,))]

    async def close(self) -> None:
        """See `ports.JobStore.close`."""
        await self._database.close()


def ended_jobs(path: Path) -> Mapping[JobId, int]:
    """
    When each job that has ended did so (nanoseconds since the epoch), for a command line: a server may run.

    Raises:
        CannotOpenDatabase: It cannot be read; nothing was made or migrated.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", timeout=5.0, uri=True)) as database:
            rows = database.execute(
                "SELECT id, ended_ns FROM jobs WHERE state NOT IN (?, ?)", (JobState.INITIALIZING, JobState.RUNNING)
            ).fetchall()
    except sqlite3.Error as error:
        raise CannotOpenDatabase(f"cannot read the database {path}: {error}") from None
    return {JobId(job_id): ended_ns for job_id, ended_ns in rows}


def _spec_values(job: Job) -> tuple[Value, ...]:
    spec, limits = job.spec, job.spec.limits
    return (
        job.id,
        job.created_ns,
        spec.name,
        spec.command,
        json.dumps(spec.args),
        limits.cpu_max_percent,
        limits.cpu_cores,
        limits.memory_max_bytes,
        limits.io_max_bytes_per_s,
        spec.timeout_s,
        spec.work_dir,
        json.dumps(dict(spec.environment)),
        json.dumps(list(spec.secret_environment)),
        job.limits_enforced,
        job.workflow,
        json.dumps(job.dependencies),
    )


def _phase_values(phase: Phase) -> tuple[Value, ...]:
    match phase:
        case Waiting():
            return (JobState.INITIALIZING.value, 0, 0, 0, 0, "", 0, 0, 0, 0, 0, 0, 0)
        case Running(started_ns=started_ns, pid=pid):
            return (JobState.RUNNING.value, started_ns, pid, 0, 0, "", 0, 0, 0, 0, 0, 0, 0)
        case Ended(usage=usage):
            return (
                phase.state.value,
                phase.started_ns,
                0,
                phase.ended_ns,
                phase.exit_code,
                phase.reason,
                phase.signal,
                int(phase.oom_killed),
                phase.log_bytes,
                usage.cpu_usec,
                usage.memory_peak_bytes,
                usage.io_read_bytes,
                usage.io_write_bytes,
            )


def _job(row: tuple[Value, ...]) -> Job:
    # Only this module writes the table, and a damaged file is SQLite's to notice: no check of its own.
    (
        (job_id, created_ns, name, command, args, cpu, cores, memory, io, timeout_s, work_dir),
        (environment, secret_names, limits_enforced, workflow, dependencies),
    ) = row[:11], row[11:16]
    return Job(
        id=JobId(_text(job_id)),
        spec=JobSpec(
            command=_text(command),
            args=_strings(_text(args)),
            limits=Limits(_int(cpu), _text(cores), _int(memory), _int(io)),
            timeout_s=cast("float", timeout_s),
            name=_text(name),
            work_dir=_text(work_dir),
            environment=_environment(_text(environment)),
            secret_environment=dict.fromkeys(_strings(_text(secret_names)), MASK),
        ),
        created_ns=_int(created_ns),
        phase=_phase(row[16:]),
        limits_enforced=_text(limits_enforced),
        workflow=_text(workflow),
        dependencies=_strings(_text(dependencies)),
    )


def _phase(row: tuple[Value, ...]) -> Phase:
    state = JobState(_text(row[0]))
    started_ns, pid, ended_ns, exit_code = (_int(value) for value in row[1:5])
    match state:
        case JobState.INITIALIZING:
            return Waiting()
        case JobState.RUNNING:
            return Running(started_ns, pid)
        case _:
            return Ended(
                state,
                exit_code,
                started_ns,
                ended_ns,
                reason=_text(row[5]),
                signal=_int(row[6]),
                oom_killed=bool(row[7]),
                log_bytes=_int(row[8]),
                usage=Usage(*(_int(value) for value in row[9:13])),
            )


def _strings(text: str) -> tuple[str, ...]:
    # Most jobs have none, and a list of all jobs decodes every one of them.
    return tuple(json.loads(text)) if text != "[]" else ()


def _environment(text: str) -> Mapping[str, str]:
    return cast("dict[str, str]", json.loads(text)) if text != "{}" else {}


def _text(value: Value) -> str:
    return cast("str", value)


def _int(value: Value) -> int:
    return cast("int", value)
