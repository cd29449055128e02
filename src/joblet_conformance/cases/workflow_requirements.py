"""
What a workflow's job requires: all of it, to its end, as it was asked for.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Key Workflow Features" (dependencies), "Job Names in Workflows".
"""

import asyncio
from typing import Final

from joblet_conformance.case import Level, Profile, case
from joblet_conformance.cases.workflows import NOT_STARTED, jobs_until, run, seconds
from joblet_conformance.evidence import expect, same
from joblet_conformance.subject import Subject
from joblet_conformance.workflowfile import job

SETTLES_S: Final = 0.1  # in which a server would start what it should not
# What each of these requires COMPLETED, where breaks fails and good does not.
NEVER: Final = {"after": ["breaks"], "later": ["after"], "first": ["breaks", "good"], "last": ["good", "breaks"]}


@case(
    "workflow.every-requirement",
    "workflow.dependencies",
    "workflow-names.requires",
    profile=Profile.WORKFLOW,
    covers=("GetWorkflowStatus=OK",),
)
async def all_that_is_required_has_ended_before(server: Subject) -> None:
    """A job with two requirements waits for the later one, also where that itself requires another job."""
    requires: dict[str, list[str]] = {
        "quick": [],
        "slow": [],
        "middle": ["slow"],
        "end": ["middle"],
        "early": ["slow", "quick"],
        "late": ["quick", "middle"],
    }
    workflow = await run(
        server,
        {
            name: job(
                *(server.programs.sleep, "1.2" if name in ("slow", "middle") else "0"),
                requires=dict.fromkeys(others, "COMPLETED"),
            )
            for name, others in requires.items()
        },
    )
    jobs = await jobs_until(server, workflow, **dict.fromkeys(requires, "COMPLETED"))

    for name, others in requires.items():
        for other in others:
            started, ended = seconds(jobs[name].startTime), seconds(jobs[other].endTime)
            expect(started >= ended, f"{name} started at {started}, and {other}, which it requires, ended at {ended}")


@case(
    "workflow.failed",
    "workflow-job.exit-code",
    "workflow-job.status",
    "workflow-job.not-started",
    profile=Profile.WORKFLOW,
    covers=("GetWorkflowStatus=OK", "WorkflowJob.exitCode", "WorkflowJob.status"),
)
async def what_requires_success_never_starts_after_a_failure(server: Subject) -> None:
    """A job that fails has its exit code, and what requires it COMPLETED never starts, nor what requires that."""
    workflow = await run(
        server,
        {
            "breaks": job(server.programs.sh, "-c", "exit 3"),
            "good": job(server.programs.echo, "good"),
            **{
                name: job(server.programs.echo, "never", requires=dict.fromkeys(others, "COMPLETED"))
                for name, others in NEVER.items()
            },
        },
    )
    await jobs_until(server, workflow, breaks="FAILED", good="COMPLETED")
    await asyncio.sleep(SETTLES_S)
    jobs = await jobs_until(server, workflow, breaks="FAILED", good="COMPLETED")

    same("exitCode", jobs["breaks"].exitCode, 3)
    for name, others in NEVER.items():
        same(f"the jobId of what requires {' and '.join(others)}", jobs[name].jobId, NOT_STARTED)


@case(
    "workflow.requires-failed",
    "workflow.dependencies",
    "workflow-names.requires",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=("GetWorkflowStatus=OK",),
)
async def a_job_may_require_a_failure(server: Subject) -> None:
    """What requires another job FAILED, as it could require it COMPLETED, starts when that has failed."""
    workflow = await run(
        server,
        {
            "breaks": job(server.programs.sh, "-c", "exit 3"),
            "alarm": job(server.programs.echo, "alarm", requires={"breaks": "FAILED"}),
        },
    )
    jobs = await jobs_until(server, workflow, breaks="FAILED", alarm="COMPLETED")

    same("the log of alarm", await server.log(jobs["alarm"].jobId), b"alarm\n")


@case(
    "workflow.stopped",
    "workflow-job.status",
    "status.stopped",
    profile=Profile.WORKFLOW,
    covers=("StopJob=OK", "GetWorkflowStatus=OK"),
)
async def a_stopped_job_of_a_workflow_is_stopped(server: Subject) -> None:
    """A workflow's job can be stopped like any other, and what requires it COMPLETED never starts."""
    workflow = await run(
        server,
        {
            "long": job(server.programs.sleep, "3600"),
            "next": job(server.programs.echo, "never", requires={"long": "COMPLETED"}),
        },
    )
    running = (await jobs_until(server, workflow, long="RUNNING"))["long"]
    await server.stop(running.jobId)
    await asyncio.sleep(SETTLES_S)
    jobs = await jobs_until(server, workflow, long="STOPPED")

    same("the exit code", jobs["long"].exitCode, -1)
    same("the jobId of the next", jobs["next"].jobId, NOT_STARTED)
