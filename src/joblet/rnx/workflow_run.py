"""
`rnx run --workflow`: start a workflow; with --follow, print what its jobs print until it ends.

With --follow stdout has the jobs' lines, each behind its job's name, and everything else goes to stderr.

Runs in: the user's terminal, scripts, CI pipelines; one thread for each log that is being read.
Source: API specification, "CLI Integration"; docs/workflows.md.
"""

import os
import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import BadUsage, Values
from joblet.rnx.following import INTERRUPTED, followed
from joblet.rnx.output import Output, escaped, json_text
from joblet.rnx.workflow_file import checked
from joblet.rnx.workflow_view import bar_text, exit_status, show, states, status_text, workflow_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joblet.client import JobletClient, JobLog, Workflow, WorkflowJob, WorkflowStatus
    from joblet.rnx.interleaving import Prefixer

_WAITING_MOST: Final = 1000  # pieces of logs that were read and not printed: a terminal may be slow
_FOR_ONE_JOB: Final = (
    "max-cpu", "max-memory", "max-iobps", "cpu-cores", "env", "secret-env", "name", "timeout", "workdir"
)  # fmt: skip


def run_workflow(values: Values, output: Output) -> int:
    """Start it."""
    if values.operands:
        raise BadUsage(f"--workflow takes no command (given: {values.operands[0]})")
    for flag in _FOR_ONE_JOB:
        if values.given(flag):
            raise BadUsage(f"--{flag} is for one job; in a workflow it stands in the file")
    name = values.text("workflow")
    text, file = checked(name)
    with connected(values) as client:
        try:
            workflow = client.run_workflow(text, name=Path(name).name)
        except KeyboardInterrupt:
            output.note("Interrupted: the workflow may have been started (rnx list --workflow)")
            return INTERRUPTED
        if values.switch("follow", default=False):
            return _follow(client, workflow, list(file.definition.jobs), output)
    show(output, workflow_object(workflow), lambda: started_lines(workflow))
    return 0


def started_lines(workflow: "Workflow") -> list[str]:
    """In the manner of a job that was started."""
    return [
        "Workflow started:",
        f"ID: {escaped(workflow.id)}",
        f"Workflow: {escaped(workflow.name)}",
        f"Status: {escaped(workflow.status)}",
        f"Jobs: {workflow.total_jobs}",
    ]


def _follow(client: "JobletClient", workflow: "Workflow", names: "Sequence[str]", output: Output) -> int:
    def follow() -> int:
        output.note(json_text(workflow_object(workflow))) if output.as_json else output.note(*started_lines(workflow))
        return _Following(client, output).until_the_end(workflow, names)

    what, verbs = f"workflow {workflow.id}", f"--workflow {workflow.id}"
    return followed(output, what, verbs, follow, lambda: client.stop_workflow(workflow.id).status)


class _Following:
    """Readers of logs put what they get into one queue; whoever looks at the workflow prints it."""

    def __init__(self, client: "JobletClient", output: Output) -> None:
        self._client = client
        self._output = output
        # A piece of a job's log; None after the last one, words when the rest cannot be read.
        self._pieces: queue.Queue[tuple[str, bytes | str | None]] = queue.Queue(_WAITING_MOST)
        self._states: queue.Queue[WorkflowStatus | Exception] = queue.Queue()
        self._logs: dict[str, JobLog] = {}
        self._reading = 0
        self._told: dict[str, str] = {}
        self._wake = threading.Event()

    def until_the_end(self, workflow: "Workflow", names: "Sequence[str]") -> int:
        """Print everything that the jobs with these names print; the exit status."""
        from joblet.rnx.interleaving import Prefixer, colours_wanted

        prefixer = Prefixer(names, colour=colours_wanted(self._output.stdout_is_terminal, os.environ))
        looker = threading.Thread(target=self._look, args=(workflow.id,), name="workflow", daemon=True)
        looker.start()
        last: WorkflowStatus | None = None
        try:
            while last is None or not last.workflow.ended or self._reading:
                self._wake.wait()
                self._wake.clear()
                while not self._states.empty():
                    state = self._states.get()
                    if isinstance(state, Exception):
                        raise state
                    self._take(state)
                    last = state
                self._print(prefixer)
        finally:
            for log in list(self._logs.values()):
                log.close()
        if self._output.as_json:
            self._output.note(json_text(workflow_object(last.workflow)))
        else:
            self._output.note("", *status_text(last), "", bar_text(last.workflow))
        return exit_status(last.workflow)

    def _look(self, workflow_id: str) -> None:
        try:
            for state in states(self._client, workflow_id):
                self._states.put(state)
                self._wake.set()
        except Exception as error:
            self._states.put(error)
            self._wake.set()

    def _take(self, state: "WorkflowStatus") -> None:
        for job in state.jobs:
            if job.job_id is not None and job.job_id not in self._logs:
                self._read(job, job.job_id)
            if self._told.get(job.name, "PENDING") != job.status:
                self._told[job.name] = job.status
                if not self._output.as_json:
                    self._output.note(f"{escaped(job.name)}: {escaped(job.status)}{_why(job)}")

    def _read(self, job: "WorkflowJob", job_id: str) -> None:
        log = self._logs[job_id] = self._client.get_job_logs(job_id)
        self._reading += 1
        threading.Thread(target=self._pass_on, args=(job.name, log), name=job.name, daemon=True).start()

    def _pass_on(self, name: str, log: "JobLog") -> None:
        from joblet.client import ClientError, JobletError

        try:
            for piece in log:
                self._put(name, piece)
        except (JobletError, ClientError) as error:
            self._put(name, error.message)
        self._put(name, None)

    def _put(self, name: str, piece: "bytes | str | None") -> None:
        self._pieces.put((name, piece))
        self._wake.set()

    def _print(self, prefixer: "Prefixer") -> None:
        while not self._pieces.empty():
            name, piece = self._pieces.get()
            if isinstance(piece, bytes):
                self._output.data(prefixer.feed(name, piece))
            elif piece is None:
                self._reading -= 1
                self._output.data(prefixer.close(name))
            else:
                self._output.note(f"{escaped(name)}: its output cannot be read: {escaped(piece)}")


def _why(job: "WorkflowJob") -> str:
    code = f" (exit code {job.exit_code})" if job.exit_code else ""
    return code + (f": {escaped(job.reason)}" if job.reason else "")
