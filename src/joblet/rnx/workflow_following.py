"""
What `rnx run --workflow --follow` prints until the workflow has ended.

    thread "workflow"          looks at it again and again ──► the newest state, one ─────┐
    a thread for each log      reads it ─────────────────────► pieces, _WAITING_MOST ────┴► `until_the_end` prints

Readers wait for a slow terminal; states do not, for an older one is of no use. Of a job that is tried again, attempts
that began and ended between two looks are not seen, for a workflow shows only the newest.

Runs in: the user's terminal, scripts, CI pipelines; not in the main thread, where signals arrive.
Source: docs/workflows.md.
"""

import os
import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from joblet.rnx.interleaving import Prefixer, colours_wanted
from joblet.rnx.log import missing
from joblet.rnx.output import Output, escaped, json_text
from joblet.rnx.workflow_view import bar_text, exit_status, states, status_text, workflow_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from joblet.client import JobletClient, JobLog, WorkflowJob, WorkflowStatus

_WAITING_MOST: Final = 1000  # pieces of logs that were read and not printed: a terminal may be slow


class Following:
    """
    One workflow's jobs on one output.

    Args:
        names: Of its jobs.
        left: Set when nothing is to be printed any more.
    """

    def __init__(self, client: "JobletClient", names: "Sequence[str]", output: Output, left: threading.Event) -> None:
        self._client = client
        self._output = output
        self._left = left
        self._prefixer = Prefixer(names, colour=colours_wanted(output.stdout_is_terminal, os.environ))
        # A piece of a job's log; words beside it; None after the last one.
        self._pieces: queue.Queue[tuple[str, str, bytes | str | None]] = queue.Queue(_WAITING_MOST)
        self._newest: deque[WorkflowStatus | Exception] = deque(maxlen=1)
        self._logs: dict[str, JobLog] = {}
        self._reading = 0
        self._told: dict[str, str] = {}
        self._wake = threading.Event()

    def until_the_end(self, workflow_id: str) -> int:
        """
        Print everything that the jobs print; the exit status.

        Raises:
            JobletError, ClientError: As `states`.
        """
        threading.Thread(target=self._look, args=(workflow_id,), name="workflow", daemon=True).start()
        last: WorkflowStatus | None = None
        try:
            while last is None or not last.workflow.ended or self._reading:
                self._wake.wait()
                self._wake.clear()
                if self._left.is_set():
                    return 1
                if self._newest:
                    state = self._newest.popleft()
                    if isinstance(state, Exception):
                        raise state
                    self._take(state)
                    last = state
                self._print()
        finally:
            for log in self._logs.values():
                log.close()
        if self._output.as_json:
            self._output.note(json_text(workflow_object(last.workflow)))
        else:
            self._output.note("", *status_text(last), "", bar_text(last.workflow))
        return exit_status(last.workflow)

    def _look(self, workflow_id: str) -> None:
        try:
            for state in states(self._client, workflow_id):
                self._newest.append(state)
                self._wake.set()
        except Exception as error:  # it is the printing thread's to raise
            self._newest.append(error)
            self._wake.set()

    def _take(self, state: "WorkflowStatus") -> None:
        for job in state.jobs:
            if job.job_id is not None and job.job_id not in self._logs:
                self._read(job.name, job.job_id)
            if self._told.get(job.name, "PENDING") != job.status:
                self._told[job.name] = job.status
                if not self._output.as_json:
                    self._output.note(f"{escaped(job.name)}: {escaped(job.status)}{_why(job)}")

    def _read(self, name: str, job_id: str) -> None:
        from joblet.client import JobLog

        # `get_job_logs` would ask for the job's status first, and that fails at once while the server is away.
        log = self._logs[job_id] = JobLog(self._client, job_id, offset_bytes=0, follow=True)
        self._reading += 1
        threading.Thread(target=self._pass_on, args=(name, job_id, log), name=name, daemon=True).start()

    def _pass_on(self, name: str, job_id: str, log: "JobLog") -> None:
        from joblet.client import ClientError, JobletError

        expected_bytes = 0
        try:
            for piece in log:
                if (begin_bytes := log.offset_bytes - len(piece)) != expected_bytes:
                    self._put(name, job_id, missing(expected_bytes, begin_bytes))
                expected_bytes = log.offset_bytes
                self._put(name, job_id, piece)
        except Exception as error:  # the other jobs' output is not to be lost with this one's
            words = error.message if isinstance(error, (JobletError, ClientError)) else repr(error)
            self._put(name, job_id, f"its output cannot be read: {words}")
        finally:
            self._put(name, job_id, None)

    def _put(self, name: str, job_id: str, piece: "bytes | str | None") -> None:
        self._pieces.put((name, job_id, piece))
        self._wake.set()

    def _print(self) -> None:
        # Not until there are none: jobs that print without a pause would hold back what becomes of the others.
        for _ in range(self._pieces.qsize()):
            name, job_id, piece = self._pieces.get()
            if self._left.is_set():
                return
            if isinstance(piece, bytes):
                self._output.data(self._prefixer.feed(name, piece, job_id))
            elif piece is None:
                self._reading -= 1
                self._output.data(self._prefixer.close(name, job_id))
            else:
                self._output.remark(f"{escaped(name)}: {escaped(piece)}")


def _why(job: "WorkflowJob") -> str:
    code = f" (exit code {job.exit_code})" if job.exit_code else ""
    return code + (f": {escaped(job.reason)}" if job.reason else "")
