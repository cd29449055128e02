"""
Workflows that have not ended: what the scheduler in the domain decides is carried out here.

It makes the jobs, hears of their ends, and waits before a retry. How far a workflow has come is kept nowhere but in
its jobs, so a crash leaves nothing to repair: `resume` reads the jobs and goes on.

Runs in: server loop. May not: block, start a thread, know gRPC, SQLite or the kernel.
Source: docs/contributors.md, "Workflows"; API specification, "Workflow API".
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from joblet.domain.errors import InvalidWorkflow, JobletError, StorageFailed
from joblet.domain.job import Job, JobId
from joblet.domain.workflow.definition import Definition, JobDefinition
from joblet.domain.workflow.schedule import (
    Action,
    Cancel,
    Finished,
    Retry,
    Schedule,
    Start,
    Stop,
    resume,
)
from joblet.domain.workflow.states import ENDS, Attempt, Counts, NodeState, WorkflowState
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import Clock, Journal, StoredWorkflow, WorkflowStore
from joblet.services.jobs import Jobs
from joblet.services.tasks import Tasks
from joblet.services.workflow_check import Check
from joblet.services.workflow_jobs import end_of, made, request_of
from joblet.workflowfile.read import WorkflowFile

STOPPED_WITH_WORKFLOW: Final = "its workflow was stopped"
UNREADABLE: Final = "its file cannot be read any more"
STORE_RETRY_S: Final = 1.0


@dataclass(slots=True, eq=False)
class Run:
    """
    A workflow that has not ended.

    Args:
        running: The name of each job that is under way, by the id of its attempt.
        newest: The newest attempt of each job that was made, by its name; of one under way it is not up to date.
        over: Set when its end is stored, or could not be stored for now.
    """

    workflow: Workflow
    definition: Definition
    schedule: Schedule
    running: dict[JobId, str] = field(default_factory=dict)
    newest: dict[str, JobId] = field(default_factory=dict)
    ended: dict[str, Job] = field(default_factory=dict)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class WorkflowRuns:
    """
    Every workflow that has not ended; a `JobListener`.

    Args:
        check: Reads and checks a workflow's file.
        new_id: Makes the UUID of each new workflow.
    """

    def __init__(
        self,
        jobs: Jobs,
        store: WorkflowStore,
        clock: Clock,
        journal: Journal,
        *,
        check: Check,
        new_id: Callable[[], str],
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._clock = clock
        self._journal = journal
        self._check = check
        self._new_id = new_id
        self._runs: dict[WorkflowId, Run] = {}
        self._ready: deque[tuple[Run, str]] = deque()
        self._tasks = Tasks(journal)
        self._engine_there = True
        self._closed = False
        jobs.listen(self)

    def get(self, workflow_id: WorkflowId) -> Run | None:
        """The workflow, until its end is stored."""
        return self._runs.get(workflow_id)

    def all(self) -> Sequence[Run]:
        """Each of them, oldest first."""
        return list(self._runs.values())

    async def resume(self) -> None:
        """Go on with every workflow that has not ended. After `Jobs.attached`, before any use case."""
        for stored in self._store.unfinished():
            await self._resume(stored)
        self._start_ready()

    async def close(self) -> None:
        """Start nothing any more. What has been started goes on, and so will the workflows."""
        self._closed = True
        for run in self._runs.values():
            for timer in run.timers.values():
                timer.cancel()
        self._tasks.cancel()

    async def begin(self, name: str, text: str, file: WorkflowFile) -> Workflow:
        """
        Store a new workflow and start what may start. A caller that is cancelled calls nothing off.

        Raises:
            StorageFailed: Nothing of it runs.
        """
        return await asyncio.shield(self._tasks.start(self._begin(name, text, file)))

    async def stop(self, run: Run) -> None:
        """
        Start nothing more of it and stop what runs. Cancelled callers and second calls change nothing.

        Raises:
            StorageFailed: It runs on.
        """
        await asyncio.shield(self._tasks.start(self._stop(run)))

    def as_it_stands(self, run: Run) -> Workflow:
        """How far it has come, or how it ended."""
        if run.workflow.ended_ns:
            return run.workflow
        return replace(run.workflow, state=run.schedule.state, counts=run.schedule.counts)

    def jobs_of(self, run: Run) -> Sequence[WorkflowJob]:
        """Each of its jobs as it stands now, in the order of the file."""
        return [self._job(run, definition) for definition in run.definition.jobs.values()]

    # What happens to jobs (`JobListener`)

    def engine_attached(self) -> None:
        """Jobs can be started (again)."""
        self._engine_there = True
        self._start_ready()

    def engine_lost(self) -> None:
        """No job can be started until it is back."""
        self._engine_there = False

    def job_running(self, job_id: JobId) -> None:
        """Nothing to decide."""

    def log_grew(self, job_id: JobId, size_bytes: int) -> None:
        """Nothing to decide."""

    def job_ended(self, job: Job) -> None:
        """Decide what follows from it; and whosever it was, there is room for another."""
        run = self._runs.get(WorkflowId(job.workflow))
        name = run.running.pop(job.id, None) if run is not None else None
        if run is not None and name is not None:
            run.ended[name] = job
            state = end_of(job)
            schedule = run.schedule
            self._carry_out(run, schedule.ended(name, state) if state is not None else schedule.not_started(name))
        self._start_ready()

    # Begin and go on

    async def _begin(self, name: str, text: str, file: WorkflowFile) -> Workflow:
        schedule = Schedule(file.definition)
        workflow = Workflow(
            WorkflowId(self._new_id()), name, self._clock.now_ns(), file.masked, schedule.counts, schedule.state
        )
        await self._store.add(workflow, text)
        self._journal.log("INFO", "workflow started", workflow=workflow.id, name=name, jobs=len(file.definition.jobs))
        run = self._runs[workflow.id] = Run(workflow, file.definition, schedule)
        self._carry_out(run, schedule.begin())
        self._start_ready()
        return self.as_it_stands(run)

    async def _resume(self, stored: StoredWorkflow) -> None:
        workflow = stored.workflow
        try:
            # Without the machine: what has begun goes on, on a smaller one too.
            file = await self._check(stored.text, workflow.name, None)
        except InvalidWorkflow as error:
            self._tasks.start(self._give_up(workflow, f"{UNREADABLE}: {error}" if stored.text else UNREADABLE))
            return
        stored_jobs = self._jobs.of_workflow(workflow.id)
        attempts = [(job, state) for job in stored_jobs if (state := end_of(job)) is not None]
        schedule, actions = resume(
            file.definition,
            [Attempt(job.spec.name, state) for job, state in attempts],
            stop_requested=stored.stop_requested,
        )
        started_ns = attempts[0][0].created_ns if attempts else 0
        run = Run(replace(workflow, started_ns=started_ns), file.definition, schedule)
        for job, state in attempts:
            run.newest[job.spec.name] = job.id
            if state is NodeState.RUNNING:
                run.running[job.id] = job.spec.name
            else:
                run.ended[job.spec.name] = job
        self._runs[workflow.id] = run
        self._journal.log("INFO", "workflow resumed", workflow=workflow.id, name=workflow.name, attempts=len(attempts))
        self._carry_out(run, actions)

    async def _give_up(self, workflow: Workflow, reason: str) -> None:
        """What it was to do is not known any more; what it has done is."""
        self._journal.log("ERROR", "workflow cannot go on", workflow=workflow.id, name=workflow.name, reason=reason)
        attempts = Counter[str]()
        newest: dict[str, Job] = {}
        stored_jobs = self._jobs.of_workflow(workflow.id)
        for job in stored_jobs:
            self._jobs.stop_in_workflow(job.id, reason)
        for job in stored_jobs:
            attempts[job.spec.name] += 1
            newest[job.spec.name] = await self._jobs.wait_ended(job.id)
        jobs = [made(job, job.state, attempts[name]) for name, job in newest.items()]
        ended = Counter(end_of(job) for job in newest.values())
        counts = Counts(
            workflow.counts.total,
            ended[NodeState.COMPLETED],
            ended[NodeState.FAILED],
            workflow.counts.total - ended[NodeState.COMPLETED] - ended[NodeState.FAILED],
        )
        now_ns = self._clock.now_ns()
        given_up = replace(workflow, state=WorkflowState.FAILED, counts=counts, ended_ns=now_ns, reason=reason)
        try:
            await self._store.finish(given_up, jobs)
        except StorageFailed as error:  # the next server does it again
            self._journal.log("ERROR", "workflow not stored", workflow=workflow.id, error=str(error))

    # Carry out

    def _carry_out(self, run: Run, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Start(name):
                    self._ready.append((run, name))
                case Cancel(name, because):
                    self._journal.log(
                        "INFO", "workflow job canceled", workflow=run.workflow.id, job=name, reason=because
                    )
                case Retry(name, attempt, after_s):
                    self._journal.log(
                        "INFO",
                        "workflow job retried",
                        workflow=run.workflow.id,
                        job=name,
                        attempt=attempt,
                        after=f"{after_s:g}s",
                    )
                    self._later(run, name, after_s, partial(run.schedule.retry_due, name))
                case Stop(name):
                    if (job_id := run.newest.get(name)) is not None:  # else its record was refused, and its time comes
                        self._jobs.stop_in_workflow(job_id, STOPPED_WITH_WORKFLOW)
                case Finished(state):
                    self._finish(run, state)

    def _later(self, run: Run, name: str, after_s: float, event: Callable[[], Sequence[Action]]) -> None:
        def due() -> None:
            run.timers.pop(name, None)
            self._carry_out(run, event())
            self._start_ready()

        run.timers[name] = asyncio.get_running_loop().call_later(after_s, due)

    def _start_ready(self) -> None:
        """Start what waits for nothing but room."""
        while self._ready and self._engine_there and not self._closed and self._jobs.room:
            run, name = self._ready.popleft()
            if run.schedule.job(name).state is NodeState.PENDING:  # else it was canceled while it waited
                self._start(run, run.definition.jobs[name])

    def _start(self, run: Run, definition: JobDefinition) -> None:
        name = definition.name
        if not run.workflow.started_ns:
            run.workflow = replace(run.workflow, started_ns=self._clock.now_ns())
        actions = run.schedule.started(name)
        try:
            job_id, starting = self._jobs.start_in_workflow(
                request_of(definition), run.workflow.id, definition.dependencies
            )
        except JobletError as error:
            # It was checked when it was submitted, but this may be another machine now.
            self._journal.log(
                "ERROR", "workflow job cannot be made", workflow=run.workflow.id, job=name, error=str(error)
            )
            self._carry_out(run, [*actions, *run.schedule.ended(name, NodeState.FAILED)])
            return
        run.running[job_id] = name
        run.newest[name] = job_id
        run.ended.pop(name, None)
        starting.add_done_callback(lambda task: self._started(run, name, job_id, task))
        self._carry_out(run, actions)

    def _started(self, run: Run, name: str, job_id: JobId, task: "asyncio.Task[Job]") -> None:
        """Only one that was not stored is news: of all others `job_ended` tells."""
        if task.cancelled() or not isinstance(task.exception(), StorageFailed) or self._closed:
            return
        if run.running.pop(job_id, None) is not None:
            run.newest.pop(name, None)
            self._later(run, name, STORE_RETRY_S, partial(run.schedule.not_started, name))

    async def _stop(self, run: Run) -> None:
        if not run.schedule.stopping:
            await self._store.request_stop(run.workflow.id)
            self._journal.log("INFO", "workflow stop requested", workflow=run.workflow.id)
            self._carry_out(run, run.schedule.stop())
            for name in [name for name in run.timers if run.schedule.job(name).state in ENDS]:
                run.timers.pop(name).cancel()

    def _finish(self, run: Run, state: WorkflowState) -> None:
        run.workflow = replace(run.workflow, state=state, counts=run.schedule.counts, ended_ns=self._clock.now_ns())
        workflow = run.workflow
        level = "ERROR" if state is WorkflowState.FAILED else "INFO"
        counts = workflow.counts
        self._journal.log(
            level,
            f"workflow {state.lower()}",
            workflow=workflow.id,
            name=workflow.name,
            completed=counts.completed,
            failed=counts.failed,
            canceled=counts.canceled,
        )
        self._tasks.start(self._store_end(run))

    async def _store_end(self, run: Run) -> None:
        jobs = self.jobs_of(run)
        while True:
            try:
                await self._store.finish(run.workflow, jobs)
            except StorageFailed as error:
                self._journal.log("ERROR", "workflow not stored", workflow=run.workflow.id, error=str(error))
                run.over.set()
                await asyncio.sleep(STORE_RETRY_S)
            else:
                self._runs.pop(run.workflow.id, None)
                run.over.set()
                return

    def _job(self, run: Run, definition: JobDefinition) -> WorkflowJob:
        node = run.schedule.job(definition.name)
        job_id = run.newest.get(definition.name)
        if job_id is None:
            return WorkflowJob(definition.name, definition.dependencies, node.state.value, reason=node.because)
        job = run.ended.get(definition.name) or self._jobs.newest(job_id)
        waits = node.state in (NodeState.PENDING, NodeState.CANCELED)  # for a retry, or it was stopped before one
        return made(job, node.state.value if waits else job.state, node.attempts, node.because)
