"""
What an idle running job costs in memory beyond its command: PSS at 50 jobs.

    sudo python bench/memory.py [--smoke] [--rounds N]

Each job sleeps. Counted is the PSS of each job's init, and by how much server, supervisor and zygote have grown since
no job was running, all divided by the jobs. The peer is the command itself.

Runs in: the contributor's terminal, as root; the server and its jobs as processes of their own.
Source: docs/contributors.md, "Benchmarks": at most 0.8 MB a job.
"""

import sys
from typing import Final

from measuring.processes import children, pss_mb
from measuring.report import judged, rounds_asked_for, show
from measuring.server import RunningServer, a_server

from joblet.client import JobletClient

TARGET_MB: Final = 0.8
JOBS: Final = 50


def resident(server: RunningServer, zygote: int) -> dict[str, float]:
    """What stays when no job runs."""
    pids = {"server": server.server_pid, "supervisor": server.supervisor_pid, "zygote": zygote}
    return {what: pss_mb(pid) for what, pid in pids.items()}


def one_round(server: RunningServer, client: JobletClient, taken: dict[str, list[float]]) -> None:
    """Start the jobs, weigh them, stop them."""
    (zygote,) = children(server.supervisor_pid)
    before = resident(server, zygote)
    jobs = [client.run_job("sleep", ["86400"]) for _ in range(JOBS)]
    inits = children(server.supervisor_pid) - {zygote}
    assert len(inits) == JOBS, inits
    after = resident(server, zygote)
    shares = {f"growth of {what}": (after[what] - before[what]) / JOBS for what in before}
    shares["init"] = sum(map(pss_mb, inits)) / JOBS
    taken["joblet, all a job costs"].append(sum(shares.values()))
    taken["the command (sleep)"].append(sum(pss_mb(pid) for init in inits for pid in children(init)) / JOBS)
    for what, share in shares.items():
        taken.setdefault(f"  {what}", []).append(share)
    for job in jobs:
        client.stop_job(job.id)


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    rounds, judge = rounds_asked_for("memory of an idle job", 5)
    taken: dict[str, list[float]] = {"joblet, all a job costs": [], "the command (sleep)": []}
    with a_server() as server, JobletClient(server.address, server.credentials) as client:
        # What the first jobs ever make grow (caches, allocators) is not what a job costs.
        one_round(server, client, {what: [] for what in taken})
        for _ in range(rounds):
            one_round(server, client, taken)
    medians = show(f"{JOBS} idle jobs, {rounds} rounds", "MB", taken)
    kept = judged("MB of PSS a job", medians["joblet, all a job costs"], at_most=TARGET_MB)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
