"""
A whole Joblet without a machine: the real services and the real store, on a fake engine.

    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"hello\\n").then_exits(3))
        assert (await joblet.ended(job)).exit_code == 3
        assert await joblet.log(job) == b"hello\\n"

Under `joblet.testing.clock.run` it takes no time, whatever the programs sleep.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypeVar

from cryptography.fernet import Fernet

from joblet.domain.job import Ended, Job
from joblet.domain.limits import MIB, Machine
from joblet.domain.workflow.workflow import Workflow
from joblet.ports import Clock, JobStore
from joblet.services.jobs import Jobs
from joblet.services.logs import Logs
from joblet.services.request import JobDefaults, JobRequest
from joblet.services.tasks import Aside
from joblet.services.workflow_runs import WorkflowRuns
from joblet.services.workflows import Workflows
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.storage.secrets import Secrets
from joblet.storage.workflows import WorkflowStoreAdapter
from joblet.testing.clock import VirtualClock
from joblet.testing.engine import FakeEngine
from joblet.testing.faults import Faults, FaultyEngine, FaultyStore, FaultyWorkflowStore
from joblet.testing.journal import RecordedJournal
from joblet.testing.programs import Program

T = TypeVar("T")

MACHINE: Final = Machine(cores=4, memory_bytes=8192 * MIB)


class FakeJoblet:
    """
    One server after another on one fake machine.

    Args:
        store: Where jobs are kept; a database in memory when not given, which workflows are in anyway.
        aside: Reads the files of workflows; at once when not given.
        faults: Of the first server; those that `restart` and `crash` start have none unless told.

    Attributes:
        engine: The fake machine.
        jobs, logs, workflows, journal: Of the server that runs now.
    """

    def __init__(
        self,
        *,
        engine: FakeEngine | None = None,
        store: JobStore | None = None,
        clock: Clock | None = None,
        faults: Faults | None = None,
        defaults: JobDefaults | None = None,
        machine: Machine = MACHINE,
        engine_wait_s: float = 10.0,
        chunk_bytes: int = MIB,
        aside: Aside | None = None,
    ) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self.engine = engine if engine is not None else FakeEngine(clock=self.clock)
        jobs_in_memory = open_job_store(JobStoreConfig())
        self.database = jobs_in_memory.database
        self.store: JobStore = store if store is not None else jobs_in_memory
        self._workflow_store = WorkflowStoreAdapter(self.database, Secrets(Fernet.generate_key()))
        self.faults = faults if faults is not None else Faults()
        self.defaults = defaults if defaults is not None else JobDefaults()
        self.machine = machine
        self._engine_wait_s = engine_wait_s
        self._chunk_bytes = chunk_bytes
        self._aside: Aside = aside if aside is not None else _at_once
        self._numbers = itertools.count(1)
        self._consumer: asyncio.Task[None] | None = None
        # Kept, so that no collected task complains of an end it was not given.
        self._dead: list[WorkflowRuns] = []
        self._build()

    def _build(self) -> None:
        engine = FaultyEngine(self.engine, self.faults)
        self.journal = RecordedJournal()
        self.jobs = Jobs(
            engine,
            FaultyStore(self.store, self.faults),
            self.engine.logs,
            self.clock,
            self.journal,
            defaults=self.defaults,
            machine=self.machine,
            new_id=self.new_id,
            engine_wait_s=self._engine_wait_s,
        )
        self.logs = Logs(self.jobs, engine, self.engine.logs, self.journal, chunk_bytes=self._chunk_bytes)
        workflow_store = FaultyWorkflowStore(self._workflow_store, self.faults)
        self._runs = WorkflowRuns(
            self.jobs, workflow_store, self.clock, self.journal, aside=self._aside, new_id=self.new_id
        )
        self.workflows = Workflows(self._runs, workflow_store, self._aside, self.machine)

    def new_id(self) -> str:
        """UUIDs that are the same in each run of a test: version 5 of 1, 2, 3, …"""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, str(next(self._numbers))))

    async def __aenter__(self) -> Self:
        await self.serve()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
        await self.database.close()

    async def serve(self) -> None:
        """Start to follow the engine; returns once it has answered, or this server is dead."""
        self._consumer = asyncio.create_task(self.jobs.consume())
        attached = asyncio.create_task(self.jobs.attached())
        dead = asyncio.create_task(self.faults.crashed.wait())
        await asyncio.wait((attached, dead), return_when=asyncio.FIRST_COMPLETED)
        for task in (attached, dead):
            task.cancel()
        if not self.faults.crashed.is_set():
            await self._runs.resume()

    async def close(self) -> None:
        """Shut the server down in good order. The machine and the store stay."""
        if not self.faults.crashed.is_set():
            await self._runs.close()
            await self.jobs.close()
        await self._leave()

    async def restart(self) -> None:
        """Shut down in good order and start the next server on the same machine."""
        await self.close()
        await self._next()

    async def crash(self, *, faults: Faults | None = None) -> None:
        """Kill the server at this instant (no clean-up, nothing finished) and start the next one."""
        self.faults.crash()
        self._dead.append(self._runs)
        await self._leave()
        await self._next(faults)

    async def run(self, program: Program | str, *args: str, **wishes: object) -> Job:
        """
        Run a scripted program, or a command the fake shell knows.

        Args:
            wishes: Further fields of `JobRequest`.
        """
        command = program if isinstance(program, str) else self.engine.install(program)
        return await self.jobs.run(replace(JobRequest(command, args), **wishes))  # type: ignore[arg-type]

    async def run_workflow(self, text: str, name: str = "workflow.yaml") -> Workflow:
        """Run a workflow; its commands are those that the fake shell knows, or what `engine.install` returned."""
        return await self.workflows.run(name, text)

    def list_workflows(self, *, ended: bool) -> list[Workflow]:
        """Every workflow as it stands now, oldest first; those that have ended only when asked for."""
        return [workflow for piece in self.workflows.newest_first(ended=ended) for workflow in piece][::-1]

    async def workflow_ended(self, workflow: Workflow) -> Workflow:
        """Wait for a workflow's end."""
        run = self._runs.get(workflow.id)
        if run is not None:
            await run.over.wait()
        return self.workflows.get(workflow.id)

    async def ended(self, job: Job) -> Ended:
        """Wait for the job's end."""
        phase = (await self.jobs.wait_ended(job.id)).phase
        assert isinstance(phase, Ended)
        return phase

    async def log(self, job: Job, *, offset_bytes: int = 0) -> bytes:
        """The job's whole log, once it has ended."""
        stream = self.logs.stream(job.id, offset_bytes=offset_bytes)
        return b"".join([chunk async for chunk in stream])

    async def _leave(self) -> None:
        if self._consumer is not None:
            self._consumer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._consumer

    async def _next(self, faults: Faults | None = None) -> None:
        self.faults = faults if faults is not None else Faults()
        self._build()
        await self.serve()


async def _at_once(work: Callable[[], T], /) -> T:
    return work()
