"""
`kill -9` of the server and of the supervisor in the middle of a workflow: every job ran exactly once.

Runs in: pytest, as root.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from real_server import RealServer, log_of, real_server

from joblet.client import AsyncJobletClient, ServerUnreachable, WorkflowStatus

pytestmark = pytest.mark.native

JOBS: Final = 100
KILLS: Final = 20
AT_ONCE: Final = 4
MOST_DEPENDENCIES: Final = 3
# What it prints is on its way before it can be over, so a job that ran twice has printed twice.
SCRIPT: Final = "echo ran; sleep 0.0$0; echo done"


def a_workflow(chance: random.Random) -> str:
    """Each job waits for up to three of the ten before it."""
    lines = ["jobs:"]
    for number in range(JOBS):
        before = range(max(0, number - 10), number)
        wanted = chance.sample(before, min(len(before), chance.randint(0, MOST_DEPENDENCIES)))
        lines += [f"  job{number}:", "    command: sh", f'    args: ["-c", "{SCRIPT}", "{chance.randint(1, 9)}"]']
        if wanted:
            lines += ["    requires:", *(f"      - job{other}: COMPLETED" for other in wanted)]
    return "\n".join(lines)


async def so_far(client: AsyncJobletClient, workflow_id: str, completed: int) -> WorkflowStatus:
    """The workflow once so many of its jobs have completed, or it has ended; asks again and again."""
    while True:
        try:
            status = await client.get_workflow_status(workflow_id)
        except ServerUnreachable:
            # The connection died with the server. Nothing else may come of a kill: whoever is answered at all is
            # answered from what is stored, with or without a supervisor.
            continue
        if status.workflow.completed_jobs >= completed or status.workflow.ended:
            return status


async def kill(server: RealServer, what: str) -> None:
    """One of them, or both; the server is started again."""
    if what != "supervisor":
        server.kill()
    if what != "server":
        server.kill_supervisor()
    if what != "supervisor":
        await asyncio.to_thread(server.start)


@pytest.mark.slow
async def test_every_job_of_a_workflow_ran_exactly_once_through_twenty_kills(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(1 << 32)
    record_property("seed", seed)
    chance = random.Random(seed)
    with real_server(tmp_path, {"joblet": {"maxConcurrentJobs": AT_ONCE}}) as server:
        async with server.client() as client:
            workflow = await client.run_workflow(a_workflow(chance), name="hundred.yaml")
            in_the_middle = 0
            for number in range(KILLS):
                at = (number * JOBS + chance.randrange(JOBS)) // (KILLS + 2)
                before = await so_far(client, workflow.id, at)
                await kill(server, chance.choice(["server", "supervisor", "both"]))
                in_the_middle += not before.workflow.ended
            after = await so_far(client, workflow.id, JOBS)

            assert in_the_middle == KILLS
            assert after.workflow.status == "COMPLETED"
            assert after.workflow.completed_jobs == JOBS
            assert {job.status for job in after.jobs} == {"COMPLETED"}
            printed: Counter[tuple[str, bytes]] = Counter()
            for listed in await client.list_jobs():
                for line in (await log_of(client, listed.id)).splitlines():
                    printed[listed.name, line] += 1
            assert printed == {(f"job{number}", line): 1 for number in range(JOBS) for line in (b"ran", b"done")}
            by_name = {job.name: job for job in after.jobs}
            for job in after.jobs:
                for other in job.dependencies:
                    ended, started = by_name[other].ended_at, job.started_at
                    assert ended is not None
                    assert started is not None
                    assert ended <= started, (job.name, other)
