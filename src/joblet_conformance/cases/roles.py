"""
Who may call what: every call, every role.

Runs in: the terminal of whoever tests a server.
Source: API specification, "Role-Based Authorization", "Certificate Requirements", "Common Error Scenarios".
"""

import re
import uuid
from typing import Final

from google.protobuf.message import Message
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.calls import CALLS
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import expect, one_of, same
from joblet_conformance.subject import Subject
from joblet_conformance.workflowfile import job as workflow_job
from joblet_conformance.workflowfile import request_of

OF_JOBS: Final = tuple(f"JobletService.{name}" for name in ("GetJobStatus", "StopJob", "GetJobLogs"))
CHANGING: Final = ("RunJob", "StopJob")
READING: Final = ("GetJobStatus", "ListJobs", "GetJobLogs")
NO_ROLE: Final = re.compile(r"failed to extract client role: .+", re.DOTALL)

# A client that is cut in the handshake never gets as far as a status; gRPC then says UNAVAILABLE by itself.
CUT: Final = (StatusCode.UNAUTHENTICATED, StatusCode.UNAVAILABLE)
# Of a client that the CA knows and no role does, the specification does not say which of the two it is; and it too may
# be cut in the handshake.
NOBODY: Final = (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.UNAVAILABLE)


def operation(name: str) -> str:
    """`RunJob` → `run_job`, the words of a refusal."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _words(name: str) -> str:
    return f"role viewer is not allowed to perform operation {operation(name)}"


async def _good(server: Subject, name: str) -> Message:
    """A request that would be served, were the client an admin: a server may look at it before the role."""
    match name:
        case "GetJobStatus":
            return pb.GetJobStatusReq(id=(await server.echo("somebody's")).id)
        case "GetJobLogs":
            return pb.GetJobLogsReq(id=(await server.echo("somebody's")).id)
        case "ListJobs":
            return pb.EmptyRequest()
        case "RunJob":
            return pb.RunJobReq(command=server.programs.echo, args=["nobody may run this"])
        case "StopJob":
            job = await server.sleeper()
            await server.running(job)
            return pb.StopJobReq(id=job.id)
        case "RunWorkflow":
            return request_of({"only": workflow_job(server.programs.echo, "nobody may run this")}, "viewer.yaml")
        case _:
            return pb.InstallRuntimeRequest(name="viewer")


def _denied(name: str, profile: Profile) -> None:
    slug = operation(name).replace("_", "-")
    further = [f"{slug}.admin-only"] if name in CHANGING else []
    covers = (f"{name}=PERMISSION_DENIED",)

    @case(
        f"roles.viewer-{slug}",
        "code.permission-denied",
        "certificate.viewer",
        "roles.viewer",
        *further,
        profile=profile,
        covers=covers,
    )
    async def refused(server: Subject) -> None:
        """A viewer may not call what changes anything."""
        await server.refused(name, await _good(server, name), StatusCode.PERMISSION_DENIED, role="viewer")

    # The specification gives the words for run_job alone.
    @case(
        f"roles.viewer-{slug}-words",
        "error.role",
        profile=profile,
        level=Level.MUST if name == "RunJob" else Level.SHOULD,
        covers=covers,
    )
    async def refused_in_words(server: Subject) -> None:
        """The refusal of what a viewer may not do names the role and the operation."""
        request = await _good(server, name)
        await server.refused(name, request, StatusCode.PERMISSION_DENIED, _words(name), role="viewer")


for _name in CHANGING:
    _denied(_name, Profile.SECURITY)
_denied("RunWorkflow", Profile.WORKFLOW)
_denied("InstallRuntime", Profile.RUNTIME)


@case(
    "roles.viewer-cannot-stop",
    "roles.viewer",
    "stop-job.admin-only",
    profile=Profile.SECURITY,
    covers=("StopJob=PERMISSION_DENIED",),
)
async def a_viewers_stop_stops_nothing(server: Subject) -> None:
    """A viewer who knows the id of a running job is refused, and the job runs on."""
    job = await server.sleeper()
    await server.running(job)
    await server.refused("StopJob", pb.StopJobReq(id=job.id), StatusCode.PERMISSION_DENIED, role="viewer")

    same("the job's status", (await server.status(job.id)).status, "RUNNING")


@case(
    "roles.viewer-runs-nothing",
    "roles.viewer",
    "run-job.admin-only",
    profile=Profile.SECURITY,
    covers=("RunJob=PERMISSION_DENIED",),
)
async def a_viewers_job_is_never_made(server: Subject) -> None:
    """A job that a viewer asks for is refused, and no trace of it is in the list."""
    mark = f"viewer-{uuid.uuid4()}"
    request = pb.RunJobReq(command=server.programs.echo, args=[mark])
    await server.refused("RunJob", request, StatusCode.PERMISSION_DENIED, role="viewer")

    listed = await server.listed()

    same("jobs with its argument", [job.id for job in listed.values() if mark in job.args], [])


@case(
    "roles.refused-before-looked-up",
    "code.permission-denied",
    profile=Profile.SECURITY,
    level=Level.SHOULD,
    covers=("StopJob=PERMISSION_DENIED", "RunJob=PERMISSION_DENIED"),
)
async def a_viewer_learns_nothing_from_a_refusal(server: Subject) -> None:
    """The role is checked first: an unknown job and an empty command are refused to a viewer like all others."""
    for name, request in (("StopJob", pb.StopJobReq(id=str(uuid.uuid4()))), ("RunJob", pb.RunJobReq())):
        await server.refused(name, request, StatusCode.PERMISSION_DENIED, role="viewer")


@case(
    "roles.viewer-reads",
    "roles.viewer",
    "certificate.viewer",
    "get-job-status.roles",
    "list-jobs.roles",
    "version-2-10.list-roles",
    "get-job-logs.roles",
    "characteristics.roles",
    "overview.mutual-tls",
    profile=Profile.SECURITY,
    covers=("GetJobStatus=OK", "ListJobs=OK", "GetJobLogs=OK"),
)
async def a_viewer_may_read(server: Subject) -> None:
    """A viewer sees jobs, their status and their logs, exactly as an admin does."""
    job = await server.echo("for everybody")
    await server.ended(job)

    same("the status", await server.status(job.id, role="viewer"), await server.status(job.id))
    same("the list's entry", (await server.listed(role="viewer"))[job.id], (await server.listed())[job.id])
    same("the log", await server.log(job.id, role="viewer"), b"for everybody\n")


@case(
    "roles.admin",
    "roles.admin",
    "certificate.admin",
    profile=Profile.SECURITY,
    covers=("RunJob=OK", "GetJobStatus=OK", "StopJob=OK", "ListJobs=OK", "GetJobLogs=OK"),
)
async def an_admin_may_do_everything(server: Subject) -> None:
    """All five calls are open to an admin."""
    job = await server.sleeper()
    await server.running(job)
    await server.listed()
    await server.stop(job.id)
    await server.log(job.id)


def _shut_out(kind: str, title: str, *states: str, level: Level = Level.MUST) -> None:
    async def refused(server: Subject) -> None:
        server.target.identity(kind)
        for name in (*CHANGING, *READING):
            await server.refused(name, await _good(server, name), CUT, role=kind)
        await server.listed()  # a server that is gone is UNAVAILABLE too

    refused.__doc__ = title
    case(
        f"certificates.{kind}",
        "authentication.same-ca",
        "code.unauthenticated",
        *states,
        profile=Profile.SECURITY,
        level=level,
    )(refused)


_shut_out("expired", "A client whose certificate has expired gets nowhere, with any call.")
_shut_out("not-yet-valid", "A client whose certificate is not valid yet gets nowhere, with any call.")
_shut_out("foreign", "A client whose certificate is of another CA gets nowhere, whatever role it says.")
_shut_out("impostor", "A client whose CA has but the name of the right one gets nowhere.")
_shut_out("none", "A client without a certificate gets nowhere, with any call.", "base.certificates")


def _without_role(kind: str, title: str, level: Level = Level.MUST) -> None:
    async def refused(server: Subject) -> None:
        server.target.identity(kind)
        for name in (*CHANGING, *READING):
            await server.refused(name, await _good(server, name), NOBODY, role=kind)
        await server.listed()  # a server that is gone is UNAVAILABLE too

    refused.__doc__ = title
    case(
        f"certificates.{kind}",
        "certificate.subject",
        "code.unauthenticated",
        "code.permission-denied",
        profile=Profile.SECURITY,
        level=level,
    )(refused)


_without_role("role-less", "A certificate without an OU gives no role, and no call is served to it.")
_without_role("unknown-role", "A certificate with another OU than admin and viewer gives no role.")
_without_role("capitals", "OU=ADMIN is not the role admin.", Level.MAY)


@case(
    "certificates.role-less-words",
    "error.no-tls",
    "code.unauthenticated",
    profile=Profile.SECURITY,
    level=Level.SHOULD,
    covers=tuple(f"{found.name}=UNAUTHENTICATED" for found in CALLS.values()),
)
async def a_missing_role_is_told_like_a_missing_certificate(server: Subject) -> None:
    """Without a role a client is UNAUTHENTICATED, and the message begins as that of a missing certificate does."""
    for kind in ("role-less", "unknown-role"):
        server.target.identity(kind)
        for found in CALLS.values():
            outcome = await server.outcome(found.id, found.request(), role=kind)
            if outcome.code is not StatusCode.UNIMPLEMENTED:
                same(f"the status of {found.id}", outcome.code.name, "UNAUTHENTICATED")
                expect(NO_ROLE.fullmatch(outcome.words), f"the message of {found.id} is {outcome.words!r}")


@case(
    "certificates.named-admin",
    "certificate.subject",
    "certificate.viewer",
    profile=Profile.SECURITY,
    covers=("RunJob=PERMISSION_DENIED", "ListJobs=OK"),
)
async def a_name_is_no_role(server: Subject) -> None:
    """CN=admin with OU=viewer is a viewer."""
    server.target.identity("named-admin")
    request = await _good(server, "RunJob")
    await server.refused("RunJob", request, StatusCode.PERMISSION_DENIED, _words("RunJob"), role="named-admin")
    await server.listed(role="named-admin")


@case(
    "roles.every-call",
    "base.certificates",
    "certificate.subject",
    profile=Profile.SECURITY,
)
async def no_call_is_open_to_a_client_without_a_role(server: Subject) -> None:
    """No call of any service that the server offers is served to a client whose certificate has no role."""
    server.target.identity("role-less")
    wanted = [code.name for code in (*NOBODY, StatusCode.UNIMPLEMENTED)]
    for found in CALLS.values():
        # A job of one service need not be known to the other.
        is_good = found.name in ("RunJob", "ListJobs", "RunWorkflow") or found.id in OF_JOBS
        request = await _good(server, found.name) if is_good else found.request()
        outcome = await server.outcome(found.id, request, role="role-less")
        if is_good:
            one_of(f"the status of {found.id}", outcome.code.name, wanted)
        else:  # its request may be refused before anybody asks who sends it
            expect(outcome.code is not StatusCode.OK, f"{found.id} is served")
    await server.listed()


@case(
    "roles.job-service",
    "roles.viewer",
    "job-service.jobs",
    "run-job.admin-only",
    "stop-job.admin-only",
    profile=Profile.SECURITY,
    covers=("RunJob=PERMISSION_DENIED", "StopJob=PERMISSION_DENIED"),
)
async def a_viewer_changes_nothing_by_another_way(server: Subject) -> None:
    """What a viewer may not do in JobletService, he may not do in JobService either, where the server has both."""
    if job_id := await _of_job_service(server):
        for name, request in (("RunJob", await _good(server, "RunJob")), ("StopJob", pb.StopJobReq(id=job_id))):
            await server.refused(f"JobService.{name}", request, StatusCode.PERMISSION_DENIED, role="viewer")


@case(
    "roles.job-service-reads",
    "roles.viewer",
    "job-service.jobs",
    profile=Profile.SECURITY,
    covers=("GetJobStatus=OK", "ListJobs=OK"),
)
async def a_viewer_may_read_by_another_way(server: Subject) -> None:
    """What a viewer may read in JobletService, he may read in JobService too, also while a job runs."""
    if job_id := await _of_job_service(server):
        asked = pb.GetJobStatusReq(id=job_id)
        found = await server.answer("JobService.GetJobStatus", asked, pb.GetJobStatusRes, role="viewer")
        listed = await server.answer("JobService.ListJobs", pb.EmptyRequest(), pb.Jobs, role="viewer")

        same("the id", found.id, job_id)
        expect(job_id in {each.id for each in listed.jobs}, "the job is not in the list")


async def _of_job_service(server: Subject) -> str:
    """The id of a job that was started there; empty where the server has no JobService, which is open to nobody."""
    request = pb.RunJobReq(command=server.programs.sleep, args=["3600"])
    outcome = await server.outcome("JobService.RunJob", request)
    if outcome.code is StatusCode.UNIMPLEMENTED:
        return ""
    same("the status of RunJob in JobService", outcome.code.name, "OK")
    return str(outcome.answers[0].id)
