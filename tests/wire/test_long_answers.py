"""Calls whose answers are long, over the wire: one message sets a limit to them."""

from certificates import Authority, Credentials
from grpc import StatusCode
from served import a_server, refusal

from joblet.api.server import WireOptions
from joblet.domain.errors import StorageFailed
from joblet.testing.faults import Faults
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


async def test_a_list_of_more_workflows_than_fit_has_the_newest_oldest_first_and_the_log_says_so(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    options = WireOptions(max_send_bytes=4096)
    async with a_server(authority, options=options) as served, served.client(certificates["admin"]) as admin:
        ran = [await served.joblet.run_workflow("jobs: {a: {command: echo}}") for _ in range(50)]

        listed = (await admin.ListWorkflows(pb.ListWorkflowsRequest(includeCompleted=True))).workflows

        assert [each.uuid for each in listed] == [each.id for each in ran[-len(listed) :]]
        assert len(listed) > 20
        assert await served.log.saying("list cut")


async def test_a_workflow_of_many_jobs_is_shown_whole_and_in_order(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Converted in pieces, and nobody sees it."""
    text = "jobs: {wait: {command: sleep, args: [600]}"
    text += "".join(f", j{number}: {{command: echo, requires: [{{wait: FINISHED}}]}}" for number in range(250)) + "}"
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        workflow = await served.joblet.run_workflow(text)

        status = await admin.GetWorkflowStatus(pb.GetWorkflowStatusRequest(workflowUuid=workflow.id))
        jobs = await admin.GetWorkflowJobs(pb.GetWorkflowJobsRequest(workflowUuid=workflow.id))

        names = ["wait", *(f"j{number}" for number in range(250))]
        assert [job.jobName for job in status.jobs] == [job.jobName for job in jobs.jobs] == names


async def test_a_workflow_may_have_no_name_but_not_one_that_cannot_be_read(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    async with a_server(authority) as served, served.client(certificates["admin"]) as admin:
        file = "jobs: {a: {command: echo}}"

        assert (await admin.RunWorkflow(pb.RunWorkflowRequest(yamlContent=file))).workflowUuid
        for name in (" ", "a\0b", "a\x1b[2J", "a\nb"):
            assert await refusal(admin.RunWorkflow(pb.RunWorkflowRequest(workflow=name, yamlContent=file))) == (
                StatusCode.INVALID_ARGUMENT,
                "invalid request: workflow is a name of printable characters, not only blanks; or empty",
            )


async def test_a_workflow_that_the_disk_refuses_is_not_called_a_job(
    authority: Authority, certificates: dict[str, Credentials]
) -> None:
    faults = Faults(1, StorageFailed("the disk is full"), only=["workflows.add"])
    async with a_server(authority, faults=faults) as served, served.client(certificates["admin"]) as admin:
        request = pb.RunWorkflowRequest(yamlContent="jobs: {a: {command: echo}}")

        assert await refusal(admin.RunWorkflow(request)) == (StatusCode.INTERNAL, "storage failed: the disk is full")
