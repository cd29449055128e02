"""
The machine goes down with jobs on it, in order or not, and comes back.

Each kind of going down happens once, for all tests of it.

Runs in: pytest on the machine's host.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest
from remote import Remote

from joblet.client import JobStatus

LINES_BEFORE: Final = 20


@dataclass(frozen=True, slots=True)
class Aftermath:
    """
    What there was before, and what is told of it afterwards.

    Args:
        remote: The machine, running again.
        finished: A job that had ended before.
        running: A job that was printing.
        lines: That it had printed, and that were on the disk.
        told: How a job that went down with the machine ended: its status, exit code and reason.
    """

    remote: Remote
    finished: JobStatus
    running: JobStatus
    lines: int
    told: tuple[str, int, str]


REBOOT: Final = ("STOPPED", -1, "the server was taken down")
POWER_CUT: Final = ("FAILED", 125, "lost: the machine or Joblet's supervisor went down while the job ran")


@pytest.fixture(scope="module", params=[pytest.param(REBOOT, id="reboot"), pytest.param(POWER_CUT, id="power cut")])
def aftermath(remote: Remote, request: pytest.FixtureRequest) -> Iterator[Aftermath]:
    """The machine after it went down with two jobs, one of them running."""
    with remote.connected() as client:
        finished = client.run_job("sh", ["-c", "echo done; exit 7"], timeout_s=600).id
        client.wait(finished)
        running = client.run_job("sh", ["-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.2; done"]).id
        seen = 0
        with client.get_job_logs(running) as chunks:
            for chunk in chunks:
                seen += chunk.count(b"\n")
                if seen >= LINES_BEFORE:
                    break
    # What a machine without power keeps is what it had on its disk; when that is so, is the log writer's policy.
    remote.machine.check_output("sync")
    if request.param == REBOOT:
        remote.machine.reboot()
    else:
        remote.machine.cut_power()
    remote.machine.check_output("sudo systemctl start joblet")  # returns once it listens
    with remote.connected() as client:
        yield Aftermath(remote, client.get_job_status(finished), client.get_job_status(running), seen, request.param)


def test_a_job_that_had_ended_is_what_it_was(aftermath: Aftermath) -> None:
    assert (aftermath.finished.status, aftermath.finished.exit_code) == ("FAILED", 7)
    assert _log(aftermath, aftermath.finished.id) == b"done\n"


def test_a_job_that_went_down_with_the_machine_is_reported_so(aftermath: Aftermath) -> None:
    job = aftermath.running
    assert (job.status, job.exit_code, job.reason) == aftermath.told


def test_its_log_up_to_then_can_be_read(aftermath: Aftermath) -> None:
    lines = _log(aftermath, aftermath.running.id).decode().splitlines()

    assert len(lines) >= aftermath.lines
    assert lines == [str(number) for number in range(len(lines))]


def test_new_jobs_run_with_their_limits(aftermath: Aftermath) -> None:
    with aftermath.remote.connected() as client:
        job = client.wait(client.run_job("true", memory_max_bytes=64 << 20).id)

    assert (job.status, job.limits_enforced) == ("COMPLETED", "yes")


def test_nothing_of_the_jobs_before_is_left(aftermath: Aftermath) -> None:
    folders = "/sys/fs/cgroup/joblet.slice/joblet-jobs.service/jobs /var/lib/joblet/run /var/lib/joblet/work"

    left = aftermath.remote.machine.check_output(f"sudo find {folders} -name '{aftermath.running.id}'")

    assert left == ""


def _log(aftermath: Aftermath, job_id: str) -> bytes:
    with aftermath.remote.connected() as client, client.get_job_logs(job_id) as chunks:
        return b"".join(chunks)
