"""
Writes what a workflow is doing: the specification's table of its jobs, its head, the list of workflows, a bar.

    column         wide
    JOB ID         40     UUID
    JOB NAME       20     NAME
    STATUS         12     STATUS
    EXIT CODE      10     PROGRESS
    DEPENDENCIES   20     CREATED

What is longer makes its row longer, and nothing else: no text is cut. Names and statuses come from whoever made the
workflow, so control characters in them are escaped.

Runs in: the user's terminal. May not: know the wire, read a clock.
Source: API specification, "Job Names in Workflows", "Status Display".
"""

from typing import TYPE_CHECKING, Final

from joblet.rnx.output import escaped, time_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from joblet.client import Workflow, WorkflowJob

NOT_STARTED: Final = "0"
"""In the place of a job's UUID, as on the wire."""

_WIDTHS: Final = (40, 20, 12, 10, 20)
_RULE: Final = "-" * 117  # as the specification has it, though its columns are 106 wide


def table_lines(jobs: "Iterable[WorkflowJob]") -> list[str]:
    """The layout of "Status Display", byte for byte, trailing spaces too."""
    return [
        _row("JOB ID", "JOB NAME", "STATUS", "EXIT CODE", "DEPENDENCIES"),
        _RULE,
        *(
            _row(
                job.job_id or NOT_STARTED,
                job.name,
                job.status,
                "-" if job.exit_code is None else str(job.exit_code),
                ", ".join(job.dependencies) or "-",
            )
            for job in jobs
        ),
    ]


def listed_lines(workflows: "Iterable[Workflow]") -> list[str]:
    """One line a workflow, under a heading; progress is of jobs that completed."""
    return [
        _row("UUID", "NAME", "STATUS", "PROGRESS", "CREATED"),
        _RULE,
        *(
            _row(
                workflow.id,
                workflow.name,
                workflow.status,
                f"{workflow.completed_jobs}/{workflow.total_jobs}",
                time_text(workflow.created_at),
            )
            for workflow in workflows
        ),
    ]


def summary_lines(workflow: "Workflow", now: "datetime") -> list[str]:
    """
    What stands above the table.

    Args:
        now: Until when a workflow has lasted that has not ended.
    """
    progress = f"{workflow.completed_jobs}/{workflow.total_jobs} completed"
    if workflow.failed_jobs:
        progress += f", {workflow.failed_jobs} failed"
    if workflow.canceled_jobs:
        progress += f", {workflow.canceled_jobs} canceled"
    duration = ""
    if workflow.started_at is not None:
        duration = duration_text(((workflow.ended_at or now) - workflow.started_at).total_seconds())
    return [
        f"Workflow: {escaped(workflow.name)}",
        f"UUID: {escaped(workflow.id)}",
        f"Status: {escaped(workflow.status)}",
        f"Progress: {progress}",
        f"Created At: {time_text(workflow.created_at)}",
        f"Started At: {time_text(workflow.started_at)}",
        f"Completed At: {time_text(workflow.ended_at)}",
        f"Duration: {duration}",
        *([f"Reason: {escaped(workflow.reason)}"] if workflow.reason else []),
    ]


def progress_bar(done: int, failed: int, total: int, width: int) -> str:
    """
    `[██████░░░░]  6/10  1 failed`: how far a workflow has come.

    Args:
        done: Jobs that have ended, however; `failed` of them failed.
        total: Jobs, at least one.
        width: Characters between the brackets. All of them are full when every job has ended, and not before.
    """
    full = width * done // total
    failures = f"  {failed} failed" if failed else ""
    return f"[{'█' * full}{'░' * (width - full)}]  {done}/{total}{failures}"


def duration_text(seconds: float) -> str:
    """Whole seconds, as in 1h2m3s; clocks that disagree make it 0s and not negative."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def _row(*cells: str) -> str:
    return " ".join(f"{escaped(cell):<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
