"""
GetJobLogs, once for both services that offer it.

Runs in: server loop.
Source: API specification, "GetJobLogs", "Streaming Behavior".
"""

from typing import cast

from grpc import aio

from joblet.api.convert import encoded_chunk, time_ns
from joblet.services.logs import STALL_TIMEOUT_S, Logs, deliver
from joblet.wire import joblet_pb2 as pb


class LogCalls:
    """
    The stream of one job's log.

    Args:
        stall_timeout_s: How long one piece may wait for a client before it is removed.
    """

    def __init__(self, logs: Logs, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._logs = logs
        self._stall_timeout_s = stall_timeout_s

    async def GetJobLogs(
        self, request: pb.GetJobLogsReq, context: aio.ServicerContext[pb.GetJobLogsReq, pb.DataChunk]
    ) -> None:
        """Write the log piece by piece; `write` waits while HTTP/2's windows are full, which is the flow control."""
        stream = self._logs.stream(
            request.id,
            offset_bytes=request.offset,
            tail_lines=request.tail,
            since_ns=time_ns("since", request.since),
            follow=not request.noFollow,
        )
        await context.send_initial_metadata(())  # a silent job's reader learns that the stream stands
        await deliver(
            stream,
            # Encoded here and passed on as it is by `calls`; gRPC itself only asks for something to serialize.
            lambda piece: context.write(cast(pb.DataChunk, encoded_chunk(piece, stream.begins_at))),
            stall_timeout_s=self._stall_timeout_s,
        )
