"""
Every error a user can meet: its code and its exact message, over real TLS.

Runs in: pytest. Source: API specification, "Error Handling".
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, cast

import pytest
from certificates import Authority, Credentials
from grpc import StatusCode
from served import Served, a_server, refusal

from joblet.api import status
from joblet.domain import errors
from joblet.services.request import JobDefaults
from joblet.testing.faults import Faults
from joblet.testing.programs import runs_forever
from joblet.wire import joblet_pb2 as pb
from joblet.wire.joblet_pb2_grpc import RuntimeServiceStub

if TYPE_CHECKING:
    from joblet.wire.joblet_pb2_grpc import RuntimeServiceAsyncStub

UNKNOWN = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
DANGEROUS = "invalid command: command contains dangerous characters"
INVALID, NOT_FOUND = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.RunJobReq(), "invalid command: command is empty"),
        (pb.RunJobReq(command="  \t"), "invalid command: command is empty"),
        *[(pb.RunJobReq(command=f"echo{character}hi"), DANGEROUS) for character in ";&|`$(){}[]<>\n\0"],
        (pb.RunJobReq(command="echo", args=["a", "b\0c"]), "invalid command: argument 2 contains a NUL character"),
        (pb.RunJobReq(command="true", maxCPU=-1), "job creation failed: maxCPU must not be negative"),
        (pb.RunJobReq(command="true", maxMemory=-1), "job creation failed: maxMemory must not be negative"),
        (pb.RunJobReq(command="true", maxMemory=-(2**31)), "job creation failed: maxMemory must not be negative"),
        (pb.RunJobReq(command="true", maxIOBPS=-5), "job creation failed: maxIOBPS must not be negative"),
        (pb.RunJobReq(command="true", timeout=-1), "job creation failed: timeout must not be negative"),
        (pb.RunJobReq(command="true", maxMemory=2**31 - 1), "job creation failed: maxMemory exceeds system limits"),
        (pb.RunJobReq(command="true", maxCPU=2**31 - 1), "job creation failed: maxCPU exceeds system limits"),
        (pb.RunJobReq(command="true", cpuCores="0-99"), "job creation failed: cpuCores exceeds system limits"),
        (
            pb.RunJobReq(command="true", cpuCores="one"),
            "job creation failed: cpuCores must be a list such as 0-1,3 (given: 'one')",
        ),
        (
            pb.RunJobReq(command="true", environment={"A=B": "c"}),
            "invalid request: environment has a variable with an invalid name ('A=B'):"
            " it must not be empty or contain = or NUL",
        ),
        (
            pb.RunJobReq(command="true", secret_environment={"KEY": "hidden\0value"}),
            "invalid request: secret_environment variable KEY contains a NUL character",
        ),
        (
            pb.RunJobReq(command="true", uploads=[pb.FileUpload(path="a")]),
            "invalid request: uploads is not yet available on this server",
        ),
        (
            pb.RunJobReq(command="true", schedule="2030-01-01T00:00:00Z"),
            "invalid request: schedule is not yet available on this server",
        ),
        (
            pb.RunJobReq(command="true", network="isolated"),
            "invalid request: network is not yet available on this server",
        ),
        (pb.RunJobReq(command="true", volumes=["v"]), "invalid request: volumes is not yet available on this server"),
        (pb.RunJobReq(command="true", runtime="py"), "invalid request: runtime is not yet available on this server"),
        (
            pb.RunJobReq(command="true", jobType="runtime-build"),
            "invalid request: jobType is not yet available on this server",
        ),
    ],
)
async def test_a_request_that_cannot_be_meant_is_refused(
    authority: Authority, certificates: dict[str, Credentials], request_: pb.RunJobReq, message: str
) -> None:
    """INVALID_ARGUMENT, and nothing of a job is left."""
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        assert await refusal(admin.RunJob(request_)) == (INVALID, message)
        assert list((await admin.ListJobs(pb.EmptyRequest())).jobs) == []
        assert served.engine.started == []


async def test_what_is_plain_host_or_standard_is_accepted(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The words that mean what the server does anyway."""
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        job = await admin.RunJob(pb.RunJobReq(command="true", network="host", jobType="standard"))

    assert job.status == "RUNNING"


Asks = Callable[[Served, Credentials, str], Awaitable[tuple[StatusCode, str]]]


async def get_status(served: Served, credentials: Credentials, job_id: str) -> tuple[StatusCode, str]:
    """How GetJobStatus refuses this id."""
    async with served.client(credentials) as client:
        return await refusal(client.GetJobStatus(pb.GetJobStatusReq(id=job_id)))


async def stop(served: Served, credentials: Credentials, job_id: str) -> tuple[StatusCode, str]:
    """How StopJob refuses this id."""
    async with served.client(credentials) as client:
        return await refusal(client.StopJob(pb.StopJobReq(id=job_id)))


async def get_logs(served: Served, credentials: Credentials, job_id: str) -> tuple[StatusCode, str]:
    """How GetJobLogs refuses this id."""
    async with served.client(credentials) as client:
        return await refusal(client.GetJobLogs(pb.GetJobLogsReq(id=job_id)))


@pytest.mark.parametrize("ask", [get_status, stop, get_logs])
@pytest.mark.parametrize(
    "job_id", [UNKNOWN, "", "%", "_", "' OR 1=1 --", "../../etc/passwd", "a\nb", "a\0b", "ü", "\U0010ffff", "f" * 37]
)
async def test_an_unknown_job_is_not_found(
    authority: Authority, certificates: dict[str, Credentials], ask: Asks, job_id: str
) -> None:
    """Whatever an id looks like, one that no job has is NOT_FOUND with that id."""
    async with a_server(authority) as served:
        await served.joblet.run("true")

        assert await ask(served, certificates["admin"], job_id) == (NOT_FOUND, f"job not found: {job_id}")


@pytest.mark.parametrize("ask", [get_status, stop, get_logs])
async def test_an_id_too_long_for_a_header_is_not_found(
    authority: Authority, certificates: dict[str, Credentials], ask: Asks
) -> None:
    """The message is cut, so that the client gets it at all."""
    async with a_server(authority) as served:
        code, message = await ask(served, certificates["admin"], "ü" * 100_000)

    assert code is NOT_FOUND
    assert message.startswith("job not found: üüü")
    assert message.endswith("ü…")


@pytest.mark.parametrize("ask", [get_status, stop, get_logs])
async def test_an_ambiguous_prefix_lists_its_matches(
    authority: Authority, certificates: dict[str, Credentials], ask: Asks
) -> None:
    """INVALID_ARGUMENT with the ids that begin so."""
    async with a_server(authority) as served:
        by_digit: dict[str, list[str]] = {}
        while not (twins := [ids for ids in by_digit.values() if len(ids) == 2]):
            job = await served.joblet.run(runs_forever())
            by_digit.setdefault(job.id[0], []).append(job.id)
        first, second = sorted(twins[0])

        answer = await ask(served, certificates["admin"], first[0])

    assert answer == (INVALID, f"ambiguous job id: {first[0]} matches {first}, {second}")


async def test_a_unique_prefix_is_as_good_as_the_id(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """Wherever an id is taken."""
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        job = await admin.RunJob(pb.RunJobReq(command="echo", args=["hi"]))

        found = await admin.GetJobStatus(pb.GetJobStatusReq(id=job.id[:6].upper()))

    assert found.id == job.id


@pytest.mark.parametrize(("command", "state"), [("true", "COMPLETED"), ("false", "FAILED")])
async def test_stop_of_a_finished_job_is_refused_with_its_status(
    authority: Authority, certificates: dict[str, Credentials], command: str, state: str
) -> None:
    """INVALID_ARGUMENT, as in the specification."""
    async with a_server(authority) as served:
        job = await served.joblet.run(command)
        await served.joblet.ended(job)

        answer = await stop(served, certificates["admin"], job.id)

    assert answer == (INVALID, f"job is not running: {job.id} (current status: {state})")


async def test_jobs_beyond_the_limit_are_refused_with_it(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """RESOURCE_EXHAUSTED, and the jobs that run go on."""
    defaults = JobDefaults(max_concurrent_jobs=2)
    async with a_server(authority, defaults=defaults) as served, served.client(certificates["admin"]) as admin:
        for _ in range(2):
            await served.joblet.run(runs_forever())

        answer = await refusal(admin.RunJob(pb.RunJobReq(command="true")))
        running = served.engine.running

    assert answer == (StatusCode.RESOURCE_EXHAUSTED, "too many jobs: 2 are already running (maxConcurrentJobs: 2)")
    assert len(running) == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            errors.CgroupSetupFailed("permission denied"),
            StatusCode.INTERNAL,
            "cgroup setup failed: permission denied",
        ),
        (
            errors.IsolationFailed("operation not permitted"),
            StatusCode.INTERNAL,
            "failed to create isolated environment: operation not permitted",
        ),
        (
            errors.NotLinux("darwin"),
            StatusCode.INTERNAL,
            "job execution requires Linux server (current: darwin)",
        ),
        (
            errors.EngineUnavailable("the supervisor is gone"),
            StatusCode.UNAVAILABLE,
            "job creation failed: the supervisor is gone",
        ),
    ],
)
async def test_a_failed_set_up_tells_its_reason(
    authority: Authority,
    certificates: dict[str, Credentials],
    error: errors.JobletError,
    code: StatusCode,
    message: str,
) -> None:
    """RunJob answers with it, and the job is kept as FAILED with the same reason."""
    faults = Faults(1, error, only=["engine.start"])
    async with a_server(authority, faults=faults) as served, served.client(certificates["admin"]) as admin:
        assert await refusal(admin.RunJob(pb.RunJobReq(command="true"))) == (code, message)
        assert faults.fired

        (job,) = (await admin.ListJobs(pb.EmptyRequest())).jobs
        assert job.status == "FAILED"
        assert (await admin.GetJobStatus(pb.GetJobStatusReq(id=job.id))).reason == message


async def test_a_job_that_cannot_be_stored_is_refused(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """INTERNAL, and no job is left running."""
    faults = Faults(1, errors.StorageFailed("the disk is full"), only=["store.add"])
    async with a_server(authority, faults=faults) as served, served.client(certificates["admin"]) as admin:
        answer = await refusal(admin.RunJob(pb.RunJobReq(command="sleep", args=["infinity"])))

        assert answer == (StatusCode.INTERNAL, "job creation failed: the disk is full")
        assert served.engine.running == frozenset()


async def test_an_unforeseen_error_keeps_its_details_in_the_server_log(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The client learns no path, no line and no value; the log has the traceback in one line."""
    faults = Faults(1, RuntimeError("at /secret/path"), only=["store.add"])
    async with a_server(authority, faults=faults) as served, served.client(certificates["admin"]) as admin:
        code, message = await refusal(admin.RunJob(pb.RunJobReq(command="true")))
        (line,) = [line for line in served.log if "traceback=" in line]

    assert (code, message) == (StatusCode.INTERNAL, status.UNFORESEEN)
    assert "[ERROR] call failed" in line
    assert "method=/joblet.JobService/RunJob" in line
    assert "RuntimeError: at /secret/path" in line
    assert len(line.splitlines()) == 1


async def test_negative_places_in_a_log_are_refused(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """offset and tail."""
    async with a_server(authority) as served, served.client(certificates["viewer"]) as viewer:
        job = await served.joblet.run("true")

        for request in (pb.GetJobLogsReq(id=job.id, offset=-1), pb.GetJobLogsReq(id=job.id, tail=-1)):
            code, message = await refusal(viewer.GetJobLogs(request))
            assert code is INVALID
            assert message.startswith("invalid request: ")


@pytest.mark.parametrize("kind", ["admin", "viewer"])
async def test_calls_of_later_issues_say_that_they_are_not_available(
    authority: Authority, certificates: dict[str, Credentials], kind: str
) -> None:
    """UNIMPLEMENTED in plain words."""
    async with a_server(authority) as served, served.channel(certificates[kind]) as channel:
        runtimes = cast("RuntimeServiceAsyncStub", RuntimeServiceStub(channel))
        answer = await refusal(runtimes.ListRuntimes(pb.ListRuntimesRequest()))

    assert answer == (StatusCode.UNIMPLEMENTED, "managing runtimes is not yet available on this server")
