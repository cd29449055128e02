"""The database: what survives, what is shared, what is refused, and with which words."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from joblet.domain.errors import StorageFailed
from joblet.domain.job import MASK, JobId, Running
from joblet.storage.database import MEMORY, CannotOpenDatabase, Database
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.storage.migrations import MIGRATIONS, NEWEST
from joblet.testing.contracts.job_store import AN_END, a_job, masked

DATA = Path(__file__).parent / "data"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "joblet.db"


@pytest.mark.real_time
async def test_a_job_is_on_disk_when_add_returns(path: Path) -> None:
    """Another process, which shares no memory with us, finds it at once: it is in the file or its log."""
    store = open_job_store(JobStoreConfig(path))
    job = a_job()

    await store.add(job)

    assert ids_seen_by_another_process(path) == [job.id]
    await store.close()


def ids_seen_by_another_process(path: Path) -> list[str]:
    script = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT id FROM jobs').fetchone())"
    seen = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return seen.stdout.split()


KILLED_WRITER = """
import asyncio, os, sys
from pathlib import Path
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.contracts.job_store import a_job

async def main():
    store = open_job_store(JobStoreConfig(Path(sys.argv[1])))
    async def add(number):
        job = a_job(created_ns=number)
        await store.add(job)
        os.write(1, f"{job.id}\\n".encode())
    for group in range(1000):
        await asyncio.gather(*(add(group * 16 + number) for number in range(16)))

asyncio.run(main())
"""


def test_a_server_killed_while_it_writes_has_kept_every_job_it_confirmed(path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        confirmed = [writer.stdout.readline() for _ in range(200)]
        writer.kill()
        confirmed += writer.stdout.readlines()

    with closing(sqlite3.connect(path)) as database:
        stored = {job_id for (job_id,) in database.execute("SELECT id FROM jobs")}
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
    assert {line.decode().strip() for line in confirmed} - {""} <= stored
    assert verdict == "ok"


@pytest.mark.real_time
async def test_writes_asked_for_at_the_same_time_share_transactions(path: Path) -> None:
    """Group commit: one fsync for all that is queued. SQLite's own file change counter tells."""
    store = open_job_store(JobStoreConfig(path))
    before = commits(path)

    await asyncio.gather(*(store.add(a_job()) for _ in range(400)))

    assert commits(path) - before < 100
    assert len(store.all()) == 400
    await store.close()


def commits(path: Path) -> int:
    """How many transactions have been written: each one ends with a frame that names the database's size."""
    log = Path(f"{path}-wal").read_bytes()
    page_bytes = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page_bytes)
    return sum(int.from_bytes(log[at + 4 : at + 8], "big") != 0 for at in frames)


@pytest.mark.real_time
async def test_a_caller_that_is_gone_does_not_call_its_write_off(path: Path) -> None:
    store = open_job_store(JobStoreConfig(path))
    jobs = [a_job() for _ in range(20)]
    adding = [asyncio.create_task(store.add(job)) for job in jobs]
    await asyncio.wait(adding, timeout=0)

    for task in adding[::2]:
        task.cancel()
    results = await asyncio.gather(*adding, return_exceptions=True)
    await store.close()

    assert results[1::2] == [None] * 10
    assert sorted(ids_in(path)) == sorted(job.id for job in jobs)


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [job_id for (job_id,) in database.execute("SELECT id FROM jobs")]


@pytest.mark.real_time
async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    store = open_job_store(JobStoreConfig(path))
    adding = [asyncio.create_task(store.add(a_job())) for _ in range(50)]
    await asyncio.wait(adding, timeout=0)

    await store.close()

    await asyncio.gather(*adding)
    assert len(ids_in(path)) == 50


@pytest.mark.real_time
async def test_a_closed_store_refuses_with_words(path: Path) -> None:
    store = open_job_store(JobStoreConfig(path))
    await store.close()
    await store.close()

    with pytest.raises(StorageFailed):
        await store.add(a_job())
    with pytest.raises(StorageFailed):
        store.all()


@pytest.mark.real_time
async def test_the_database_is_for_its_owners_eyes_only(path: Path) -> None:
    """Commands and environments stand in it."""
    previous = os.umask(0)
    try:
        store = open_job_store(JobStoreConfig(path))
        await store.add(a_job())
    finally:
        os.umask(previous)

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"joblet.db": 0o600, "joblet.db-wal": 0o600, "joblet.db-shm": 0o600}
    await store.close()


@pytest.mark.real_time
async def test_a_database_that_others_could_read_is_closed_to_them(path: Path) -> None:
    await open_job_store(JobStoreConfig(path)).close()
    os.chmod(path, 0o644)

    await open_job_store(JobStoreConfig(path)).close()

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.real_time
async def test_the_values_of_secrets_are_in_no_file(path: Path) -> None:
    store = open_job_store(JobStoreConfig(path))
    job = a_job()
    await store.add(job)
    await store.update(replace(job, phase=AN_END))

    for file in path.parent.iterdir():
        assert b"hunter2" not in file.read_bytes()
    found = store.get(job.id)
    assert found is not None
    assert found.spec.secret_environment == {"TOKEN": MASK}
    await store.close()


# Refusals


@pytest.mark.real_time
async def test_a_database_locked_by_another_program_refuses_the_write_and_takes_the_next(path: Path) -> None:
    # Not seconds: this lock will not go away.
    store = open_job_store(JobStoreConfig(path, lock_wait_s=0.01))
    job = a_job()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StorageFailed, match="another process holds its lock"):
            await store.add(job)
        assert store.all() == []
        other.execute("ROLLBACK")

    await store.add(job)
    assert store.get(job.id) == masked(job)
    await store.close()


@pytest.mark.real_time
async def test_a_full_disk_refuses_the_write_and_what_was_stored_still_stands(path: Path) -> None:
    """SQLite's own limit of pages stands in for the disk's end: the same error by the same way."""
    store = open_job_store(JobStoreConfig(path))
    first = a_job()
    await store.add(first)
    writer = store._database._writer
    assert writer is not None
    (pages,) = writer._connection.execute("PRAGMA page_count").fetchone()
    writer._connection.execute(f"PRAGMA max_page_count = {pages}")
    huge = replace(first, id=JobId("b" * 36), spec=replace(first.spec, args=("x" * 1_000_000,)))

    with pytest.raises(StorageFailed, match="the disk is full: free some space"):
        await store.add(huge)

    await store.update(replace(first, phase=Running(1, 2)))
    assert [job.phase for job in store.all()] == [Running(1, 2)]
    await store.close()


@pytest.mark.parametrize(
    "content", [b"this is no database, it is a letter" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_database_is_refused_at_the_start_with_what_to_do(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(CannotOpenDatabase) as raised:
        open_job_store(JobStoreConfig(path))

    assert str(path) in str(raised.value)
    assert "put back a copy" in str(raised.value)
    assert path.read_bytes() == content


@pytest.mark.real_time
async def test_a_database_of_a_newer_program_is_refused_and_left_alone(path: Path) -> None:
    await Database(path).close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO migrations VALUES (?, 'the future', 'later')", (NEWEST + 1,))

    with pytest.raises(CannotOpenDatabase, match=f"it has schema {NEWEST + 1}, and this program knows schemas up to"):
        open_job_store(JobStoreConfig(path))


def test_a_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE recipes (name)")

    with pytest.raises(CannotOpenDatabase, match="it holds other tables than Joblet's"):
        open_job_store(JobStoreConfig(path))

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]


def test_the_configuration_of_the_store_is_checked(tmp_path: Path) -> None:
    with pytest.raises(CannotOpenDatabase, match="the path is relative"):
        open_job_store(JobStoreConfig(Path("joblet.db")))
    with pytest.raises(CannotOpenDatabase, match="is not a folder"):
        open_job_store(JobStoreConfig(tmp_path / "missing" / "joblet.db"))
    with pytest.raises(CannotOpenDatabase, match="is a directory"):
        open_job_store(JobStoreConfig(tmp_path))


# Schema


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, NEWEST + 1))


def test_every_released_schema_is_kept() -> None:
    assert sorted(file.name for file in DATA.glob("schema-*.sql")) == [
        f"schema-{number}.sql" for number in range(1, NEWEST + 1)
    ]


@pytest.mark.real_time
@pytest.mark.parametrize("number", range(1, NEWEST + 1))
async def test_the_database_of_each_released_schema_opens_with_its_jobs(path: Path, number: int) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript((DATA / f"schema-{number}.sql").read_text())

    store = open_job_store(JobStoreConfig(path))

    assert [(job.id, job.state) for job in store.all()] == [
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", "COMPLETED"),
        ("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "RUNNING"),
        ("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "FAILED"),
    ]
    assert store.all()[0].spec.args == ("hello",)
    assert [job.id for job in store.unfinished()] == ["6ba7b810-9dad-11d1-80b4-00c04fd430c8"]
    await store.close()


async def test_the_newest_schema_is_the_one_in_the_code() -> None:
    """A change of a released migration would leave existing databases behind: make a new one."""
    with closing(sqlite3.connect(MEMORY)) as kept:
        kept.executescript((DATA / f"schema-{NEWEST}.sql").read_text())
        statements = kept.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name").fetchall()

    database = Database(MEMORY)
    assert database.read("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY name") == statements
    await database.close()


async def test_looking_up_a_prefix_and_the_unfinished_jobs_uses_an_index() -> None:
    database = Database(MEMORY)

    prefix = database.read("EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE id >= ? AND id < ? ORDER BY id", ("a", "b"))
    unfinished = database.read(
        "EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE state IN ('INITIALIZING', 'RUNNING') ORDER BY created_ns, rowid"
    )

    assert "USING COVERING INDEX" in str(prefix)
    assert "USING INDEX jobs_unfinished" in str(unfinished)
    assert "TEMP B-TREE" not in str(prefix) + str(unfinished)
    await database.close()


@pytest.mark.real_time
async def test_every_transaction_is_on_the_disk_itself_when_it_is_confirmed(path: Path) -> None:
    """A power failure cannot be tested here; that SQLite is told to provide for it can."""
    store = open_job_store(JobStoreConfig(path))
    writer = store._database._writer
    assert writer is not None

    assert writer._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert writer._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await store.close()
