"""
`rnx run --workflow`: start a workflow; with --follow, print what its jobs print until it ends.

With --follow stdout has the jobs' lines, each behind its job's name, and everything else goes to stderr.

Runs in: the user's terminal, scripts, CI pipelines.
Source: API specification, "CLI Integration"; docs/workflows.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import BadUsage, Values
from joblet.rnx.following import INTERRUPTED, Stopped, followed
from joblet.rnx.output import Output, escaped, json_text
from joblet.rnx.workflow_file import checked
from joblet.rnx.workflow_view import show, workflow_object

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from joblet.client import JobletClient, StartedWorkflow

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
    if not name:
        raise BadUsage("--workflow needs the name of a file")
    text, file = checked(name)
    with connected(values) as client:
        try:
            workflow = client.run_workflow(text, name=Path(name).name)
        except KeyboardInterrupt:
            output.remark("Interrupted: the workflow may have been started (rnx list --workflow)")
            return INTERRUPTED
        names = list(file.definition.jobs)
        if values.switch("follow", default=False):
            return _follow(client, workflow, names, output)
    show(output, started_object(workflow, len(names)), lambda: started_lines(workflow, len(names)))
    return 0


def started_lines(workflow: "StartedWorkflow", jobs: int) -> list[str]:
    """In the manner of a job that was started."""
    return [
        "Workflow started:",
        f"ID: {escaped(workflow.id)}",
        f"Workflow: {escaped(workflow.name)}",
        f"Status: {escaped(workflow.status)}",
        f"Jobs: {jobs}",
    ]


def started_object(workflow: "StartedWorkflow", jobs: int) -> dict[str, object]:
    """What is known of it by then, for JSON."""
    return {"uuid": workflow.id, "workflow": workflow.name, "status": workflow.status, "totalJobs": jobs}


def _follow(client: "JobletClient", workflow: "StartedWorkflow", names: "Sequence[str]", output: Output) -> int:
    from joblet.rnx.workflow_following import Following

    def follow(left: "Event") -> int:
        if output.as_json:
            output.note(json_text(started_object(workflow, len(names))))
        else:
            output.note(*started_lines(workflow, len(names)))
        return Following(client, names, output, left).until_the_end(workflow.id)

    def stop() -> Stopped:
        stopped = client.stop_workflow(workflow.id)
        return Stopped(stopped.status, workflow_object(stopped))

    return followed(output, f"workflow {workflow.id}", f"--workflow {workflow.id}", follow, stop)
