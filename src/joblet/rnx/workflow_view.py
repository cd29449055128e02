"""
What `rnx` shows of workflows: as text, as JSON, and live on a terminal.

JSON has the field names of the API; times are RFC 3339 or null, `exitCode` is null until the job has ended.

Runs in: the user's terminal. May not: know the wire.
Source: API specification, "Workflow Messages", "Status Display".
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from joblet.rnx.output import Output, escaped, time_or_null, time_text
from joblet.rnx.workflow_table import NOT_STARTED, listed_lines, progress_bar, summary_lines, table_lines

if TYPE_CHECKING:
    from joblet.client import JobletClient, Workflow, WorkflowJob, WorkflowStatus

BAR_WIDTH: Final = 40
_HOME_AND_CLEAR: Final = b"\x1b[H\x1b[J"
_SHORTEST_PAUSE_S: Final = 0.2
# Of the time that passes, looking takes at most so much: a workflow of 10,000 jobs is a megabyte.
_PAUSES_PER_LOOK: Final = 10.0


def status_text(status: "WorkflowStatus") -> list[str]:
    """The head of a workflow and the table of its jobs."""
    return [*summary_lines(status.workflow, datetime.now(UTC)), "", *table_lines(status.jobs)]


def list_text(workflows: "Iterable[Workflow]") -> list[str]:
    """A workflow a line."""
    return listed_lines(workflows)


def workflow_object(workflow: "Workflow") -> dict[str, object]:
    """A workflow for JSON."""
    return {
        "uuid": workflow.id,
        "workflow": workflow.name,
        "status": workflow.status,
        "totalJobs": workflow.total_jobs,
        "completedJobs": workflow.completed_jobs,
        "failedJobs": workflow.failed_jobs,
        "canceledJobs": workflow.canceled_jobs,
        "createdAt": time_or_null(workflow.created_at),
        "startedAt": time_or_null(workflow.started_at),
        "completedAt": time_or_null(workflow.ended_at),
        "reason": workflow.reason,
    }


def status_object(status: "WorkflowStatus") -> dict[str, object]:
    """A workflow and each of its jobs, for JSON."""
    return {**workflow_object(status.workflow), "jobs": [_job_object(job) for job in status.jobs]}


def states(client: "JobletClient", workflow_id: str) -> "Iterator[WorkflowStatus]":
    """
    The workflow as it comes along, until it has ended. A server that is away for a while is waited for.

    Raises:
        JobletError, ClientError: As `get_workflow_status`; also when the server does not come back.
    """
    from joblet.client import ClientError, JobletError
    from joblet.client.resumption import PATIENCE_S, is_lost

    lost_s: float | None = None
    pause_s = _SHORTEST_PAUSE_S
    while True:
        began_s = time.monotonic()
        try:
            status = client.get_workflow_status(workflow_id)
        except (JobletError, ClientError) as error:
            lost_s = began_s if lost_s is None else lost_s
            if not is_lost(error) or began_s - lost_s > PATIENCE_S:
                raise
        else:
            lost_s = None
            pause_s = max(_SHORTEST_PAUSE_S, _PAUSES_PER_LOOK * (time.monotonic() - began_s))
            yield status
            if status.workflow.ended:
                return
        time.sleep(pause_s)


def watch(client: "JobletClient", workflow_id: str, output: Output) -> int:
    """
    Show a workflow until it has ended: in place on a terminal that can, each change below the last one elsewhere.
    """
    in_place = output.stdout_is_terminal and os.environ.get("TERM") != "dumb"
    shown: object = None
    status: WorkflowStatus | None = None
    for status in states(client, workflow_id):
        if output.as_json:
            if shown != status:
                output.json_line(status_object(status))
        elif in_place:
            screen = "\n".join([*status_text(status), "", bar_text(status.workflow), ""])
            output.data(_HOME_AND_CLEAR + screen.encode("utf-8", "backslashreplace"))
        elif shown != status:
            output.lines(*([] if shown is None else [""]), *status_text(status))
        shown = status
    return exit_status(status.workflow) if status is not None else 1


def bar_text(workflow: "Workflow") -> str:
    """How far it has come, as a bar."""
    done = workflow.completed_jobs + workflow.failed_jobs + workflow.canceled_jobs
    return progress_bar(done, workflow.failed_jobs, max(1, workflow.total_jobs), BAR_WIDTH)


def exit_status(workflow: "Workflow") -> int:
    """0 only if all that should have succeeded did."""
    return 0 if workflow.status == "COMPLETED" else 1


def stopped_text(workflow: "Workflow") -> list[str]:
    """In the manner of a job that was stopped."""
    return [
        "Workflow stopped successfully:",
        f"ID: {escaped(workflow.id)}",
        f"Status: {escaped(workflow.status)}",
        f"EndTime: {time_text(workflow.ended_at)}",
    ]


def show(output: Output, as_object: object, text: Callable[[], Iterable[str]]) -> None:
    """One or the other, as was asked for."""
    if output.as_json:
        output.json(as_object)
    else:
        output.lines(*text())


def _job_object(job: "WorkflowJob") -> dict[str, object]:
    return {
        "jobId": job.job_id or NOT_STARTED,
        "jobName": job.name,
        "status": job.status,
        "dependencies": list(job.dependencies),
        "startTime": time_or_null(job.started_at),
        "endTime": time_or_null(job.ended_at),
        "exitCode": job.exit_code,
        "reason": job.reason,
        "attempts": job.attempts,
    }
