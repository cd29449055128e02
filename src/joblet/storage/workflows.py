"""
Workflows in SQLite: a workflow to a row and back.

Runs in: server loop. May not: decide anything about a workflow.
"""

import json
from collections.abc import Sequence
from typing import Final, cast

from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import StoredWorkflow
from joblet.storage.database import Database, Value
from joblet.storage.secrets import CannotUnseal, Secrets

_COLUMNS: Final = "id, created_ns, name, yaml, total, state, started_ns, ended_ns, completed, failed, canceled, reason"
_LISTED: Final = _COLUMNS.replace("yaml", "''")  # a thousand files of half a megabyte need not be read for a list
_INSERT: Final = "INSERT INTO workflows (id, created_ns, name, yaml, sealed, total) VALUES (?, ?, ?, ?, ?, ?)"
_FINISH: Final = (
    "UPDATE workflows SET sealed = '', state = ?, started_ns = ?, ended_ns = ?, completed = ?, failed = ?,"
    " canceled = ?, reason = ?, jobs = ? WHERE id = ?"
)


class WorkflowStoreAdapter:
    """`ports.WorkflowStore` on a database that others use too."""

    def __init__(self, database: Database, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets

    async def add(self, workflow: Workflow, text: str) -> None:
        """See `ports.WorkflowStore.add`."""
        sealed = self._secrets.seal(text)
        values = (
            workflow.id, workflow.created_ns, workflow.name, workflow.yaml, sealed, workflow.counts.total
        )  # fmt: skip
        await self._database.write(_INSERT, values)

    async def request_stop(self, workflow_id: WorkflowId) -> None:
        """See `ports.WorkflowStore.request_stop`."""
        await self._database.write("UPDATE workflows SET stop_requested = 1 WHERE id = ?", (workflow_id,))

    async def finish(self, workflow: Workflow, jobs: Sequence[WorkflowJob]) -> None:
        """See `ports.WorkflowStore.finish`."""
        counts = workflow.counts
        await self._database.write(
            _FINISH,
            (
                workflow.state.value,
                workflow.started_ns,
                workflow.ended_ns,
                counts.completed,
                counts.failed,
                counts.canceled,
                workflow.reason,
                json.dumps([_listed(job) for job in jobs]),
                workflow.id,
            ),
        )

    def get(self, workflow_id: WorkflowId) -> Workflow | None:
        """See `ports.WorkflowStore.get`."""
        rows = self._database.read(f"SELECT {_COLUMNS} FROM workflows WHERE id = ?", (workflow_id,))
        return _workflow(rows[0]) if rows else None

    def jobs(self, workflow_id: WorkflowId) -> Sequence[WorkflowJob]:
        """See `ports.WorkflowStore.jobs`."""
        rows = self._database.read("SELECT jobs FROM workflows WHERE id = ?", (workflow_id,))
        return [_job(listed) for listed in json.loads(cast("str", rows[0][0]))] if rows else []

    def matching(self, prefix: str, limit: int) -> Sequence[WorkflowId]:
        """See `ports.WorkflowStore.matching`."""
        return [WorkflowId(found) for found in self._database.ids("workflows", prefix, limit)]

    def older_than(self, workflow_id: WorkflowId | None, limit: int) -> Sequence[Workflow]:
        """See `ports.WorkflowStore.older_than`."""
        return [_workflow(row) for row in self._database.older_than("workflows", _LISTED, workflow_id, limit)]

    def unfinished(self) -> Sequence[StoredWorkflow]:
        """See `ports.WorkflowStore.unfinished`."""
        rows = self._database.read(
            f"SELECT {_COLUMNS}, sealed, stop_requested FROM workflows WHERE state = '' ORDER BY created_ns, rowid"
        )
        return [StoredWorkflow(_workflow(row), self._unsealed(cast("str", row[-2])), bool(row[-1])) for row in rows]

    def _unsealed(self, sealed: str) -> str:
        try:
            return self._secrets.unseal(sealed)
        except CannotUnseal:
            return ""


def _workflow(row: tuple[Value, ...]) -> Workflow:
    # Only this module writes the table, and a damaged file is SQLite's to notice: no check of its own.
    workflow_id, created_ns, name, yaml, total, state = row[:6]
    started_ns, ended_ns, completed, failed, canceled, reason = row[6:12]
    return Workflow(
        WorkflowId(cast("str", workflow_id)),
        cast("str", name),
        cast("int", created_ns),
        cast("str", yaml),
        Counts(cast("int", total), cast("int", completed), cast("int", failed), cast("int", canceled)),
        WorkflowState(cast("str", state)) if state else WorkflowState.PENDING,
        cast("int", started_ns),
        cast("int", ended_ns),
        cast("str", reason),
    )


def _listed(job: WorkflowJob) -> list[object]:
    return [
        job.name,
        job.dependencies,
        job.status,
        job.job_id,
        job.started_ns,
        job.ended_ns,
        job.exit_code,
        job.reason,
        job.attempts,
    ]


def _job(listed: list[object]) -> WorkflowJob:
    name, dependencies, *rest = listed
    return WorkflowJob(cast("str", name), tuple(cast("list[str]", dependencies)), *rest)  # type: ignore[arg-type]
