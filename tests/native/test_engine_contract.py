"""
Every promise in `ports.Engine`, kept by real processes: the same checks that the fake engine passes in the unit tests.

Runs in: pytest, as root.
"""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from joblet.admin.down import down
from joblet.engine.supervised import SupervisedEngine, SupervisorOptions
from joblet.logs.reader import FileLogStore
from joblet.ports import Engine
from joblet.statefolder import StateFolder
from joblet.testing.contracts.engine import ENGINE_CONTRACT, EngineSubject

pytestmark = pytest.mark.native


class SupervisedSubject:
    """A state folder, its supervisor, and the logs of its jobs."""

    def __init__(self, folder: StateFolder) -> None:
        folder.create()
        self._folder = folder
        self.logs = FileLogStore(folder)

    def attach(self) -> Engine:
        """See `EngineSubject`."""
        return SupervisedEngine(self._folder, SupervisorOptions())


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[SupervisedSubject]:
    """A real engine without a job."""
    folder = StateFolder(tmp_path / "state")
    subject = SupervisedSubject(folder)
    yield subject
    subject.logs.close()
    down(folder)


@pytest.mark.parametrize("check", ENGINE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_supervised_engine(
    check: Callable[[EngineSubject], Awaitable[None]], subject: SupervisedSubject
) -> None:
    await check(subject)
