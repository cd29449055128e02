"""
`rnx run`: start a job; with --follow, be its terminal until it ends.

With --follow stdout is the job's output, byte for byte, and everything else goes to stderr, so that
`rnx run --follow tar c . > x.tar` does what it looks like.

Runs in: the user's terminal, scripts, CI pipelines.
Source: API specification, "RunJob".
"""

import os
from typing import TYPE_CHECKING, Final

from joblet.rnx.connection import connected
from joblet.rnx.flags import BadUsage, Flag, Values, Verb
from joblet.rnx.following import INTERRUPTED, Stopped, followed
from joblet.rnx.log import missing
from joblet.rnx.output import MIB, Output, job_object, json_text, started_lines, status_object, stopped_object
from joblet.rnx.wait import ended_lines, exit_status

if TYPE_CHECKING:
    from threading import Event

    from joblet.client import Job, JobletClient

VERB: Final = Verb(
    name="run",
    summary="Create and start a new job with optional resource limits",
    operands="<command> [args...]",
    least=0,
    most=None,
    flags=(
        Flag("max-cpu", "int", "Max CPU percentage (default: from config)"),
        Flag("max-memory", "int", "Max memory in MB (default: from config)"),
        Flag("max-iobps", "int", "Max I/O bytes per second (default: 0=unlimited)"),
        Flag("cpu-cores", "string", "Cores to bind to, as in 0-1,3 (default: any)"),
        Flag("env", "list", "K=V, or K with its value from rnx's own environment; repeatable", short="e"),
        Flag("secret-env", "list", "K, with its value from rnx's own environment; never shown again; repeatable"),
        Flag("name", "string", "A name for humans"),
        Flag("timeout", "duration", "Stop the job after this long, as in 90s or 1h (default: from config)"),
        Flag("workdir", "string", "Folder inside the job to start in (default: its own work folder)"),
        Flag("follow", "bool", "Print the job's output and exit with its exit code", short="f"),
        Flag("workflow", "string", "Run the jobs of this YAML file instead, in the order of their dependencies"),
    ),
    notes=(
        "Flags come before the command; everything after it belongs to the command.\n"
        "No shell is involved: for pipes and variables run bash -c '…'.\n"
        "With --follow stdout is the job's output, everything else goes to stderr, and the exit status is the\n"
        "job's (255 when it was stopped). Ctrl+C, or SIGTERM to rnx, stops the job; a second Ctrl+C leaves it.\n"
        "With --workflow and --follow the lines of all jobs come behind their jobs' names, and the exit status is 0\n"
        "only if all that should have succeeded did."
    ),
    examples=(
        'rnx run echo "hello world"',
        "rnx run --max-cpu=50 python3 script.py",
        "rnx run --max-memory=1024 java -jar app.jar",
        'rnx run bash -c "sleep 10 && echo done"',
        "rnx run --follow make test",
        "rnx run --workflow=pipeline.yaml --follow",
    ),
)


def run(values: Values, output: Output) -> int:
    """Start it."""
    if values.given("workflow"):
        from joblet.rnx.workflow_run import run_workflow

        return run_workflow(values, output)
    if not values.operands:
        raise BadUsage("rnx run needs <command> [args...]")
    environment = _environment("env", values.every("env"))
    secret_environment = _environment("secret-env", values.every("secret-env"))
    for given in values.every("secret-env"):
        name, with_value, _ = given.partition("=")
        if with_value:
            output.remark(
                f"Warning: the value of {name} stands on the command line, where all users of this machine can see it\n"
                f"  export it and pass --secret-env {name} instead"
            )
    command, *args = values.operands
    with connected(values) as client:
        try:
            job = client.run_job(
                command,
                args,
                cpu_max_percent=values.number("max-cpu"),
                cpu_cores=values.text("cpu-cores"),
                memory_max_bytes=values.number("max-memory") * MIB,
                io_max_bytes_per_s=values.number("max-iobps"),
                timeout_s=values.number("timeout"),
                name=values.text("name"),
                work_dir=values.text("workdir"),
                environment=environment,
                secret_environment=secret_environment,
            )
        except KeyboardInterrupt:
            output.remark("Interrupted: the job may have been started (rnx list)")
            return INTERRUPTED
        if values.switch("follow", default=False):
            return _follow(client, job, output)
    if output.as_json:
        output.json(job_object(job))
    else:
        output.lines(*started_lines(job))
    return 0


def _environment(flag: str, given: list[str]) -> dict[str, str]:
    """
    The variables of a repeated flag.

    Raises:
        BadUsage: No name, or a name alone that our own environment does not have.
    """
    environment: dict[str, str] = {}
    for each in given:
        name, with_value, value = each.partition("=")
        if not name:
            raise BadUsage(f"--{flag} must be K=V or K (the name is empty)")
        if not with_value:
            if name not in os.environ:
                raise BadUsage(f"--{flag} {name}: there is no such variable in the environment")
            value = os.environ[name]
        environment[name] = value
    return environment


def _follow(client: "JobletClient", job: "Job", output: Output) -> int:
    """Print the job's output and end as it does."""

    def follow(left: "Event") -> int:
        output.note(json_text(job_object(job))) if output.as_json else output.note(*started_lines(job))
        log, expected_bytes = client.get_job_logs(job.id), 0
        for chunk in log:
            if left.is_set():
                return INTERRUPTED
            if (begin_bytes := log.offset_bytes - len(chunk)) != expected_bytes:
                output.remark(missing(expected_bytes, begin_bytes))
            expected_bytes = log.offset_bytes
            output.data(chunk)
        status = None if left.is_set() else client.wait(job.id)
        if status is None or left.is_set():
            return INTERRUPTED
        output.note(json_text(status_object(status))) if output.as_json else output.note(*ended_lines(status))
        return exit_status(status)

    def stop() -> Stopped:
        stopped = client.stop_job(job.id)
        return Stopped(stopped.status, stopped_object(stopped))

    return followed(output, f"job {job.id}", job.id, follow, stop)
