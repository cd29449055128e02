"""
Every promise in `ports.Engine`, kept by real processes: the same checks that the fake engine passes in the unit tests.

Runs in: pytest, as root.
"""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Literal

import pytest
from groups import memory_limit_bytes

from joblet.admin.down import down
from joblet.domain.limits import MIB
from joblet.engine.supervised import SupervisedEngine, SupervisorOptions, start_supervisor
from joblet.logs.reader import FileLogStore
from joblet.ports import Engine
from joblet.statefolder import StateFolder
from joblet.testing.contracts.engine import ENGINE_CONTRACT, EngineSubject, a_job, attached_to

pytestmark = pytest.mark.native


class SupervisedSubject:
    """A state folder, its supervisor, and the logs of its jobs."""

    def __init__(self, folder: StateFolder, cgroups_mode: str) -> None:
        folder.create()
        self._folder = folder
        self._options = SupervisorOptions(cgroups=cgroups_mode)
        self.logs = FileLogStore(folder)

    def attach(self) -> Engine:
        """See `EngineSubject`."""
        return SupervisedEngine(self._folder, self._options)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """A supervisor that does not end when a server leaves: somebody else is still connected."""
        start_supervisor(self._folder, self._options)
        folder_fd = os.open(self._folder.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._folder.socket_address(folder_fd))
            os.close(folder_fd)
            yield


def _lifetime(fixture_name: str, config: pytest.Config) -> Literal["function", "module"]:
    return "module" if config.getoption("one_supervisor", default=False) else "function"


@pytest.fixture(scope=_lifetime)
def subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cgroups_mode: str
) -> Iterator[SupervisedSubject]:
    """A real engine without a job that runs."""
    folder = StateFolder(tmp_path_factory.mktemp("engine") / "state")
    subject = SupervisedSubject(folder, cgroups_mode)
    with subject.kept() if request.scope == "module" else contextlib.nullcontext():
        yield subject
        subject.logs.close()
        down(folder)


@pytest.mark.parametrize("check", ENGINE_CONTRACT, ids=lambda check: check.__name__)
async def test_the_supervised_engine(
    check: Callable[[EngineSubject], Awaitable[None]], subject: SupervisedSubject
) -> None:
    await check(subject)


async def test_limits_are_in_force_when_the_engine_says_so_and_where_they_are_required(
    subject: SupervisedSubject, cgroups_mode: str
) -> None:
    """What the checks above ran with; `a_job` may have 64 MiB."""
    async with attached_to(subject) as server:
        job = a_job("sleep", "60")
        running = await server.engine.start(job)

        limited = memory_limit_bytes(running.pid) == 64 * MIB

        assert limited == ((await server.attached()).limits_enforced == "yes")
        assert limited or cgroups_mode != "required"
        await server.engine.stop(job.id)
        await server.end_of(job)
