"""
What a job is on its machine, as far as `sh`, `echo`, `sleep` and `cat` can see it from inside.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob" (Job Execution Environment), "Termination Process"; proc(5).
"""

import asyncio

from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Skipped, expect, same
from joblet_conformance.subject import Subject


@case(
    "process.group-sigterm",
    "stop-job.sigterm",
    profile=Profile.PROCESS,
    covers=("StopJob=OK",),
)
async def sigterm_goes_to_the_whole_group(server: Subject) -> None:
    """A process that the job's first one has started is sent SIGTERM too, and can act on it."""
    sh, sleep = server.programs.sh, server.programs.sleep
    child = f"trap 'echo the child got SIGTERM; exit' TERM; echo ready; while true; do {sleep} 0.01; done"
    job = await server.shell(f'trap : TERM; {sh} -c "$0" & wait; wait', child)
    async with server.reader(job.id) as reader:
        await reader.until(b"ready")
        await server.stop(job.id)
        log = await reader.rest()

    expect(b"the child got SIGTERM" in log, f"the log is {log!r}")


@case(
    "process.group-sigkill",
    "stop-job.sigkill",
    "stop-job.clean-up",
    profile=Profile.PROCESS,
    covers=("StopJob=OK",),
)
async def nothing_of_a_stopped_job_is_left(server: Subject) -> None:
    """A child that ignores SIGTERM, and whose parent has gone, prints nothing any more once StopJob has answered."""
    sh, sleep = server.programs.sh, server.programs.sleep
    child = f"trap '' TERM; while true; do echo tick; {sleep} 0.01; done"
    job = await server.shell(f'({sh} -c "$0" &); {sleep} 3600', child)
    async with server.reader(job.id) as reader:
        await reader.until(b"tick")
        await server.stop(job.id)
        await reader.rest()
    first = await server.log(job.id)
    await asyncio.sleep(0.1)

    same("the log a moment later", await server.log(job.id), first)


@case("process.network", "run-job.network", profile=Profile.PROCESS, level=Level.SHOULD, covers=("GetJobLogs=OK",))
async def a_job_has_the_servers_network(server: Subject) -> None:
    """With host networking, the port that the server listens on is among those that the job sees."""
    port = int(server.target.address.rpartition(":")[2])
    files = "/proc/net/tcp /proc/net/tcp6"
    log = await server.log((await server.shell(f"{server.programs.cat} {files}")).id)
    if b"local_address" not in log:
        raise Skipped("the job has no /proc/net to look into")

    listening = [line.split()[1] for line in log.splitlines() if line.split()[3:4] == [b"0A"]]
    if not any(address.endswith(f":{port:04X}".encode()) for address in listening):
        raise Skipped(f"the job sees nothing listen on port {port}: perhaps the server is behind another address")


@case("process.input", "run-job.isolated", profile=Profile.PROCESS, level=Level.MAY, covers=("GetJobStatus=OK",))
async def a_job_has_no_input(server: Subject) -> None:
    """A program that reads its standard input finds its end at once."""
    ended = await server.ended(await server.run(server.programs.cat))

    same("the status", ended.status, "COMPLETED")
