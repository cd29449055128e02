"""
RunJob: what it takes, what it fills in, what it answers, what it refuses.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob", "Resource Limits", "Common Error Scenarios".
"""

import re
import uuid
from typing import Final

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, case, fields
from joblet_conformance.evidence import Skipped, expect, is_uuid, one_of, same
from joblet_conformance.subject import Subject
from joblet_conformance.times import recent, utc

INVALID_COMMAND: Final = re.compile(r"invalid command: .+", re.DOTALL)
MOST: Final = 2**31 - 1
ROLES: Final = ("admin", "viewer")


@case(
    "run-job.answer",
    "run-job.creates",
    "run-job.response",
    "service.joblet-service",
    "service.run-job",
    "job.id",
    covers=("RunJob=OK", *fields("RunJobRes", "id", "command", "args"), "RunJobReq.command", "RunJobReq.args"),
)
async def the_answer_is_the_new_job(server: Subject) -> None:
    """RunJob answers with a UUID, the command and its arguments as they were sent."""
    job = await server.echo("one", "two")

    is_uuid("the id", job.id)
    same("the command", job.command, server.programs.echo)
    same("the arguments", list(job.args), ["one", "two"])


@case("run-job.status", "run-job.example-status", "status.initializing", covers=("RunJob=OK", "RunJobRes.status"))
async def a_new_job_is_initializing_or_running(server: Subject) -> None:
    """The status in RunJob's answer is INITIALIZING, or RUNNING where the set-up was quick."""
    job = await server.sleeper()

    one_of("the status", job.status, ("INITIALIZING", "RUNNING"))


@case(
    "run-job.fresh-id",
    "job.id",
    covers=("RunJob=OK",),
)
async def two_jobs_never_share_an_id(server: Subject) -> None:
    """The same request twice makes two jobs."""
    ids = {(await server.echo("again")).id for _ in range(5)}

    same("the number of ids of five jobs", len(ids), 5)


@case(
    "run-job.defaults",
    "run-job.max-cpu",
    "run-job.max-memory",
    "run-job.max-iobps",
    "limits.cpu",
    "limits.memory",
    "limits.io",
    covers=("RunJob=OK", "RunJobRes.maxCPU", "RunJobRes.maxMemory", "RunJobRes.maxIOBPS"),
)
async def limits_that_are_not_given_have_their_defaults(server: Subject) -> None:
    """Without limits a job has 100 % of a core, 512 MB, and unlimited I/O (0)."""
    job = await server.echo("defaults")

    same("maxCPU", job.maxCPU, 100)
    same("maxMemory", job.maxMemory, 512)
    same("maxIOBPS", job.maxIOBPS, 0)


@case(
    "run-job.limits",
    "run-job-req.max-cpu",
    "run-job-req.max-memory",
    "run-job-req.max-iobps",
    covers=(
        "RunJob=OK",
        *fields("RunJobReq", "maxCPU", "maxMemory", "maxIOBPS"),
        *fields("GetJobStatusRes", "maxCPU", "maxMemory", "maxIOBPS"),
    ),
)
async def limits_that_are_given_are_in_force(server: Subject) -> None:
    """A job's limits are those that were asked for, also where it is looked up later."""
    job = await server.echo("limits", maxCPU=50, maxMemory=64, maxIOBPS=1048576)
    found = await server.status(job.id)

    for answer in (job, found):
        same("maxCPU, maxMemory, maxIOBPS", (answer.maxCPU, answer.maxMemory, answer.maxIOBPS), (50, 64, 1048576))


@case(
    "run-job.smallest-limits",
    "run-job.max-cpu",
    "run-job.max-memory",
    "run-job.max-iobps",
    level=Level.SHOULD,
    covers=("RunJob=OK",),
)
async def the_smallest_limits_are_accepted(server: Subject) -> None:
    """1 % of a core and 1 byte a second are limits like others; the job need not get far with them."""
    job = await server.sleeper(maxCPU=1, maxMemory=16, maxIOBPS=1)

    same("maxCPU, maxMemory, maxIOBPS", (job.maxCPU, job.maxMemory, job.maxIOBPS), (1, 16, 1))


@case("run-job.largest-iobps", "run-job.max-iobps", level=Level.SHOULD, covers=("RunJob=OK",))
async def the_largest_io_limit_is_accepted(server: Subject) -> None:
    """An int32's largest number of bytes a second, about 2 GB/s, is a limit like others."""
    job = await server.echo("fast", maxIOBPS=MOST)

    same("maxIOBPS", job.maxIOBPS, MOST)


def _negative(field: str) -> None:
    @case(
        f"run-job.negative-{field.lower()}",
        "code.invalid-argument",
        covers=("RunJob=INVALID_ARGUMENT", f"RunJobReq.{field}"),
    )
    async def refused(server: Subject) -> None:
        """A negative limit is refused."""
        for value in (-1, -MOST - 1):
            request = pb.RunJobReq(command=server.programs.echo, **{field: value})  # type: ignore[arg-type]
            await server.refused("RunJob", request, StatusCode.INVALID_ARGUMENT)


for _field in ("maxCPU", "maxMemory", "maxIOBPS"):
    _negative(_field)


# The specification gives these words, but not their code: invalid limits are INVALID_ARGUMENT in its table, and a job
# whose creation failed is INTERNAL there.
TOO_MUCH: Final = (StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL)


@case("run-job.too-much-memory", "error.limits", covers=("RunJobReq.maxMemory",))
async def more_memory_than_there_is_is_refused(server: Subject) -> None:
    """2 PB of memory exceed the system's, and the message says so."""
    request = pb.RunJobReq(command=server.programs.echo, maxMemory=MOST)

    await server.refused("RunJob", request, TOO_MUCH, "job creation failed: maxMemory exceeds system limits")


@case("run-job.too-much-memory-code", "code.invalid-argument", level=Level.SHOULD, covers=("RunJob=INVALID_ARGUMENT",))
async def a_limit_that_is_too_high_is_an_invalid_limit(server: Subject) -> None:
    """A limit above the system's is an invalid request, not a fault of the server."""
    request = pb.RunJobReq(command=server.programs.echo, maxMemory=MOST)

    await server.refused("RunJob", request, StatusCode.INVALID_ARGUMENT)


@case("run-job.too-much-cpu", "error.limits", level=Level.SHOULD, covers=("RunJobReq.maxCPU",))
async def more_cores_than_there_are_are_refused(server: Subject) -> None:
    """21 million cores exceed the system's, said in the words that are given for memory."""
    request = pb.RunJobReq(command=server.programs.echo, maxCPU=MOST)

    await server.refused("RunJob", request, TOO_MUCH, "job creation failed: maxCPU exceeds system limits")


@case("run-job.two-cores", "run-job.max-cpu", "error.limits", level=Level.SHOULD, covers=("RunJobReq.maxCPU",))
async def two_cores_are_a_limit_like_others(server: Subject) -> None:
    """A maxCPU of 200 is in force as it was asked for, or refused as more than the system has."""
    outcome = await server.outcome("RunJob", pb.RunJobReq(command=server.programs.echo, maxCPU=200))

    if outcome.code is StatusCode.OK:
        same("maxCPU", outcome.answers[0].maxCPU, 200)
    else:
        one_of("the status of RunJob", outcome.code, TOO_MUCH)
        expect("exceeds system limits" in outcome.words, f"the message is {outcome.words!r}")


def _no_command(name: str, title: str, command: str, words: str | re.Pattern[str], level: Level) -> None:
    async def refused(server: Subject) -> None:
        await server.refused("RunJob", pb.RunJobReq(command=command), StatusCode.INVALID_ARGUMENT, words)

    refused.__doc__ = title
    case(
        f"run-job.{name}",
        "code.invalid-argument",
        "run-job.command",
        "run-job-req.command",
        level=level,
        covers=("RunJob=INVALID_ARGUMENT", "RunJobReq.command"),
    )(refused)


_no_command("empty-command", "An empty command is refused.", "", "", Level.MUST)
_no_command(
    "empty-command-words", "The refusal of an empty command says that it is invalid.", "", INVALID_COMMAND, Level.SHOULD
)
_no_command(
    "blank-command", "A command of white space is refused like an empty one.", " \t ", INVALID_COMMAND, Level.SHOULD
)


# Which characters are dangerous is not said: a command that has every one which a shell would act on has some of them.
@case("run-job.dangerous", "error.command", covers=("RunJob=INVALID_ARGUMENT",))
async def a_command_for_a_shell_is_refused(server: Subject) -> None:
    """A command with semicolon, pipe, ampersand, backticks and dollar is refused with the specification's words."""
    command = "echo one; echo `id` <in | cat >out & echo $(id)"
    words = "invalid command: command contains dangerous characters"
    await server.refused("RunJob", pb.RunJobReq(command=command), StatusCode.INVALID_ARGUMENT, words)


def _dangerous(name: str, character: str) -> None:
    @case(f"run-job.dangerous-{name}", "error.command", level=Level.SHOULD, covers=("RunJob=INVALID_ARGUMENT",))
    async def refused(server: Subject) -> None:
        """A character that only a shell understands is refused in a command."""
        words = "invalid command: command contains dangerous characters"
        command = f"echo{character}one"
        await server.refused("RunJob", pb.RunJobReq(command=command), StatusCode.INVALID_ARGUMENT, words)


for _name, _character in (
    ("semicolon", ";"),
    ("ampersand", "&"),
    ("pipe", "|"),
    ("backtick", "`"),
    ("dollar", "$"),
    ("less", "<"),
    ("greater", ">"),
    ("newline", "\n"),
):
    _dangerous(_name, _character)


@case("run-job.arguments-are-free", "run-job.args", "run-job-req.args", covers=("RunJob=OK", "RunJobReq.args"))
async def arguments_may_hold_what_a_command_may_not(server: Subject) -> None:
    """No shell is involved: semicolons, dollars, quotes, newlines and empty arguments reach the program as they are."""
    words = ("; echo no", "--", "$HOME", "`id`", "a'b\"c", "two\nlines", "", "ünï ✓")
    job = await server.echo(*words)

    same("the arguments", tuple(job.args), words)
    same("what the job prints", await server.log(job.id), (" ".join(words) + "\n").encode())


@case("run-job.many-arguments", "run-job.args", "run-job-req.args", covers=("RunJob=OK", "RunJobReq.args"))
async def all_arguments_reach_the_program(server: Subject) -> None:
    """A hundred arguments are a hundred, in their order."""
    words = [str(number) for number in range(100)]
    job = await server.echo(*words)

    same("the arguments", list(job.args), words)
    same("what the job prints", await server.log(job.id), (" ".join(words) + "\n").encode())


@case("run-job.long-argument", "run-job.args", "job.args", "list-jobs.response", covers=("RunJob=OK", "RunJobReq.args"))
async def an_argument_may_be_long(server: Subject) -> None:
    """An argument of 16 KB reaches the program, and is whole wherever it is told."""
    word = "0123456789abcdef" * 1024
    job = await server.echo(word)

    expect(await server.log(job.id) == f"{word}\n".encode(), "the job prints something else")
    for answer in (job, await server.status(job.id), (await server.listed())[job.id]):
        expect(list(answer.args) == [word], f"the argument is another in {answer.DESCRIPTOR.name}")


@case("run-job.no-arguments", "run-job.args", covers=("RunJob=OK", "RunJobReq.args"))
async def arguments_are_optional(server: Subject) -> None:
    """A command without arguments runs."""
    job = await server.run(server.programs.echo)

    same("what the job prints", await server.log(job.id), b"\n")


@case("run-job.not-found", "status.failed", covers=("RunJob=OK", "GetJobStatus=OK"))
async def a_program_that_does_not_exist_is_a_failed_job(server: Subject) -> None:
    """A command that cannot be found ends FAILED with an exit code that is not 0, or RunJob refuses it."""
    outcome = await server.outcome("RunJob", pb.RunJobReq(command="no-such-program-of-joblet-conformance"))

    if outcome.code not in TOO_MUCH:
        same("the status of RunJob", outcome.code.name, "OK")
        ended = await server.ended(outcome.answers[0])
        same("the job's status", ended.status, "FAILED")
        expect(ended.exitCode != 0, "the exit code is 0")


@case("run-job.start-time", "job.start-time", "run-job.response", covers=("RunJob=OK", "RunJobRes.startTime"))
async def the_start_time_is_now(server: Subject) -> None:
    """Once a job has started, its start is an RFC 3339 time within a few minutes of now."""
    job = await server.sleeper()
    if job.startTime:
        recent("startTime in RunJob's answer", job.startTime)
    found = await server.running(job)

    recent("startTime", found.startTime)
    same("endTime in RunJob's answer", job.endTime, "")


@case("run-job.utc", "job.start-time", "job.end-time", "proto.utc", level=Level.SHOULD, covers=("ListJobs=OK",))
async def times_are_in_utc(server: Subject) -> None:
    """The start and the end of a job are written in UTC, as in the specification's examples, wherever they stand."""
    job = await server.shell("exit 0")
    ended, listed = await server.ended(job), (await server.listed())[job.id]

    for answer in (ended, listed):
        utc("startTime", answer.startTime)
        utc("endTime", answer.endTime)


@case("run-job.refused-makes-none", "code.invalid-argument", covers=("RunJob=INVALID_ARGUMENT", "ListJobs=OK"))
async def a_refused_request_makes_no_job(server: Subject) -> None:
    """A job that was refused is in no list."""
    mark = f"conformance-{uuid.uuid4()}"
    request = pb.RunJobReq(command=server.programs.echo, args=[mark], maxCPU=-1)
    await server.refused("RunJob", request, StatusCode.INVALID_ARGUMENT)

    listed = await server.listed()

    same("jobs with its argument", [job.id for job in listed.values() if mark in job.args], [])


@case(
    "run-job.environment",
    "job.environment",
    "job.secret-environment",
    "proto.masked",
    level=Level.SHOULD,
    covers=(
        *fields("GetJobStatusRes", "environment", "secret_environment"),
        *fields("Job", "environment", "secret_environment"),
        *fields("RunJobReq", "environment", "secret_environment"),
    ),
)
async def secrets_reach_the_job_and_nobody_else(server: Subject) -> None:
    """A variable is shown and a secret one is masked, in every answer to every role; the job itself sees both."""
    secret, plain = f"secret-{uuid.uuid4()}", f"plain-{uuid.uuid4()}"
    job = await server.shell(
        'echo "$PLAIN $SECRET"', environment={"PLAIN": plain}, secret_environment={"SECRET": secret}
    )
    shown: list[tuple[str, pb.GetJobStatusRes | pb.Job]] = []
    for role in ROLES:
        shown += [(role, await server.status(job.id, role=role)), (role, (await server.listed(role=role))[job.id])]
    if not any(answer.environment for _, answer in shown):
        raise Skipped("the server takes no environment in RunJobReq (the specification has none there)")

    for role, answer in shown:
        same(f"environment, as {role}", dict(answer.environment), {"PLAIN": plain})
        same(f"names in secret_environment, as {role}", sorted(answer.secret_environment), ["SECRET"])
        expect(secret not in str(answer), f"the value of a secret variable is shown to {role}")
    expect(secret not in str(job), "the value of a secret variable is shown by RunJob")
    same("what the job prints", await server.log(job.id), f"{plain} {secret}\n".encode())
