"""Every promise in `ports.py`, kept by what stands in for the machine in tests and by what is used in a server."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from joblet.domain.job import JobId
from joblet.logs.reader import FileLogStore
from joblet.ports import Engine, JobStore
from joblet.statefolder import StateFolder
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.clock import VirtualClock
from joblet.testing.contracts import engine as engine_contract
from joblet.testing.contracts import job_store as job_store_contract
from joblet.testing.contracts import log_store as log_store_contract
from joblet.testing.contracts.engine import ENGINE_CONTRACT
from joblet.testing.contracts.job_store import JOB_STORE_CONTRACT, NEEDS_A_DISK
from joblet.testing.contracts.log_store import LOG_STORE_CONTRACT
from joblet.testing.engine import FakeEngine
from joblet.testing.logs import FakeLogStore


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


@dataclass
class FakeLogSubject:
    store: FakeLogStore = field(default_factory=FakeLogStore)

    def append(self, job_id: JobId, data: bytes) -> None:
        self.store.append(job_id, data)


class FileLogSubject:
    def __init__(self, folder: StateFolder) -> None:
        folder.create()
        self.folder = folder
        self.store = FileLogStore(folder, open_max=16)

    def append(self, job_id: JobId, data: bytes) -> None:
        with self.folder.log(job_id).open("ab") as file:
            file.write(data)


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


@pytest.mark.parametrize("check", LOG_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_fake_log_store(check: object) -> None:
    await check(FakeLogSubject())  # type: ignore[operator]


@pytest.mark.real_time
@pytest.mark.parametrize("check", LOG_STORE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_log_files(check: object, tmp_path: Path) -> None:
    subject = FileLogSubject(StateFolder(tmp_path))
    await check(subject)  # type: ignore[operator]
    subject.store.close()


@pytest.mark.parametrize(
    ("module", "table"),
    [
        (engine_contract, ENGINE_CONTRACT),
        (job_store_contract, JOB_STORE_CONTRACT),
        (log_store_contract, LOG_STORE_CONTRACT),
    ],
    ids=["engine", "job store", "log store"],
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
