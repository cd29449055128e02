"""
What a job is on its machine, as far as `sh`, `echo`, `sleep` and `cat` can see it from inside.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob" (Job Execution Environment), "Termination Process"; proc(5).
"""

import asyncio
from typing import Final

from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Failed, Skipped, expect, same
from joblet_conformance.subject import Subject

SAYS: Final = "trap 'echo the child got SIGTERM; exit' TERM; echo ready; while true; do sleep 0.01; done"
PARENT: Final = 'trap : TERM; "$1" -c "$0" & wait; wait'
STUBBORN: Final = "trap '' TERM; while true; do echo tick; sleep 0.01; done"
ORPHAN: Final = '("$1" -c "$0" &); "$2" 3600'
LISTENERS: Final = ("/proc/net/tcp", "/proc/net/tcp6")
LISTENS: Final = b"0A"  # TCP_LISTEN
TRIES: Final = 10  # a busy machine may let the 100 ms go by before it gives a process a turn


@case(
    "process.group-sigterm",
    "stop-job.sigterm",
    profile=Profile.PROCESS,
    alone=True,
    covers=("StopJob=OK",),
)
async def sigterm_goes_to_the_whole_group(server: Subject) -> None:
    """A process that the job's first one has started is sent SIGTERM too, and can act on it: at least one of ten."""
    child = SAYS.replace("sleep", server.programs.sleep)
    logs: list[bytes] = []
    for _ in range(TRIES):
        job = await server.shell(PARENT, child, server.programs.sh)
        async with server.reader(job.id) as reader:
            await reader.until(b"ready")
            await server.stop(job.id)
            logs.append(await reader.rest())
        if b"the child got SIGTERM" in logs[-1]:
            return
    raise Failed(f"the logs are {logs}")


@case(
    "process.group-sigkill",
    "stop-job.sigkill",
    "stop-job.clean-up",
    profile=Profile.PROCESS,
    covers=("StopJob=OK",),
)
async def nothing_of_a_stopped_job_is_left(server: Subject) -> None:
    """A child that ignores SIGTERM, and whose parent has gone, prints nothing any more once StopJob has answered."""
    sleep = server.programs.sleep
    job = await server.shell(ORPHAN, STUBBORN.replace("sleep", sleep), server.programs.sh, sleep)
    async with server.reader(job.id) as reader:
        await reader.until(b"tick")
        await server.stop(job.id)
        await reader.rest()
    first = await server.log(job.id)
    await asyncio.sleep(0.1)

    same("the log a moment later", await server.log(job.id), first)


@case("process.network", "run-job.network", profile=Profile.PROCESS, level=Level.SHOULD, covers=("GetJobLogs=OK",))
async def a_job_has_the_servers_network(server: Subject) -> None:
    """With host networking a job sees ports that are listened on: the server's, or what is in front of it."""
    log = await server.log((await server.run(server.programs.cat, *LISTENERS)).id)
    if b"local_address" not in log:
        raise Skipped("the job has no /proc/net to look into")

    # Which port the server has on its own machine, only the server knows.
    listening = [line for line in log.splitlines() if line.split()[3:4] == [LISTENS]]
    expect(listening, "the job sees nobody listen, not even the server: it has a network of its own")


@case("process.input", "run-job.isolated", profile=Profile.PROCESS, level=Level.MAY, covers=("GetJobStatus=OK",))
async def a_job_has_no_input(server: Subject) -> None:
    """A program that reads its standard input finds its end at once."""
    ended = await server.ended(await server.run(server.programs.cat))

    same("the status", ended.status, "COMPLETED")
