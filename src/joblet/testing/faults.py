"""
Failures on purpose: every call through a port is a point where one may strike.

Which fault may strike where, and why the services must survive it:

    engine.start     CgroupSetupFailed, IsolationFailed: a machine that is full or misconfigured.
    engine.stop      EngineUnavailable: the supervisor was killed; it is back soon and asked again.
    engine.forget    likewise; the ends are told again.
    store.add        StorageFailed: the disk is full. Nothing was stored.
    store.update     likewise; the old phase stands, and the true one must not be lost.
    workflows.add, workflows.request_stop, workflows.finish    StorageFailed, likewise.
    any, before or after its effect    CRASH: the server is killed there; the next one finds what it left.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from joblet.domain.job import Job, JobId, Running
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import Engine, EngineEvent, JobStore, StoredWorkflow, WorkflowStore


class Crash(Exception):
    """Not raised: from this point on, this server does nothing any more, as after kill -9."""


CRASH: Final = Crash()


class Faults:
    """
    Fails once: when the points of interest have been passed for the n-th time.

    Args:
        nth: 1 for the first; 0 for never.
        error: What is raised there, or CRASH.
        only: The points of interest by name ("store.add"); empty for all.

    Attributes:
        fired: Where it struck; empty as long as it has not. A run without it has seen each point fail.
        crashed: Whether this server is dead.
    """

    def __init__(self, nth: int = 0, error: Exception = CRASH, *, only: Sequence[str] = ()) -> None:
        self._left = nth
        self._error = error
        self._only = frozenset(only)
        self.fired = ""
        self.crashed = asyncio.Event()

    async def before(self, point: str) -> None:
        """Pass a point whose effect has not happened. Raises what was asked for, when it is its turn."""
        await self._pass(point)

    async def after(self, point: str) -> None:
        """Pass a point whose effect has happened: only a crash can strike here, an error would be a lie."""
        if isinstance(self._error, Crash):
            await self._pass(f"after {point}")

    def crash(self) -> None:
        """Kill this server now."""
        self.crashed.set()

    async def _pass(self, point: str) -> None:
        if self.crashed.is_set():
            await asyncio.get_running_loop().create_future()
        if self._only and point.removeprefix("after ") not in self._only:
            return
        self._left -= 1
        if self._left == 0:
            self.fired = point
            if isinstance(self._error, Crash):
                self.crash()
                await asyncio.get_running_loop().create_future()
            raise self._error


class FaultyStore:
    """`ports.JobStore` that fails when told to."""

    def __init__(self, store: JobStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    async def add(self, job: Job) -> None:
        """See `ports.JobStore.add`."""
        await self._faults.before("store.add")
        await self._store.add(job)
        await self._faults.after("store.add")

    async def update(self, job: Job) -> None:
        """See `ports.JobStore.update`."""
        await self._faults.before("store.update")
        await self._store.update(job)
        await self._faults.after("store.update")

    def get(self, job_id: JobId) -> Job | None:
        """See `ports.JobStore.get`."""
        return self._store.get(job_id)

    def matching(self, prefix: str, limit: int) -> Sequence[JobId]:
        """See `ports.JobStore.matching`."""
        return self._store.matching(prefix, limit)

    def all(self) -> Sequence[Job]:
        """See `ports.JobStore.all`."""
        return self._store.all()

    def older_than(self, job_id: JobId | None, limit: int) -> Sequence[Job]:
        """See `ports.JobStore.older_than`."""
        return self._store.older_than(job_id, limit)

    def unfinished(self) -> Sequence[Job]:
        """See `ports.JobStore.unfinished`."""
        return self._store.unfinished()

    def of_workflow(self, workflow: str) -> Sequence[Job]:
        """See `ports.JobStore.of_workflow`."""
        return self._store.of_workflow(workflow)

    async def close(self) -> None:
        """See `ports.JobStore.close`. The store itself stays open for the next server."""


class FaultyWorkflowStore:
    """`ports.WorkflowStore` that fails when told to."""

    def __init__(self, store: WorkflowStore, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    async def add(self, workflow: Workflow, text: str) -> None:
        """See `ports.WorkflowStore.add`."""
        await self._faults.before("workflows.add")
        await self._store.add(workflow, text)
        await self._faults.after("workflows.add")

    async def request_stop(self, workflow_id: WorkflowId) -> None:
        """See `ports.WorkflowStore.request_stop`."""
        await self._faults.before("workflows.request_stop")
        await self._store.request_stop(workflow_id)
        await self._faults.after("workflows.request_stop")

    async def finish(self, workflow: Workflow, jobs: Sequence[WorkflowJob]) -> None:
        """See `ports.WorkflowStore.finish`."""
        await self._faults.before("workflows.finish")
        await self._store.finish(workflow, jobs)
        await self._faults.after("workflows.finish")

    def get(self, workflow_id: WorkflowId) -> Workflow | None:
        """See `ports.WorkflowStore.get`."""
        return self._store.get(workflow_id)

    def jobs(self, workflow_id: WorkflowId) -> Sequence[WorkflowJob]:
        """See `ports.WorkflowStore.jobs`."""
        return self._store.jobs(workflow_id)

    def matching(self, prefix: str, limit: int) -> Sequence[WorkflowId]:
        """See `ports.WorkflowStore.matching`."""
        return self._store.matching(prefix, limit)

    def older_than(self, workflow_id: WorkflowId | None, limit: int) -> Sequence[Workflow]:
        """See `ports.WorkflowStore.older_than`."""
        return self._store.older_than(workflow_id, limit)

    def unfinished(self) -> Sequence[StoredWorkflow]:
        """See `ports.WorkflowStore.unfinished`."""
        return self._store.unfinished()


class FaultyEngine:
    """`ports.Engine` that fails when told to."""

    def __init__(self, engine: Engine, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults

    async def start(self, job: Job) -> Running:
        """See `ports.Engine.start`."""
        await self._faults.before("engine.start")
        running = await self._engine.start(job)
        await self._faults.after("engine.start")
        return running

    async def stop(self, job_id: JobId, reason: str = "") -> None:
        """See `ports.Engine.stop`."""
        await self._faults.before("engine.stop")
        await self._engine.stop(job_id, reason)
        await self._faults.after("engine.stop")

    async def forget(self, job_ids: Sequence[JobId]) -> None:
        """See `ports.Engine.forget`."""
        await self._faults.before("engine.forget")
        await self._engine.forget(job_ids)
        await self._faults.after("engine.forget")

    def watch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.watch_log`."""
        if not self._faults.crashed.is_set():
            self._engine.watch_log(job_id)

    def unwatch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.unwatch_log`."""
        if not self._faults.crashed.is_set():
            self._engine.unwatch_log(job_id)

    async def events(self) -> AsyncIterator[EngineEvent]:
        """See `ports.Engine.events`. An event can meet a crash only."""
        async for event in self._engine.events():
            await self._faults.after("engine.event")
            yield event

    async def close(self) -> None:
        """See `ports.Engine.close`."""
        if not self._faults.crashed.is_set():
            await self._engine.close()
