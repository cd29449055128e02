"""
The schema of the database, as the numbered steps that lead to it.

A released step never changes: a new wish is a new step. `tests/unit/data/` keeps the database of
each released schema for ever, and a test opens them all.

Runs in: server loop, before it takes calls. May not: import an engine or a service.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Migration:
    """
    One step.

    Args:
        statements: Run in one transaction with the note that they were run.
    """

    number: int
    name: str
    statements: Sequence[str]


MIGRATIONS: Final[Sequence[Migration]] = (
    Migration(
        1,
        "jobs",
        (
            # created_ns is not the key: two jobs may be made in the same nanosecond.
            """
            CREATE TABLE jobs (
                id                 TEXT PRIMARY KEY,
                created_ns         INTEGER NOT NULL,
                name               TEXT NOT NULL,
                command            TEXT NOT NULL,
                args               TEXT NOT NULL, -- JSON list
                cpu_max_percent    INTEGER NOT NULL,
                cpu_cores          TEXT NOT NULL,
                memory_max_bytes   INTEGER NOT NULL,
                io_max_bytes_per_s INTEGER NOT NULL,
                timeout_s          REAL NOT NULL,
                work_dir           TEXT NOT NULL,
                environment        TEXT NOT NULL, -- JSON object
                secret_names       TEXT NOT NULL, -- JSON list; the values are kept nowhere
                limits_enforced    TEXT NOT NULL,
                state              TEXT NOT NULL,
                started_ns         INTEGER NOT NULL DEFAULT 0,
                pid                INTEGER NOT NULL DEFAULT 0,
                ended_ns           INTEGER NOT NULL DEFAULT 0,
                exit_code          INTEGER NOT NULL DEFAULT 0,
                reason             TEXT NOT NULL DEFAULT '',
                signal             INTEGER NOT NULL DEFAULT 0,
                oom_killed         INTEGER NOT NULL DEFAULT 0,
                log_bytes          INTEGER NOT NULL DEFAULT 0,
                cpu_usec           INTEGER NOT NULL DEFAULT 0,
                memory_peak_bytes  INTEGER NOT NULL DEFAULT 0,
                io_read_bytes      INTEGER NOT NULL DEFAULT 0,
                io_write_bytes     INTEGER NOT NULL DEFAULT 0
            )
            """,
            "CREATE INDEX jobs_by_age ON jobs (created_ns)",
            # Partial: a machine with a million finished jobs still finds its hundred unfinished ones at once.
            "CREATE INDEX jobs_unfinished ON jobs (created_ns) WHERE state IN ('INITIALIZING', 'RUNNING')",
        ),
    ),
    Migration(
        2,
        "workflows",
        (
            "ALTER TABLE jobs ADD COLUMN workflow TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE jobs ADD COLUMN dependencies TEXT NOT NULL DEFAULT '[]'",  # JSON list
            "CREATE INDEX jobs_of_workflow ON jobs (workflow) WHERE workflow != ''",
            """
            CREATE TABLE workflows (
                id             TEXT PRIMARY KEY,
                created_ns     INTEGER NOT NULL,
                name           TEXT NOT NULL,
                yaml           TEXT NOT NULL,            -- secrets masked
                sealed         TEXT NOT NULL,            -- the file as submitted, encrypted; empty once it has ended
                total          INTEGER NOT NULL,
                stop_requested INTEGER NOT NULL DEFAULT 0,
                state          TEXT NOT NULL DEFAULT '', -- empty until it has ended, and so are the rest
                started_ns     INTEGER NOT NULL DEFAULT 0,
                ended_ns       INTEGER NOT NULL DEFAULT 0,
                completed      INTEGER NOT NULL DEFAULT 0,
                failed         INTEGER NOT NULL DEFAULT 0,
                canceled       INTEGER NOT NULL DEFAULT 0,
                reason         TEXT NOT NULL DEFAULT '',
                jobs           TEXT NOT NULL DEFAULT '[]' -- JSON list of lists
            )
            """,
            "CREATE INDEX workflows_by_age ON workflows (created_ns)",
            "CREATE INDEX workflows_unfinished ON workflows (created_ns) WHERE state = ''",
        ),
    ),
)

NEWEST: Final = MIGRATIONS[-1].number


class SchemaTooNew(Exception):
    """The database was written by a newer program."""

    def __init__(self, number: int) -> None:
        super().__init__(f"it has schema {number}, and this program knows schemas up to {NEWEST}")


class NotOurs(Exception):
    """A database, but not one of Joblet's."""

    def __init__(self) -> None:
        super().__init__("it holds other tables than Joblet's")


def migrate(connection: sqlite3.Connection) -> None:
    """
    Bring a database to the newest schema; each step is done whole or not at all.

    Args:
        connection: In autocommit mode (`isolation_level=None`).

    Raises:
        SchemaTooNew, NotOurs: Nothing was changed.
        sqlite3.Error: The steps before the failed one stand.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "migrations" in tables:
        (newest,) = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
    elif tables:
        raise NotOurs
    else:
        newest = 0
    if newest > NEWEST:
        raise SchemaTooNew(newest)
    for migration in MIGRATIONS:
        if migration.number > newest:
            _apply(connection, migration)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations"
            " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL)"
        )
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute("INSERT INTO migrations VALUES (?, ?, datetime('now'))", (migration.number, migration.name))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
