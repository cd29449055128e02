"""
Jobs the supervisor cannot start: what the caller reads, and that nothing is left.

Runs in: pytest, as root.
"""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from real_server import real_server

from joblet.client import Credentials, JobletClient, JobletError
from joblet.domain.errors import IsolationFailed
from joblet.domain.job import Job, JobId, JobSpec
from joblet.domain.limits import MIB, Limits

if TYPE_CHECKING:
    from tests.native.conftest import RealEngine, Scenario

pytestmark = pytest.mark.native


def test_a_status_file_that_cannot_be_made_refuses_the_job(on_real_engine: "Callable[[Scenario], None]") -> None:
    """The reason is the kernel's, and the next job is none the worse."""

    async def scenario(real: "RealEngine") -> None:
        job_id = str(uuid.uuid4())
        real.folder.status(job_id).mkdir()

        with pytest.raises(IsolationFailed, match="file exists"):
            await real.start("true", job_id=job_id)

        real.folder.status(job_id).rmdir()
        assert (await real.run("true"))[0].exit_code == 0
        assert list(real.folder.work.iterdir()) == []

    on_real_engine(scenario)


def test_a_job_id_that_is_taken_is_refused_and_the_job_that_has_it_goes_on(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, _ = await real.start("sleep", "60")

        with pytest.raises(IsolationFailed, match=f"job {job_id} exists"):
            await real.start("true", job_id=job_id)

        await real.engine.stop(job_id)
        assert (await real.end(job_id)).exit_code == -1

    on_real_engine(scenario)


@pytest.mark.parametrize("job_id", ["", "..", "../logs/another", "/etc/passwd", "a\0b", ".hidden"])
def test_a_job_id_that_leads_elsewhere_is_refused(on_real_engine: "Callable[[Scenario], None]", job_id: str) -> None:
    """The server makes every id itself; the supervisor, which runs as root, need not believe it."""

    async def scenario(real: "RealEngine") -> None:
        with pytest.raises(IsolationFailed, match="not a job id: "):
            await real.engine.start(Job(JobId(job_id), JobSpec("true", (), Limits(100, "", 512 * MIB, 0), 60), 0))

        assert [*real.folder.logs.iterdir(), *real.folder.run.iterdir()] == []

    on_real_engine(scenario)


def test_nothing_is_left_of_a_job_whose_output_cannot_be_made_its_own(tmp_path: Path) -> None:
    """Without CAP_CHOWN every job is refused; the supervisor holds no more files after many of them."""
    settings = {"isolation": {"cgroups": "off"}}
    with real_server(tmp_path, settings, wrapper=("setpriv", "--bounding-set=-chown")) as server:
        held = []
        with JobletClient(server.address, Credentials.from_environment(server.client_environ)) as client:
            for _ in range(3):
                with pytest.raises(JobletError, match="operation not permitted"):
                    client.run_job("true")
                held.append(len(os.listdir(f"/proc/{server.supervisor_pid}/fd")))

    assert held == [held[0]] * 3
