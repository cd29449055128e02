"""
Jobs the supervisor cannot start: what the caller reads, and that nothing is left.

Runs in: pytest, as root.
"""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from joblet.domain.errors import IsolationFailed

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
