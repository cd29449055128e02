"""
Servers on which a job is seen to go back, in lists and in workflows.

Runs in: tests.
"""

import uuid
from typing import Any

from broken_server import Broken

from joblet.wire import joblet_pb2 as pb


class _EveryFifth(Broken, caught_by=""):
    """Tells otherwise of every fifth job that runs or has ended."""

    call = ""
    states: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._told = 0

    def retold(self, job: Any) -> None:
        """Change what is told."""

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == self.call else ():
            self._told += job.status in self.states
            if job.status in self.states and self._told % 5 == 0:
                self.retold(job)
        return answer


class ListsGoBack(_EveryFifth, caught_by="list-jobs.transitions"):
    """A job that runs is INITIALIZING in some lists."""

    call = "ListJobs"
    states = frozenset(("RUNNING",))

    def retold(self, job: pb.Job) -> None:
        job.status = "INITIALIZING"


class RisesAgain(_EveryFifth, caught_by="list-jobs.transitions"):
    """A job that is COMPLETED is RUNNING in some lists."""

    call = "ListJobs"
    states = frozenset(("COMPLETED",))

    def retold(self, job: pb.Job) -> None:
        job.status = "RUNNING"


class WaitsAgain(_EveryFifth, caught_by="workflow.transitions"):
    """A workflow's job that runs is told to wait in some answers."""

    call = "GetWorkflowStatus"
    states = frozenset(("RUNNING",))

    def retold(self, job: pb.WorkflowJob) -> None:
        job.status = "PENDING"


class LosesIds(_EveryFifth, caught_by="workflow.transitions"):
    """A workflow's job that has ended is without its id in some answers."""

    call = "GetWorkflowStatus"
    states = frozenset(("COMPLETED", "FAILED"))

    def retold(self, job: pb.WorkflowJob) -> None:
        job.jobId = "0"


class OtherIds(_EveryFifth, caught_by="workflow.transitions"):
    """A workflow's job that runs has another id in some answers."""

    call = "GetWorkflowStatus"
    states = frozenset(("RUNNING",))

    def retold(self, job: pb.WorkflowJob) -> None:
        job.jobId = str(uuid.uuid4())
