"""
maxCPU and cpuCores, by the kernel's own account of the time a job got.

Runs in: pytest in the test machine, as root.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "CPU Interface Files", "Cpuset Interface Files".
"""

import time
from collections.abc import Callable

import pytest
from installed import Installed, counters
from processes import Watched, members

from joblet.client import InvalidLimit

# Thirty of the kernel's periods: the part of one that a window cuts off is then 3%.
WINDOW_S = 3.0
SPINS = "while :; do :; done"


def shares(joblet: Installed, *jobs: str) -> list[float]:
    """What each of these jobs got of one core, all over the same time."""
    processes = [pid for job in jobs for pid in members(job)]
    with Watched(processes) as watched:
        began, before = time.monotonic(), [_used_usec(joblet, job) for job in jobs]
        watched.until_ended_or(WINDOW_S)
        ended, after = time.monotonic(), [_used_usec(joblet, job) for job in jobs]
        assert len(watched.alive()) == len(processes), "a job ended while it was watched"
    return [(now - then) / 1e6 / (ended - began) for then, now in zip(before, after, strict=True)]


def _used_usec(joblet: Installed, job: str) -> int:
    return counters(joblet.cgroup(job) / "cpu.stat")["usage_usec"]


@pytest.mark.parametrize("percent", [20, 50, 100, 150])
def test_a_spinning_job_gets_its_share(
    joblet: Installed, percent: int, record_property: Callable[[str, object], None]
) -> None:
    # Two that spin, because one alone can use no more than one core.
    job = joblet.start("sh", "-c", f"({SPINS}) & {SPINS}", cpu_max_percent=percent)

    (share,) = shares(joblet, job)

    error = share / (percent / 100) - 1
    record_property(f"share at maxCPU {percent}", f"{share:.1%} of a core, {error:+.1%} off")
    assert abs(error) <= 0.10


def test_two_jobs_on_one_core_share_it_fairly(
    joblet: Installed, record_property: Callable[[str, object], None]
) -> None:
    jobs = [joblet.start("sh", "-c", SPINS, cpu_max_percent=100, cpu_cores="1") for _ in range(2)]

    first, second = shares(joblet, *jobs)

    record_property("shares of two jobs on a core", f"{first:.1%} and {second:.1%}")
    assert first / (first + second) == pytest.approx(0.5, abs=0.05)
    assert first + second == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(("cores", "granted"), [("1", [1]), ("0", [0]), ("0-1", [0, 1])])
def test_a_job_runs_on_the_cores_it_asked_for(joblet: Installed, cores: str, granted: list[int]) -> None:
    program = "import os; print(sorted(os.sched_getaffinity(0)), flush=True)"
    job = joblet.start("sh", "-c", f'python3 -I -S -c "{program}"; exec sleep 1000', cpu_cores=cores)

    assert next(joblet.lines(job)) == str(granted)
    assert (joblet.cgroup(job) / "cpuset.cpus.effective").read_text().strip() == cores


def test_a_core_that_the_machine_lacks_is_refused(joblet: Installed) -> None:
    with pytest.raises(InvalidLimit, match="cpuCores exceeds system limits"):
        joblet.start("true", cpu_cores="7")
