"""
The engine of a real server, as far as it needs no supervisor.

Runs in: pytest.
"""

import asyncio
from pathlib import Path

from joblet.engine.supervised import SupervisedEngine, SupervisorOptions
from joblet.ports import Detached, EngineEvent
from joblet.statefolder import StateFolder


def test_a_supervisor_that_is_the_service_managers_to_start_is_waited_for(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)

    async def first_event() -> EngineEvent:
        engine = SupervisedEngine(folder, SupervisorOptions(start=False))
        try:
            return await asyncio.wait_for(anext(engine.events()), 30)
        finally:
            await engine.close()

    event = asyncio.run(first_event())

    assert isinstance(event, Detached)
    assert "it is the service manager's to start" in event.why
    assert not folder.supervisor_log.exists()  # nothing was started
