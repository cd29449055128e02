"""
What `rnx` prints of workflows: the specification's table byte for byte, and what stands around it.

Runs in: pytest.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joblet.client import Workflow, WorkflowJob
from joblet.rnx.workflow_table import (
    duration_text,
    listed_lines,
    progress_bar,
    summary_lines,
    table_lines,
)

GOLDEN = Path(__file__).parent / "golden"
CREATED = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
SETUP = WorkflowJob(job_id="f47ac10b-58cc-4372-a567-0e02b2c3d479", name="setup-data", status="COMPLETED", exit_code=0)
PROCESS = WorkflowJob(
    job_id="6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    name="process-data",
    status="RUNNING",
    dependencies=("setup-data",),
)
WORKFLOW = Workflow(
    id="a1b2c3d4-e5f6-7890-1234-567890abcdef",
    name="pipeline",
    status="RUNNING",
    total_jobs=7,
    completed_jobs=3,
    failed_jobs=1,
    canceled_jobs=2,
    created_at=CREATED,
    started_at=CREATED + timedelta(seconds=1),
)
NOW = CREATED + timedelta(minutes=65, seconds=4)


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_the_jobs_of_a_workflow_are_printed_in_the_layout_of_the_specification() -> None:
    """The trailing spaces and the 117 dashes belong to it."""
    assert text(table_lines([SETUP, PROCESS])) == golden("workflow-jobs")


def test_a_job_that_waits_has_no_exit_code_and_names_all_it_waits_for() -> None:
    waiting = WorkflowJob(job_id=None, name="report", status="PENDING", dependencies=("setup-data", "process-data"))

    assert table_lines([waiting])[2].split(maxsplit=4) == ["0", "report", "PENDING", "-", "setup-data, process-data"]


def test_a_long_name_is_not_cut_and_lengthens_its_own_row_only() -> None:
    long = replace(SETUP, name="x" * 50)

    lines = table_lines([long, PROCESS])

    assert f" {'x' * 50} COMPLETED " in lines[2]
    assert text([*lines[:2], lines[3]]) == text([*table_lines([PROCESS])])


def test_the_head_of_a_workflow() -> None:
    """The space after `Completed At:` belongs to it, as that of `Ended At:` to a job's."""
    assert text(summary_lines(WORKFLOW, NOW)) == golden("workflow-status")


def test_what_did_not_happen_is_not_counted() -> None:
    calm = replace(WORKFLOW, failed_jobs=0, canceled_jobs=0)

    assert summary_lines(calm, NOW)[3] == "Progress: 3/7 completed"


@pytest.mark.parametrize(
    ("started_at", "completed_at", "shown"),
    [
        (None, None, "Duration: "),
        (CREATED, None, "Duration: 1h5m4s"),
        (CREATED, CREATED + timedelta(seconds=59.9), "Duration: 59s"),
        (NOW + timedelta(hours=1), None, "Duration: 0s"),
    ],
)
def test_a_workflow_lasts_from_its_first_start_to_its_end_or_to_now(
    started_at: datetime | None, completed_at: datetime | None, shown: str
) -> None:
    workflow = replace(WORKFLOW, started_at=started_at, ended_at=completed_at)

    assert summary_lines(workflow, NOW)[-1] == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0s"), (60, "1m0s"), (3600, "1h0m0s"), (90061.7, "25h1m1s")])
def test_durations_are_shown_in_whole_seconds(seconds: float, shown: str) -> None:
    assert duration_text(seconds) == shown


def test_workflows_are_listed_one_a_line_under_a_heading() -> None:
    done = replace(WORKFLOW, id="0b2c4d6e-0000-4000-8000-000000000001", name="nightly-report", status="COMPLETED")

    assert text(listed_lines([WORKFLOW, replace(done, completed_jobs=7)])) == golden("workflow-list")


def test_every_text_a_stranger_may_have_written_is_escaped() -> None:
    evil = "\x1b[2J"
    row = WorkflowJob(job_id=evil, name=evil, status=evil, exit_code=0, dependencies=(evil,))
    workflow = replace(WORKFLOW, id=evil, name=evil, status=evil)

    printed = text([*table_lines([row]), *listed_lines([workflow]), *summary_lines(workflow, NOW)])

    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("done", "failed", "total", "width", "bar"),
    [
        (6, 1, 10, 10, "[██████░░░░]  6/10  1 failed"),
        (0, 0, 3, 4, "[░░░░]  0/3"),
        (199, 0, 200, 10, "[█████████░]  199/200"),
        (200, 0, 200, 10, "[██████████]  200/200"),
    ],
)
def test_a_bar_is_full_when_every_job_has_ended_and_not_before(
    done: int, failed: int, total: int, width: int, bar: str
) -> None:
    assert progress_bar(done, failed, total, width) == bar


def test_why_a_workflow_ended_is_told_when_its_jobs_do_not_say_so() -> None:
    assert summary_lines(replace(WORKFLOW, reason="its file\x1b cannot be read"), NOW)[-1] == (
        r"Reason: its file\x1b cannot be read"
    )
    assert not any(line.startswith("Reason") for line in summary_lines(WORKFLOW, NOW))
