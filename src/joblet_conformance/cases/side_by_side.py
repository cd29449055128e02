"""
Workflows that run at the same time, and when their jobs have run.

Runs in: the terminal of whoever tests a server.
Source: API specification, "WorkflowJob", "Job Names in Workflows"; protobuf, "Timestamp".
"""

from typing import Final

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case, fields
from joblet_conformance.cases.workflows import is_recent, jobs_until, run
from joblet_conformance.evidence import expect, is_uuid, same
from joblet_conformance.subject import Subject
from joblet_conformance.workflowfile import job

A_SECOND_NS: Final = 1_000_000_000


@case(
    "workflow.side-by-side",
    "workflow-names.id",
    "workflow-names.derived",
    "workflow-job.job-id",
    "workflow-job.exit-code",
    "workflow-status.jobs",
    "job.id",
    profile=Profile.WORKFLOW,
    covers=("RunWorkflow=OK", "GetWorkflowStatus=OK", *fields("WorkflowJob", "jobId", "jobName", "exitCode")),
)
async def workflows_with_the_same_names_have_jobs_of_their_own(server: Subject) -> None:
    """Of two workflows at once whose jobs have the same names, each has other jobs, logs, exit codes and ends."""
    programs = server.programs
    codes = {"left": 0, "right": 3}
    workflows = {}
    for side, code in codes.items():
        prepares = job(programs.sh, "-c", f"{programs.sleep} 0.2; echo prepares {side}")
        works = job(programs.sh, "-c", f"echo works {side}; exit {code}", requires={"prepares": "COMPLETED"})
        workflows[side] = await run(server, {"prepares": prepares, "works": works}, "same.yaml")
    ids = set()
    for side, code in codes.items():
        ends = {"prepares": "COMPLETED", "works": "FAILED" if code else "COMPLETED"}
        jobs = await jobs_until(server, workflows[side], **ends)

        same(f"the jobs of {side}", sorted(jobs), ["prepares", "works"])
        same(f"the exit codes of {side}", (jobs["prepares"].exitCode, jobs["works"].exitCode), (0, code))
        for name, each in jobs.items():
            is_uuid("the jobId", each.jobId)
            ids.add(each.jobId)
            same(f"the log of {name} of {side}", await server.log(each.jobId), f"{name} {side}\n".encode())

    same("the number of different ids of four jobs", len(ids), 4)
    same("the number of different ids of two workflows", len(set(workflows.values())), 2)


@case(
    "workflow.times",
    "workflow-job.start-time",
    "workflow-job.end-time",
    profile=Profile.WORKFLOW,
    level=Level.SHOULD,
    covers=("GetWorkflowStatus=OK", *fields("WorkflowJob", "startTime", "endTime"), *fields("Timestamp", "nanos")),
)
async def jobs_end_after_they_have_started(server: Subject) -> None:
    """No job of a workflow ends before it starts, and nanoseconds are those of one second, whatever its end."""
    programs = server.programs
    workflow = await run(
        server,
        {
            "good": job(programs.echo, "good"),
            "slow": job(programs.sleep, "0.2"),
            "bad": job(programs.sh, "-c", "exit 3"),
        },
    )
    for name, each in (await jobs_until(server, workflow, good="COMPLETED", slow="COMPLETED", bad="FAILED")).items():
        for what, moment in (("startTime", each.startTime), ("endTime", each.endTime)):
            expect(0 <= moment.nanos < A_SECOND_NS, f"{what} of {name} has {moment.nanos} nanoseconds")
            is_recent(f"{what} of {name}", moment)
        expect(_ns(each.endTime) >= _ns(each.startTime) > 0, f"{name} has started and ended at {each}")


def _ns(moment: pb.Timestamp) -> int:
    return moment.seconds * A_SECOND_NS + moment.nanos
