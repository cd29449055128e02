"""The job calls over the wire where one message sets a limit to them."""

from certificates import Authority, Credentials
from served import a_server

from joblet.api.server import WireOptions
from joblet.wire import joblet_pb2 as pb


async def test_a_list_of_more_jobs_than_fit_has_the_newest_oldest_first_and_the_log_says_so(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Else `rnx list` would fail for good once a server has seen some tens of thousands of jobs."""
    options = WireOptions(max_send_bytes=4096)
    async with a_server(authority, options=options) as served, served.client(certificates["admin"]) as admin:
        ran = [await served.joblet.run("true") for _ in range(50)]

        listed = await admin.ListJobs(pb.EmptyRequest())

        assert [job.id for job in listed.jobs] == [job.id for job in ran[-len(listed.jobs) :]]
        assert 4096 - 200 < listed.ByteSize() <= 4096
        assert await served.log.saying("list cut")


async def test_a_list_of_several_pieces_is_whole_and_oldest_first(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Read backwards in pieces, and nobody sees it."""
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        ran = []
        for _ in range(3):
            ran += [await served.joblet.run("true") for _ in range(90)]
            for job in ran[-90:]:
                await served.joblet.ended(job)

        listed = await admin.ListJobs(pb.EmptyRequest())

        assert [job.id for job in listed.jobs] == [job.id for job in ran]
        assert not [line for line in served.log if "list cut" in line]
