"""
maxCPU and cpuCores, as the kernel accounts and enforces them.

Runs in: pytest in the test machine, as root.
"""

from installed import Installed


def test_a_job_runs_at_all(joblet: Installed) -> None:
    ended, output = joblet.run("echo", "hello")

    assert (ended.exit_code, output) == (0, b"hello\n")
