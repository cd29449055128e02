"""The standard health service: what a load balancer is told, and when."""

import pytest
from certificates import Authority, Credentials
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from served import a_server

from joblet.api.server import JOBLET_SERVICES

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_each_service_is_serving_while_the_engine_answers(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The server as a whole, and each of its services by name."""
    async with a_server(authority) as served, served.channel(certificates["viewer"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *JOBLET_SERVICES):
            watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
            assert (await first(watch, SERVING)).status == SERVING
            assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        listed = await stub.List(health_pb2.HealthListRequest())

    assert {name: answer.status for name, answer in listed.statuses.items()} == dict.fromkeys(
        ("", *JOBLET_SERVICES), SERVING
    )


async def first(watch: object, status: int) -> health_pb2.HealthCheckResponse:
    """The next answer with this status."""
    async for answer in watch:  # type: ignore[attr-defined]
        if answer.status == status:
            return answer
    raise AssertionError("the watch ended")


async def test_an_unknown_service_is_not_found(authority: Authority, certificates: dict[str, Credentials]) -> None:
    """As the protocol demands."""
    async with a_server(authority) as served, served.channel(certificates["viewer"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(aio.AioRpcError) as refused:
            await stub.Check(health_pb2.HealthCheckRequest(service="joblet.NoService"))

    assert refused.value.code() is StatusCode.NOT_FOUND


async def test_a_lost_engine_is_told_to_watchers_and_its_return_too(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """NOT_SERVING, then SERVING again."""
    async with a_server(authority) as served, served.channel(certificates["viewer"]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = aiter(stub.Watch(health_pb2.HealthCheckRequest()))
        await first(watch, SERVING)

        served.engine.lose()
        await first(watch, NOT_SERVING)
        served.engine.come_back()
        await first(watch, SERVING)


async def test_a_watcher_is_told_of_the_shutdown_and_does_not_hold_it_up(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """NOT_SERVING, and then the stream ends long before the grace is over."""
    async with a_server(authority) as served, served.channel(certificates["viewer"]) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        answers = aiter(watch)
        await first(answers, SERVING)

        await served.server.stop(grace_s=50)

        await first(answers, NOT_SERVING)
        assert await watch.code() is StatusCode.UNAVAILABLE
