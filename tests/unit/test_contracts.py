"""Every promise in `ports.py`, kept by what stands in for the machine in tests and by what is used in a server."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joblet.domain.job import JobId
from joblet.logs.files import FileLogKeeper, LogFiles
from joblet.logs.kept import fresh_name
from joblet.logs.reader import FileLogStore
from joblet.logs.times import TimeIndex
from joblet.ports import Engine, JobStore, WorkflowStore
from joblet.statefolder import StateFolder
from joblet.storage.database import Database
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.storage.secrets import secrets_in
from joblet.storage.workflows import WorkflowStoreAdapter
from joblet.testing.clock import VirtualClock
from joblet.testing.contracts import engine as engine_contract
from joblet.testing.contracts import job_store as job_store_contract
from joblet.testing.contracts import log_keeper as log_keeper_contract
from joblet.testing.contracts import log_store as log_store_contract
from joblet.testing.contracts import workflow_store as workflow_store_contract
from joblet.testing.contracts.engine import ENGINE_CONTRACT
from joblet.testing.contracts.job_store import JOB_STORE_CONTRACT, NEEDS_A_DISK
from joblet.testing.contracts.log_keeper import LOG_KEEPER_CONTRACT
from joblet.testing.contracts.log_store import LOG_STORE_CONTRACT
from joblet.testing.contracts.workflow_store import WORKFLOW_STORE_CONTRACT
from joblet.testing.engine import FakeEngine
from joblet.testing.logs import FakeLogKeeper, FakeLogStore


@dataclass
class FakeEngineSubject:
    engine: FakeEngine = field(default_factory=lambda: FakeEngine(clock=VirtualClock()))

    @property
    def logs(self) -> FakeLogStore:
        return self.engine.logs

    def attach(self) -> Engine:
        return self.engine


class MemoryStoreSubject:
    def open(self) -> JobStore:
        return open_job_store(JobStoreConfig())


@dataclass
class FileStoreSubject:
    path: Path

    def open(self) -> JobStore:
        return open_job_store(JobStoreConfig(self.path))


class WorkflowFileSubject:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.database: Database | None = None

    def open(self) -> WorkflowStore:
        self.database = Database(self.path)
        return WorkflowStoreAdapter(self.database, secrets_in(self.path.with_name("secrets.key")))

    async def close(self) -> None:
        assert self.database is not None
        await self.database.close()

    def stored(self) -> str:
        assert self.database is not None
        return str(self.database.read("SELECT * FROM workflows"))


class FakeLogSubject:
    def __init__(self) -> None:
        self.store = FakeLogStore()
        self.keeper = FakeLogKeeper(self.store)

    def append(self, job_id: JobId, data: bytes) -> None:
        self.store.append(job_id, data)

    def note_time(self, job_id: JobId, now_ns: int) -> None:
        self.store.note_time(job_id, now_ns)

    def interrupt(self, job_id: JobId) -> None:
        self.store.interrupt(job_id)

    async def trim(self, job_id: JobId, first_bytes: int) -> None:
        await self.keeper.trim(job_id, first_bytes)

    async def compress(self, job_id: JobId) -> None:
        await self.keeper.compress(job_id)

    async def remove(self, job_id: JobId) -> None:
        await self.keeper.remove(job_id)


class FileLogSubject:
    def __init__(self, folder: StateFolder) -> None:
        folder.create()
        self.folder = folder
        self.store = FileLogStore(folder, open_max=16)
        self.keeper = FileLogKeeper(LogFiles(folder))

    def append(self, job_id: JobId, data: bytes) -> None:
        with self.folder.log(job_id).open("ab") as file:
            file.write(data)

    def note_time(self, job_id: JobId, now_ns: int) -> None:
        index = TimeIndex(self.folder.log_times(job_id))
        index.grew(now_ns, self.folder.log(job_id).stat().st_size)

    def interrupt(self, job_id: JobId) -> None:
        fresh_name(self.folder.log_archive(job_id)).write_bytes(b"half an archi")

    async def trim(self, job_id: JobId, first_bytes: int) -> None:
        await self.keeper.trim(job_id, first_bytes)

    async def compress(self, job_id: JobId) -> None:
        await self.keeper.compress(job_id)

    async def remove(self, job_id: JobId) -> None:
        await self.keeper.remove(job_id)

    def close(self) -> None:
        self.store.close()
        self.keeper.close()


@pytest.mark.parametrize("check", ENGINE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_engine(check: object) -> None:
    await check(FakeEngineSubject())  # type: ignore[operator]


@pytest.mark.parametrize(
    "check", [check for check in JOB_STORE_CONTRACT if check not in NEEDS_A_DISK], ids=lambda check: check.__name__
)
async def test_the_store_in_memory(check: object) -> None:
    await check(MemoryStoreSubject())  # type: ignore[operator]


@pytest.mark.real_time
@pytest.mark.parametrize("check", JOB_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_store_in_a_file(check: object, tmp_path: Path) -> None:
    await check(FileStoreSubject(tmp_path / "joblet.db"))  # type: ignore[operator]


@pytest.mark.real_time
@pytest.mark.parametrize("check", WORKFLOW_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_store_of_workflows(check: object, tmp_path: Path) -> None:
    await check(WorkflowFileSubject(tmp_path / "joblet.db"))  # type: ignore[operator]


@pytest.mark.parametrize("check", LOG_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_log_store(check: object) -> None:
    await check(FakeLogSubject())  # type: ignore[operator]


@pytest.mark.real_time
@pytest.mark.parametrize("check", LOG_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_log_files(check: object, tmp_path: Path) -> None:
    subject = FileLogSubject(StateFolder(tmp_path))
    await check(subject)  # type: ignore[operator]
    subject.close()


@pytest.mark.parametrize("check", LOG_KEEPER_CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_keeper_of_logs(check: object) -> None:
    await check(FakeLogSubject())  # type: ignore[operator]


@pytest.mark.real_time
@pytest.mark.parametrize("check", LOG_KEEPER_CONTRACT, ids=lambda check: check.__name__)
async def test_the_keeper_of_the_log_files(check: object, tmp_path: Path) -> None:
    subject = FileLogSubject(StateFolder(tmp_path))
    await check(subject)  # type: ignore[operator]
    subject.close()


@pytest.mark.parametrize(
    ("module", "table"),
    [
        (engine_contract, ENGINE_CONTRACT),
        (job_store_contract, JOB_STORE_CONTRACT),
        (log_store_contract, LOG_STORE_CONTRACT),
        (log_keeper_contract, LOG_KEEPER_CONTRACT),
        (workflow_store_contract, WORKFLOW_STORE_CONTRACT),
    ],
    ids=["engine", "job store", "log store", "log keeper", "workflow store"],
)
def test_every_check_of_a_contract_is_in_its_table(module: object, table: object) -> None:
    checks = {
        function
        for function in vars(module).values()
        if getattr(function, "__module__", "") == module.__name__  # type: ignore[attr-defined]
        and "subject" in getattr(function, "__annotations__", {})
        and not hasattr(function, "__wrapped__")
    }
    assert checks == set(table)  # type: ignore[call-overload]
