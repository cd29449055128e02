"""
Workflows: run, look up, list, stop.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: API specification, "Workflow API".
"""

from collections.abc import Iterator, Sequence
from functools import partial

from joblet.domain.errors import (
    AmbiguousWorkflowId,
    InvalidRequest,
    UnavailableInWorkflow,
    WorkflowNotFound,
    WorkflowNotRunning,
)
from joblet.domain.limits import Machine
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import WorkflowStore
from joblet.services.jobs import PIECE_OF_LIST
from joblet.services.tasks import Aside
from joblet.services.workflow_check import check
from joblet.services.workflow_runs import WorkflowRuns


class Workflows:
    """The use cases of workflows. `WorkflowRuns.resume` must have run before the first is called."""

    def __init__(self, runs: WorkflowRuns, store: WorkflowStore, aside: Aside, machine: Machine) -> None:
        self._machine = machine
        self._runs = runs
        self._store = store
        self._aside = aside

    async def run(self, name: str, text: str, *, total_jobs: int = 0, job_names: tuple[str, ...] = ()) -> Workflow:
        """
        Check a workflow and begin with it. A caller that is cancelled does not take it along.

        Args:
            name: What the user calls it.
            text: Its file.
            total_jobs, job_names: What the client takes it for; a client that reads it otherwise must not run it.

        Raises:
            InvalidRequest: The client reads it otherwise.
            InvalidWorkflow, UnavailableInWorkflow: It was refused, with everything that is wrong with it.
            StorageFailed: It was not stored, and nothing of it runs.
        """
        file = await self._aside(partial(check, text, name, self._machine))
        there = file.definition.jobs
        if total_jobs and total_jobs != len(there):
            raise InvalidRequest(f"totalJobs is {total_jobs}, but the workflow has {len(there)} jobs")
        if unknown := [job for job in job_names if job not in there]:
            raise InvalidRequest(f"jobOrder names a job that the workflow does not have: {unknown[0]}")
        if file.unavailable:
            raise UnavailableInWorkflow([problem.at(name or "workflow") for problem in file.unavailable])
        return await self._runs.begin(name, text, file)

    def get(self, id_or_prefix: str) -> Workflow:
        """
        One workflow as it stands now.

        Raises:
            WorkflowNotFound, AmbiguousWorkflowId: As for jobs.
        """
        return self._newest(self._resolve(id_or_prefix))

    def jobs(self, id_or_prefix: str) -> Sequence[WorkflowJob]:
        """Each job of a workflow as it stands now, in the order of the file. Raises as `get`."""
        workflow_id = self._resolve(id_or_prefix)
        run = self._runs.get(workflow_id)
        if run is None:
            return self._store.jobs(workflow_id)
        return self._runs.jobs_of(run)

    def newest_first(self, *, ended: bool) -> Iterator[Sequence[Workflow]]:
        """
        Every workflow as it stands when its piece is asked for, newest first.

        Args:
            ended: Also those that have ended.
        """
        if not ended:
            under_way = [run for run in reversed(self._runs.all()) if not run.workflow.ended_ns]
            for begin in range(0, len(under_way), PIECE_OF_LIST):
                yield [self._runs.as_it_stands(run) for run in under_way[begin : begin + PIECE_OF_LIST]]
            return
        last = None
        while piece := self._store.older_than(last, PIECE_OF_LIST):
            yield [self._newest(workflow.id, workflow) for workflow in piece]
            last = piece[-1].id

    async def stop(self, id_or_prefix: str) -> Workflow:
        """
        Start nothing more of a workflow, stop what runs of it, and return once nothing of it does.

        May be called many times at once. A caller that is cancelled does not call the stop off.

        Raises:
            WorkflowNotFound, AmbiguousWorkflowId: As `get`.
            WorkflowNotRunning: It had already ended, with its state.
        """
        workflow_id = self._resolve(id_or_prefix)
        run = self._runs.get(workflow_id)
        if run is None or run.workflow.ended_ns:
            raise WorkflowNotRunning(workflow_id, self._newest(workflow_id).state)
        await self._runs.stop(run)
        await run.over.wait()
        return run.workflow

    def _resolve(self, id_or_prefix: str) -> WorkflowId:
        prefix = id_or_prefix.lower()
        if self._runs.get(WorkflowId(prefix)) is not None:
            return WorkflowId(prefix)
        found = self._store.matching(prefix, 2)
        if not found:
            raise WorkflowNotFound(id_or_prefix)
        if len(found) > 1:
            raise AmbiguousWorkflowId(id_or_prefix, self._store.matching(prefix, 1_000_000))
        return found[0]

    def _newest(self, workflow_id: WorkflowId, stored: Workflow | None = None) -> Workflow:
        run = self._runs.get(workflow_id)
        workflow = self._runs.as_it_stands(run) if run is not None else stored or self._store.get(workflow_id)
        if workflow is None:
            raise WorkflowNotFound(workflow_id)
        return workflow
