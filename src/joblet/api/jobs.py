"""
The job calls, once for both services that offer them.

Runs in: server loop.
Source: API specification, "RunJob", "GetJobStatus", "StopJob", "ListJobs".
"""

import asyncio
from collections.abc import Sequence

from grpc import aio

from joblet.api import convert
from joblet.domain.job import Job
from joblet.serverlog import ServerLog
from joblet.services.jobs import Jobs
from joblet.wire import joblet_pb2 as pb


class JobCalls:
    """
    RunJob, GetJobStatus, StopJob and ListJobs.

    Args:
        max_send_bytes: Of the largest message that gRPC sends for us.
    """

    def __init__(self, jobs: Jobs, log: ServerLog, *, max_send_bytes: int) -> None:
        self._jobs = jobs
        self._log = log
        self._max_send_bytes = max_send_bytes

    async def RunJob(
        self, request: pb.RunJobReq, context: aio.ServicerContext[pb.RunJobReq, pb.RunJobRes]
    ) -> pb.RunJobRes:
        """Create a job and start it."""
        return convert.run_job_res(await self._jobs.run(convert.job_request(request)))

    async def GetJobStatus(
        self, request: pb.GetJobStatusReq, context: aio.ServicerContext[pb.GetJobStatusReq, pb.GetJobStatusRes]
    ) -> pb.GetJobStatusRes:
        """Everything about one job."""
        job = self._jobs.get(request.id)
        return convert.get_job_status_res(job, self._jobs.log_bytes(job))

    async def StopJob(
        self, request: pb.StopJobReq, context: aio.ServicerContext[pb.StopJobReq, pb.StopJobRes]
    ) -> pb.StopJobRes:
        """Stop a job; answers once nothing of it is left."""
        return convert.stop_job_res(await self._jobs.stop(request.id))

    async def ListJobs(
        self, request: pb.EmptyRequest, context: aio.ServicerContext[pb.EmptyRequest, pb.Jobs]
    ) -> pb.Jobs:
        """Every job, oldest first; when they are more than one message may hold, the newest."""
        # Newest first, because the oldest are left out; the loop is let go after each piece.
        pieces: list[bytes] = []
        room = self._max_send_bytes
        for jobs in self._jobs.newest_first():
            piece, left_out = _the_newest_that_fit(jobs, room)
            room -= len(piece)
            pieces.append(piece)
            if left_out:
                self._log.warn("list cut: the oldest jobs do not fit", maxSendMsgSize=self._max_send_bytes)
                break
            await asyncio.sleep(0)
        answer = pb.Jobs()
        while pieces:
            answer.MergeFromString(pieces.pop())
            await asyncio.sleep(0)
        return answer


def _the_newest_that_fit(jobs: Sequence[Job], room: int) -> tuple[bytes, bool]:
    """
    A piece of a `Jobs` message, oldest first; such pieces, merged one after the other, are one message.

    Args:
        jobs: Newest first.
        room: Most bytes.

    Returns:
        The piece, and whether jobs were left out of it.

    Source: Protocol Buffers, "Encoding", "Last One Wins": merging appends repeated fields.
    """
    entries = list(map(convert.list_entry, jobs))
    whole = pb.Jobs(jobs=entries[::-1]).SerializeToString()
    if len(whole) <= room:
        return whole, False
    count = 0
    for entry in entries:
        room -= pb.Jobs(jobs=[entry]).ByteSize()
        if room < 0:
            break
        count += 1
    return pb.Jobs(jobs=entries[:count][::-1]).SerializeToString(), True
