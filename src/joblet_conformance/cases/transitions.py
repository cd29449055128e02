"""
A job only goes forward, also in the list and in its workflow's status, however often one looks.

Runs in: the terminal of whoever tests a server.
Source: API specification, "ListJobs", "Job Status Values", "WorkflowJob".
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from joblet_conformance.case import Profile, case
from joblet_conformance.cases.get_job_status import only_forward
from joblet_conformance.cases.workflows import NOT_STARTED, run, status
from joblet_conformance.evidence import Failed, Found, expect, same
from joblet_conformance.subject import ENDED, STATUSES, Subject
from joblet_conformance.together import together
from joblet_conformance.workflowfile import job

WATCHERS: Final = 3
GOING: Final = ("INITIALIZING", "RUNNING")


@case(
    "list-jobs.transitions",
    "list-jobs.lists",
    "status.initializing",
    "status.running",
    "status.completed",
    "status.failed",
    "status.stopped",
    alone=True,
    covers=("ListJobs=OK", "Job.status"),
)
async def no_list_shows_an_illegal_transition(server: Subject) -> None:
    """Listed without pause, each job only goes forward: INITIALIZING, RUNNING, then one end, at which it stays."""
    completed, failed = await server.echo("at once"), await server.shell(f"{server.programs.sleep} 0.3; exit 5")
    stopped = await server.sleeper()
    watched = [each.id for each in (completed, failed, stopped)]

    async def stop_at_last() -> dict[str, list[str]]:
        for each in (completed, failed):
            await server.ended(each)
        await server.running(stopped)
        await server.stop(stopped.id)
        return await _listed_paths(server, watched)

    for paths in await together(*(_listed_paths(server, watched) for _ in range(WATCHERS)), stop_at_last()):
        for path in paths.values():
            only_forward(path)
        same("the last statuses", [paths[each][-1] for each in watched], ["COMPLETED", "FAILED", "STOPPED"])


async def _listed_paths(server: Subject, job_ids: Sequence[str]) -> dict[str, list[str]]:
    """Every status of these jobs in the lists of one client, without repeats, until all have ended."""
    paths: dict[str, list[str]] = {job_id: [] for job_id in job_ids}
    async with _in_time(server, paths):
        while not all(path and path[-1] not in GOING for path in paths.values()):
            listed = await server.listed()
            for job_id, path in paths.items():
                if path[-1:] != [listed[job_id].status]:
                    path.append(listed[job_id].status)
    return paths


@contextlib.asynccontextmanager
async def _in_time(server: Subject, paths: Mapping[str, object]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(server.patience_s):
            yield
    except TimeoutError:
        raise Failed(f"after {server.patience_s:g} s not all jobs are at their end; told were {dict(paths)}") from None


@case(
    "workflow.transitions",
    "workflow-job.job-id",
    "workflow-job.started",
    "workflow-job.status",
    "workflow.monitoring",
    "status.running",
    profile=Profile.WORKFLOW,
    alone=True,
    covers=("GetWorkflowStatus=OK", "WorkflowJob.jobId", "WorkflowJob.status"),
)
async def no_workflow_shows_an_illegal_transition(server: Subject) -> None:
    """Asked without pause, a workflow's job only goes forward, and its jobId, once it has one, stays."""
    workflow = await run(
        server,
        {
            "slow": job(server.programs.sleep, "0.3"),
            "fails": job(server.programs.sh, "-c", "exit 5"),
            "last": job(server.programs.echo, "at last", requires={"slow": "COMPLETED"}),
        },
    )
    ends = {"slow": "COMPLETED", "fails": "FAILED", "last": "COMPLETED"}
    for paths in await together(*(_workflow_paths(server, workflow, list(ends)) for _ in range(WATCHERS))):
        for name, path in paths.items():
            told = " → ".join(f"{state} with the jobId {job_id}" for job_id, state in path)
            steps = [_step(state) for _, state in path]
            # "0" and its UUID: however often it is looked at, each is one run of answers.
            ids = [job_id for job_id, _ in itertools.groupby(job_id for job_id, _ in path)]

            expect(steps == sorted(steps) and steps.count(_step(ends[name])) == 1, f"the job {name} is {told}")
            expect(ids[-1] != NOT_STARTED and set(ids[:-1]) <= {NOT_STARTED}, f"the job {name} is {told}")
            same(f"the last status of {name}", path[-1][1], ends[name])


def _step(state: str) -> int:
    """How far a job has come. What a server calls one that has not begun is not said, so any other word is that."""
    return 1 + min(STATUSES.index(state), len(GOING)) if state in STATUSES else 0


async def _workflow_paths(server: Subject, workflow: str, names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Every jobId and status of these jobs that one client is told, without repeats, until all have ended."""
    paths: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    async with _in_time(server, paths):
        while not all(path and path[-1][1] in ENDED for path in paths.values()):
            jobs = Found("the workflow", {each.jobName: each for each in (await status(server, workflow)).jobs})
            for name, path in paths.items():
                if not path and name not in jobs:
                    continue  # a server may read the file after it has answered
                told = (jobs[name].jobId, jobs[name].status)
                if path[-1:] != [told]:
                    path.append(told)
    return paths
