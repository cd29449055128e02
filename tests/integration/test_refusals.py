"""
What this machine cannot or may not do for a job, told in the API specification's own words: by gRPC and by `rnx`.

Each refusal is the kernel's: a server of the test's own is started with a cgroup tree that cannot be written, or
without the privilege that a job's namespaces need.

Runs in: pytest in the test machine, as root.
Source: API specification, "Platform Errors", "Job Operation Errors", "gRPC Status Codes", "Error Response Format".
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import grpc
import pytest
from installed import DEADLINE_S, ENVIRON, Installed
from real_server import RealServer, Settings

from joblet.client import Credentials, JobletClient
from joblet.domain.limits import MIB
from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

CGROUPS: Final = "/sys/fs/cgroup"
# The machine's own tree stays as it is: the mount is the server's alone, in a mount namespace of its own.
READ_ONLY_TREE: Final = (
    *("unshare", "--mount", "sh", "-c"),
    f'mount -o remount,bind,ro {CGROUPS} && exec "$@"',
    "sh",
)
NOBODY: Final = 65534
UNPRIVILEGED: Final = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
NOT_EVERY_CAPABILITY: Final = ("setpriv", "--bounding-set=-sys_admin")
NO_CGROUP: Final = "cgroup setup failed: permission denied"
NO_NAMESPACE: Final = "failed to create isolated environment: operation not permitted"
TOO_MUCH_MEMORY: Final = "job creation failed: maxMemory exceeds system limits"


@contextlib.contextmanager
def serving(cgroups: str, wrapper: Sequence[str] = (), uid: int = 0) -> Iterator[RealServer]:
    """A server of this test's own, beside the installed one, in a folder that its user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="joblet-refusals-", dir="/var/tmp"))
    settings: Settings = {"isolation": {"cgroups": cgroups}}
    server = RealServer(folder, settings, {}, wrapper)
    try:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid)
        server.start()
        yield server
    finally:
        server.down()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def with_a_read_only_tree() -> Iterator[RealServer]:
    """A server that must enforce limits, and cannot."""
    with serving("required", READ_ONLY_TREE) as server:
        yield server


@pytest.fixture(scope="module")
def without_privilege() -> Iterator[RealServer]:
    """A server of an ordinary user's; limits are off, so they are not what fails."""
    with serving("off", UNPRIVILEGED, NOBODY) as server:
        yield server


def refusal(environ: Mapping[str, str], request: pb.RunJobReq) -> tuple[grpc.StatusCode, str]:
    """RunJob's code and message, as any gRPC client gets them."""
    ca, key, certificate = (
        Path(environ[f"JOBLET_{name}_PATH"]).read_bytes() for name in ("CA", "KEY", "CERT")
    )  # fmt: skip
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    with grpc.secure_channel(environ["JOBLET_SERVER"], credentials) as channel, pytest.raises(grpc.RpcError) as raised:
        joblet_pb2_grpc.JobServiceStub(channel).RunJob(request, timeout=DEADLINE_S)
    call = cast("grpc.Call", raised.value)
    return call.code(), call.details()


def client(server: RealServer) -> JobletClient:
    """An administrator's connection."""
    return JobletClient(server.address, Credentials.from_environment(server.client_environ), patience_s=DEADLINE_S)


def megabytes_here() -> int:
    """All the memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB


# A cgroup tree that cannot be written


def test_no_cgroup_is_an_internal_error_with_the_kernel_s_reason(with_a_read_only_tree: RealServer) -> None:
    answer = refusal(with_a_read_only_tree.client_environ, pb.RunJobReq(command="true"))

    assert answer == (grpc.StatusCode.INTERNAL, NO_CGROUP)


def test_rnx_prints_that_there_is_no_cgroup_and_exits_with_1(
    joblet: Installed, with_a_read_only_tree: RealServer
) -> None:
    done = joblet.rnx("run", "true", environ=with_a_read_only_tree.client_environ)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {NO_CGROUP}\n")


def test_the_server_log_says_what_is_wrong_with_the_tree_and_what_mends_it(with_a_read_only_tree: RealServer) -> None:
    """The user of a job reads the kernel's reason, the administrator all of it."""
    refusal(with_a_read_only_tree.client_environ, pb.RunJobReq(command="true"))

    lines = with_a_read_only_tree.log.read_text().splitlines()
    (attached,) = [line for line in lines if "engine attached" in line]
    assert f"{CGROUPS} is mounted read-only: mount -o remount,rw {CGROUPS}" in attached
    assert any("] [ERROR] job failed to start | " in line and f'error="{NO_CGROUP}"' in line for line in lines)


def test_a_job_refused_for_its_cgroup_is_kept_as_failed_with_the_reason(with_a_read_only_tree: RealServer) -> None:
    refusal(with_a_read_only_tree.client_environ, pb.RunJobReq(command="true"))

    with client(with_a_read_only_tree) as connected:
        job = connected.get_job_status(connected.list_jobs()[-1].id)
    assert (job.status, job.reason) == ("FAILED", NO_CGROUP)


def test_without_a_cgroup_a_job_may_run_where_limits_are_not_required(joblet: Installed) -> None:
    """`isolation.cgroups: auto` on the same tree; the job's status says that it has no limits."""
    with serving("auto", READ_ONLY_TREE) as server:
        done = joblet.rnx("run", "--follow", "echo", "hello", environ=server.client_environ)
        (job_id,) = (line.split()[0] for line in joblet.rnx("list", environ=server.client_environ).stdout.splitlines())
        status = joblet.rnx("status", job_id, environ=server.client_environ)

    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert f"Limits: not enforced ({CGROUPS} is mounted read-only)" in status.stdout.splitlines()


def test_a_tree_that_becomes_read_only_refuses_jobs_until_it_can_be_written_again() -> None:
    """The kernel refuses the job's own group, not a look at the tree before it; the server and its jobs go on."""
    with serving("required") as server, client(server) as connected:
        before = connected.run_job("sleep", ["1000"])
        remount = ["nsenter", f"--target={server.supervisor_pid}", "--mount", "mount", CGROUPS, "-o"]

        subprocess.run([*remount, "remount,bind,ro"], check=True)
        refused = refusal(server.client_environ, pb.RunJobReq(command="true"))
        subprocess.run([*remount, "remount,bind,rw"], check=True)

        assert refused == (grpc.StatusCode.INTERNAL, NO_CGROUP)
        after = connected.run_job("true")
        assert connected.wait(after.id).exit_code == 0
        assert connected.get_job_status(before.id).status == "RUNNING"


# No privilege to isolate


def test_no_namespace_is_an_internal_error_with_the_kernel_s_reason(without_privilege: RealServer) -> None:
    answer = refusal(without_privilege.client_environ, pb.RunJobReq(command="true"))

    assert answer == (grpc.StatusCode.INTERNAL, NO_NAMESPACE)


def test_root_without_cap_sys_admin_is_refused_just_so() -> None:
    """As in a container that was not given it."""
    with serving("off", NOT_EVERY_CAPABILITY) as server:
        answer = refusal(server.client_environ, pb.RunJobReq(command="true"))

    assert answer == (grpc.StatusCode.INTERNAL, NO_NAMESPACE)


def test_rnx_prints_that_there_is_no_namespace_and_exits_with_1(
    joblet: Installed, without_privilege: RealServer
) -> None:
    done = joblet.rnx("run", "true", environ=without_privilege.client_environ)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {NO_NAMESPACE}\n")


def test_a_script_gets_the_specification_s_error_object(joblet: Installed, without_privilege: RealServer) -> None:
    """ "Error Response Format", on standard error."""
    done = joblet.rnx("run", "--output=json", "true", environ=without_privilege.client_environ)

    assert json.loads(done.stderr) == {"code": "INTERNAL", "message": NO_NAMESPACE, "details": []}
    assert (done.returncode, done.stdout) == (1, "")


def test_no_command_runs_without_isolation(without_privilege: RealServer) -> None:
    """Refused means refused: nothing of the command has happened."""
    trace = without_privilege.temporary / "trace"

    refusal(without_privilege.client_environ, pb.RunJobReq(command="touch", args=[str(trace)]))

    assert not trace.exists()


# More than the machine has


def test_a_limit_above_the_machine_s_memory_is_an_invalid_argument(joblet: Installed) -> None:
    answer = refusal(ENVIRON, pb.RunJobReq(command="true", maxMemory=megabytes_here() + 1))

    assert answer == (grpc.StatusCode.INVALID_ARGUMENT, TOO_MUCH_MEMORY)


def test_rnx_prints_that_a_limit_is_above_the_machine_s_memory_and_exits_with_1(joblet: Installed) -> None:
    done = joblet.rnx("run", f"--max-memory={megabytes_here() + 1}", "true")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {TOO_MUCH_MEMORY}\n")


def test_a_refused_limit_leaves_no_job(joblet: Installed) -> None:
    before = {job.id for job in joblet.client.list_jobs()}

    refusal(ENVIRON, pb.RunJobReq(command="true", maxMemory=megabytes_here() + 1))

    assert {job.id for job in joblet.client.list_jobs()} == before


def test_all_of_the_machine_s_memory_may_be_asked_for(joblet: Installed) -> None:
    ended, _ = joblet.run("true", memory_max_bytes=megabytes_here() * MIB)

    assert ended.exit_code == 0
