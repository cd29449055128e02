"""Who may call what: every call of every service, with every kind of certificate, over real TLS."""

import asyncio
from typing import Any, cast

import pytest
from certificates import Authority, Credentials
from google.protobuf import descriptor_pool
from grpc import RpcError, StatusCode, aio
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from served import Served, a_server

from joblet.api import roles

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
STREAMS_ANSWERS = {"GetJobLogs", "Watch"}
REFUSED_IN_THE_HANDSHAKE = ["expired", "not yet valid", "other CA", "none"]
NO_ROLE = {
    "no OU": "the certificate's subject has no OU (expected OU=admin or OU=viewer)",
    "unknown OU": "unknown role operator (expected OU=admin or OU=viewer)",
    "OU in capitals": "unknown role ADMIN (expected OU=admin or OU=viewer)",
    "two OUs": "the certificate's subject has several OUs: admin, viewer",
}
CHANGES = {"RunJob", "StopJob", "RunWorkflow", "StopWorkflow", "InstallRuntime", "TestRuntime"}
OPERATION = {
    "RunJob": "run_job",
    "StopJob": "stop_job",
    "RunWorkflow": "run_workflow",
    "StopWorkflow": "stop_workflow",
    "InstallRuntime": "install_runtime",
    "TestRuntime": "test_runtime",
}


async def outcome(channel: aio.Channel, method: str) -> tuple[StatusCode, str]:
    """
    How an empty request ends; a stream that begins is as good as OK.

    The empty message is a valid request of every call.
    """
    name = method.rpartition("/")[2]
    try:
        if name in STREAMS_ANSWERS:
            stream: Any = channel.unary_stream(method, None, None)
            await anext(aiter(stream(b"", timeout=20)))
        else:
            unary: Any = channel.unary_unary(method, None, None)
            await unary(b"", timeout=20)
    except aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return StatusCode.OK, ""


async def outcomes(served: Served, credentials: Credentials | None) -> dict[str, tuple[StatusCode, str]]:
    """How every call of the table ends for one client."""
    async with served.channel(credentials) as channel:
        return {
            method: await outcome(channel, method)
            if method != REFLECTION
            else await asyncio.to_thread(outcome_of_reflection, served, credentials)
            for method in roles.ALLOWED
        }


def outcome_of_reflection(served: Served, credentials: Credentials | None) -> tuple[StatusCode, str]:
    """
    How a question to the one call ends that streams both ways.

    Blocking: the asynchronous client says INTERNAL, not what the server said, when that comes while it still sends
    its question (https://github.com/grpc/grpc/issues/36066).
    """
    with served.blocking_channel(credentials) as channel:
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        try:
            next(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([question]), timeout=20))
        except RpcError as error:
            call = cast("Any", error)
            return call.code(), call.details() or ""
    return StatusCode.OK, ""


async def test_an_admin_may_call_everything(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """No call is refused for its role; what fails, fails for what it asks."""
    async with a_server(authority) as served:
        ended = await outcomes(served, certificates["admin"])

    refused = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED, StatusCode.UNAVAILABLE, StatusCode.INTERNAL}
    assert [method for method, (code, _) in ended.items() if code in refused] == []


async def test_a_viewer_may_only_read(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """Each call that changes something is refused by its name in snake case, and no other is."""
    async with a_server(authority) as served:
        ended = await outcomes(served, certificates["viewer"])
        started = served.engine.started

    denied = {method: words for method, (code, words) in ended.items() if code is StatusCode.PERMISSION_DENIED}
    assert denied == {
        method: f"role viewer is not allowed to perform operation {OPERATION[method.rpartition('/')[2]]}"
        for method in roles.ALLOWED
        if method.rpartition("/")[2] in CHANGES
    }
    assert started == []


@pytest.mark.parametrize("kind", NO_ROLE)
async def test_a_certificate_without_one_role_gets_nothing(
    authority: Authority, certificates: dict[str, Credentials], kind: str
) -> None:
    """UNAUTHENTICATED for every call, with the reason."""
    async with a_server(authority) as served:
        ended = await outcomes(served, certificates[kind])

    assert set(ended.values()) == {(StatusCode.UNAUTHENTICATED, f"failed to extract client role: {NO_ROLE[kind]}")}


@pytest.mark.parametrize("kind", REFUSED_IN_THE_HANDSHAKE)
async def test_a_client_that_cannot_be_verified_never_gets_to_a_call(
    authority: Authority, certificates: dict[str, Credentials], kind: str
) -> None:
    """The handshake is cut; the client sees UNAVAILABLE, and no call reaches the server."""
    async with a_server(authority) as served:
        ended = await outcomes(served, certificates.get(kind))
        lines = list(served.log)

    assert {code for code, _ in ended.values()} == {StatusCode.UNAVAILABLE}
    assert [line for line in lines if "method=" in line] == []


async def test_every_call_of_every_service_has_a_role(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The table is complete: what the server offers by reflection stands in it, and nothing else does."""
    async with a_server(authority) as served, served.channel(certificates["viewer"]) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = await anext(aiter(stub.ServerReflectionInfo(iter([question]))))
    services = [service.name for service in answer.list_services_response.service]

    pool = descriptor_pool.Default()
    offered = {
        f"/{service}/{method.name}" for service in services for method in pool.FindServiceByName(service).methods
    }
    assert len(services) == 5
    assert offered == set(roles.ALLOWED)


async def test_an_unknown_call_is_unimplemented(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """A call of a newer client gets the code that says so."""
    async with a_server(authority) as served, served.channel(certificates["admin"]) as channel:
        code, _ = await outcome(channel, "/joblet.JobService/DeleteEverything")

    assert code is StatusCode.UNIMPLEMENTED


async def test_authentication_is_logged_once_a_connection(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Who came, as what, from where; each refused attempt is an ERROR with its reason."""
    async with a_server(authority) as served:
        async with served.channel(certificates["admin"]) as channel:
            for method in roles.ALLOWED.keys() - {REFLECTION}:
                await outcome(channel, method)
        async with served.channel(certificates["no OU"]) as channel:
            await outcome(channel, "/joblet.JobService/ListJobs")
        lines = list(served.log)

    (known,) = [line for line in lines if "client authenticated" in line]
    assert "[INFO]" in known
    assert "client=alice role=admin" in known
    assert "peer=ipv4:127.0.0.1:" in known
    (failed,) = [line for line in lines if "authentication failed" in line]
    assert "[ERROR]" in failed
    assert "client=carol role=none code=UNAUTHENTICATED" in failed
    assert "the certificate's subject has no OU" in failed
