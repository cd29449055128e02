"""A log stream on which nothing happens for minutes, under a client that pings every 30 seconds."""

import asyncio

import pytest
from certificates import Authority, Credentials
from served import a_server

from joblet.testing.programs import prints
from joblet.wire import joblet_pb2 as pb

SILENCE_S = 185


@pytest.mark.slow
async def test_a_stream_silent_for_three_minutes_is_not_cut(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Without our two server options it ends after 90 s with `too_many_pings`."""
    pings = [("grpc.keepalive_time_ms", 30_000), ("grpc.keepalive_permit_without_calls", 1)]
    program = prints(b"before\n").then_sleeps(SILENCE_S).then_prints(b"after\n")
    async with a_server(authority) as served, served.client(certificates["viewer"], pings) as viewer:
        job = await served.joblet.run(program)
        stream = aiter(viewer.GetJobLogs(pb.GetJobLogsReq(id=job.id)))
        assert (await anext(stream)).payload == b"before\n"

        async with asyncio.timeout(SILENCE_S + 20):
            assert (await anext(stream)).payload == b"after\n"
            assert [chunk async for chunk in stream] == []
