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

from joblet.domain.errors import InvalidWorkflow, StorageFailed
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
from joblet.domain.workflow.states import ENDS, Attempt, NodeState, WorkflowState
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import Clock, Journal, StoredWorkflow, WorkflowStore
from joblet.services.jobs import Jobs
from joblet.services.tasks import Aside, Tasks
from joblet.services.workflow_check import check
from joblet.services.workflow_jobs import definition_of, end_of, made, no_room_on_disk, request_of
from joblet.workflowfile.read import WorkflowFile

STOPPED_WITH_WORKFLOW: Final = "its workflow was stopped"
SECRETS_LOST: Final = "its secrets cannot be read any more: secrets.key is not the key that they were sealed with"
NOT_ACCEPTED: Final = "its file is not accepted any more"
MOST_LOST: Final = 10  # attempts of one job
STORE_RETRY_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0  # for room on the disk; each look for it is a job that is stored


@dataclass(slots=True, eq=False)
class Run:
    """
    A workflow that has not ended.

    Args:
        workflow: With a reason when it cannot go on: then it only waits for what still runs.
        names: Of the jobs that are under way, by the ids of their attempts.
        under_way: The other way round.
        ended: The last attempt of each job that has ended.
        lost: How many attempts of each job never ran.
        over: Set when its end is stored, or could not be stored for now.
    """

    workflow: Workflow
    definition: Definition
    schedule: Schedule
    names: dict[JobId, str] = field(default_factory=dict)
    under_way: dict[str, JobId] = field(default_factory=dict)
    ended: dict[str, Job] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def begun(self, job_id: JobId, name: str) -> None:
        """An attempt is under way."""
        self.names[job_id] = name
        self.under_way[name] = job_id

    def no_more(self, job_id: JobId) -> str | None:
        """An attempt is not under way any more; the job's name, unless it is not ours."""
        name = self.names.pop(job_id, None)
        if name is not None:
            del self.under_way[name]
        return name


class WorkflowRuns:
    """
    Every workflow that has not ended; a `JobListener`.

    Args:
        aside: For what takes a second when a workflow has 10,000 jobs.
        new_id: Makes the UUID of each new workflow.
    """

    def __init__(
        self,
        jobs: Jobs,
        store: WorkflowStore,
        clock: Clock,
        journal: Journal,
        *,
        aside: Aside,
        new_id: Callable[[], str],
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._clock = clock
        self._journal = journal
        self._aside = aside
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

        A server that is killed before this is stored knows nothing of it.
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
        if run is not None and (name := run.no_more(job.id)) is not None:
            state = _outcome(job, run.lost)
            if state is None and no_room_on_disk(job):
                wait_s = min(STORE_RETRY_S * 2.0 ** (run.lost[name] - 1), LONGEST_WAIT_S)
                self._later(run, name, wait_s, partial(run.schedule.not_started, name))
            elif state is None:
                self._carry_out(run, run.schedule.not_started(name))
            else:
                run.ended[name] = job
                self._carry_out(run, run.schedule.ended(name, state))
        self._start_ready()

    def job_unmade(self, job: Job) -> None:
        """Make it again soon; and whosever it was, there is room for another."""
        run = self._runs.get(WorkflowId(job.workflow))
        if run is not None and (name := run.no_more(job.id)) is not None and not self._closed:
            self._later(run, name, STORE_RETRY_S, partial(run.schedule.not_started, name))
        self._start_ready()

    # Begin and go on

    async def _begin(self, name: str, text: str, file: WorkflowFile) -> Workflow:
        schedule = await self._aside(partial(Schedule, file.definition))
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
        definition, reason = await self._definition(stored)
        # From here to where it is one of ours nothing may wait: a job that ends meanwhile would be missed.
        jobs = self._jobs.of_workflow(stored.workflow.id)
        definition = definition or definition_of(jobs)
        lost = Counter[str]()
        attempts = [(job, state) for job in jobs if (state := _outcome(job, lost)) is not None]
        schedule, actions = resume(
            definition,
            [Attempt(job.spec.name, state) for job, state in attempts],
            stop_requested=stored.stop_requested or bool(reason),
        )
        started_ns = jobs[0].created_ns if jobs else 0
        workflow = replace(stored.workflow, started_ns=started_ns, reason=reason)
        run = self._runs[workflow.id] = Run(workflow, definition, schedule, lost=lost)
        for job, state in attempts:
            if state is NodeState.RUNNING:
                run.begun(job.id, job.spec.name)
            else:
                run.ended[job.spec.name] = job
        if reason:
            self._journal.log("ERROR", "workflow cannot go on", workflow=workflow.id, name=workflow.name, reason=reason)
        else:
            self._journal.log(
                "INFO", "workflow resumed", workflow=workflow.id, name=workflow.name, attempts=len(attempts)
            )
        self._carry_out(run, actions)

    async def _definition(self, stored: StoredWorkflow) -> tuple[Definition | None, str]:
        """What a workflow is to do, if that is known; and why it cannot be done, or nothing."""
        try:
            # Without the machine: what has begun goes on, on a smaller one too.
            text = stored.text or stored.workflow.yaml
            file = await self._aside(partial(check, text, stored.workflow.name, None))
        except InvalidWorkflow as error:  # by a later version
            return None, f"{NOT_ACCEPTED}: {error}"
        secrets_needed = any(job.secret_environment for job in file.definition.jobs.values())
        return file.definition, SECRETS_LOST if secrets_needed and not stored.text else ""

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
                    if (job_id := run.under_way.get(name)) is not None:  # else it was unmade, and its time comes
                        self._jobs.stop_in_workflow(job_id, run.workflow.reason or STOPPED_WITH_WORKFLOW)
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
        job_id = self._jobs.start_in_workflow(request_of(definition), run.workflow.id, definition.dependencies)
        run.begun(job_id, name)
        self._carry_out(run, actions)

    async def _stop(self, run: Run) -> None:
        if not run.schedule.stopping:
            try:
                await self._store.request_stop(run.workflow.id)
            except StorageFailed as error:  # it may be what fills the disk
                self._journal.log("WARN", "workflow stop not stored", workflow=run.workflow.id, error=str(error))
            self._journal.log("INFO", "workflow stop requested", workflow=run.workflow.id)
            self._ready = deque(entry for entry in self._ready if entry[0] is not run)
            self._carry_out(run, run.schedule.stop())
            for name in [name for name in run.timers if run.schedule.job(name).state in ENDS]:
                run.timers.pop(name).cancel()

    def _finish(self, run: Run, state: WorkflowState) -> None:
        if run.workflow.reason:
            state = WorkflowState.FAILED
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
        name = definition.name
        node = run.schedule.job(name)
        under_way = self._jobs.recorded(run.under_way[name]) if name in run.under_way else None
        job = under_way or run.ended.get(name)
        # One that is not recorded, or could not be, cannot be asked for: to users it waits.
        unseen = node.state is NodeState.RUNNING and under_way is None
        status = NodeState.PENDING if unseen else node.state
        if job is None:
            return WorkflowJob(name, definition.dependencies, status.value, reason=node.because)
        waits = status in (NodeState.PENDING, NodeState.CANCELED)  # for a retry, or it was stopped before one
        return made(job, status.value if waits else job.state, node.attempts - unseen, node.because)


def _outcome(job: Job, lost: Counter[str]) -> NodeState | None:
    """
    What an attempt is to the scheduler; None when its command never ran and it is to be made again.

    Args:
        lost: How many attempts of each job were lost before: counted on here. What takes the server down with it each
            time must not do so for ever.
    """
    state = end_of(job)
    if state is None:
        lost[job.spec.name] += 1
        if lost[job.spec.name] > MOST_LOST and not no_room_on_disk(job):
            return NodeState.FAILED
    return state
