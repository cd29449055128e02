"""
The job calls, once for both services that offer them.

Runs in: server loop.
Source: API specification, "RunJob", "GetJobStatus", "StopJob", "ListJobs".
"""

from grpc import aio

from joblet.api import convert
from joblet.api.listing import newest_that_fit
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
        pieces = (list(map(convert.list_entry, jobs)) for jobs in self._jobs.newest_first())
        answer, left_out = await newest_that_fit(pieces, lambda entries: pb.Jobs(jobs=entries), self._max_send_bytes)
        if left_out:
            self._log.warn("list cut: the oldest jobs do not fit", maxSendMsgSize=self._max_send_bytes)
        return answer
