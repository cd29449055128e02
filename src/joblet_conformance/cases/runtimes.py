"""
RuntimeService, as far as roles and unknown names go: what it builds depends on the target's machine.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RuntimeService (Administrative Operations)".
"""

from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Profile, case
from joblet_conformance.subject import Subject


@case(
    "runtime.list",
    "runtime-service.list",
    "certificate.viewer",
    profile=Profile.RUNTIME,
    covers=("ListRuntimes=OK", "ListRuntimesResponse.runtimes"),
)
async def runtimes_are_listed_to_everybody(server: Subject) -> None:
    """An admin and a viewer may list the runtimes."""
    for role in ("admin", "viewer"):
        await server.answer("ListRuntimes", pb.ListRuntimesRequest(), pb.ListRuntimesResponse, role=role)


@case(
    "runtime.install-nothing",
    "runtime-service.install",
    "code.invalid-argument",
    profile=Profile.RUNTIME,
    covers=("InstallRuntime=INVALID_ARGUMENT", "InstallRuntimeRequest.name"),
)
async def a_runtime_without_a_name_is_refused(server: Subject) -> None:
    """There is no runtime to install without a name."""
    await server.refused("InstallRuntime", pb.InstallRuntimeRequest(), StatusCode.INVALID_ARGUMENT)
