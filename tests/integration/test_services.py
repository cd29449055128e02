"""
The units restarted, stopped and killed under running jobs: what goes on, what ends, and what is left.

Runs in: pytest in the test machine, as root. May not: leave a unit stopped.
"""

from collections.abc import Callable, Iterator

import pytest
from counting import counting
from installed import JOBS, PLACE, SERVER, SLICE, SUPERVISOR, Installed, kill, main_pid, systemctl
from journal import Journal
from processes import Watched, members, mounts_anywhere, of_joblet

from joblet.client import CgroupSetupFailed

JOBS_AT_ONCE = 20
# Says goodbye when it is asked to end; and one that does not listen.
POLITE = "trap 'echo goodbye; exit' TERM; echo ready; sleep 600 & wait"
DEAF = "trap '' TERM; echo ready; while :; do sleep 1; done"


@pytest.fixture(autouse=True)
def _all_units_run(joblet: Installed) -> Iterator[None]:
    """Whatever a test did to them."""
    yield
    joblet.until_it_answers()
    joblet.stop_all()  # the holder of the jobs' place cannot start among them
    systemctl("start", PLACE)


# Jobs outlive everything but the end of their supervisor


def the_server_is_restarted() -> None:
    systemctl("restart", SERVER)


def the_server_is_killed() -> None:
    journal = Journal(SERVER)
    kill(main_pid(SERVER))
    journal.until("server listening")


def the_supervisor_is_killed() -> None:
    journal = Journal(SUPERVISOR)
    kill(main_pid(SUPERVISOR))
    assert f" takenOver={JOBS_AT_ONCE} limitsEnforced=yes " in journal.until("] [INFO] supervising | ")


def everything_is_killed() -> None:
    """The holder of their place as well: systemd cannot start it again before the last of them has ended."""
    journals = Journal(SERVER), Journal(SUPERVISOR)
    for unit in (PLACE, SUPERVISOR, SERVER):
        kill(main_pid(unit))
    journals[1].until("supervising")
    journals[0].until("server listening")


def test_twenty_jobs_and_those_who_follow_them_miss_nothing_whatever_happens_to_the_services(
    joblet: Installed, record_property: Callable[[str, object], None]
) -> None:
    """One thing after the other, to the same jobs."""
    with counting(joblet, JOBS_AT_ONCE) as jobs:
        before = jobs.pids()
        for happens in (the_server_is_restarted, the_server_is_killed, the_supervisor_is_killed, everything_is_killed):
            happens()

            jobs.until_each_goes_on()
            assert jobs.pids() == before, happens.__name__
        jobs.end()
        record_property("lines", jobs.lines())


# The holder of the jobs' place


def test_jobs_are_neither_ended_nor_refused_when_the_holder_of_their_place_is_killed(joblet: Installed) -> None:
    with counting(joblet, 2) as jobs:
        kill(main_pid(PLACE))

        jobs.until_each_goes_on()
        with counting(joblet, 1) as later:
            assert sorted(path.name for path in JOBS.iterdir() if path.is_dir()) == sorted(jobs.jobs + later.jobs)
            later.end()
        jobs.end()


def test_jobs_start_again_when_the_holder_of_their_place_comes_back(joblet: Installed) -> None:
    """Without a job there, systemd removes its group, and `jobs` with it."""
    journal = Journal(PLACE)
    kill(main_pid(PLACE))
    journal.until(f"Started {PLACE}")

    job = joblet.start("sleep", "600")

    assert members(job) != []
    assert (SLICE / PLACE / "service" / "cgroup.procs").read_text() == f"{main_pid(PLACE)}\n"


def test_without_the_jobs_place_a_job_is_refused_with_the_name_of_the_service(joblet: Installed) -> None:
    systemctl("stop", PLACE)

    with pytest.raises(CgroupSetupFailed, match=r"^cgroup setup failed: joblet-jobs\.service is not running$"):
        joblet.start("true")

    systemctl("start", PLACE)
    ended, _ = joblet.run("true")
    assert ended.exit_code == 0


# The end of everything


def test_a_restart_of_the_supervisor_ends_every_job_in_order_and_says_so(joblet: Installed) -> None:
    polite, deaf = joblet.start("sh", "-c", POLITE), joblet.start("sh", "-c", DEAF)
    for job in (polite, deaf):
        joblet.until(job, "ready")
    with Watched([*members(polite), *members(deaf)]) as watched:
        systemctl("restart", SUPERVISOR)

        assert watched.alive() == []
    for job in (polite, deaf):
        ended = joblet.client.wait(job)
        assert (ended.status, ended.exit_code, ended.reason) == ("STOPPED", -1, "the server was taken down")
    assert (joblet.log(polite), joblet.log(deaf)) == (b"ready\ngoodbye\n", b"ready\n")
    assert [path for path in JOBS.iterdir() if path.is_dir()] == []
    assert joblet.run("echo", "again")[1] == b"again\n"


def test_stopping_the_slice_leaves_nothing_but_the_history(joblet: Installed) -> None:
    earlier, _ = joblet.run("echo", "earlier")
    polite, deaf = joblet.start("sh", "-c", POLITE), joblet.start("sh", "-c", DEAF)
    for job in (polite, deaf):
        joblet.until(job, "ready")
    with Watched([*members(polite), *members(deaf)]) as watched:
        systemctl("stop", "joblet.slice")

        assert watched.alive() == []
    assert (of_joblet(), mounts_anywhere()) == ([], {})
    assert [path for path in SLICE.rglob("*") if path.is_dir()] == []

    systemctl("start", SERVER)

    assert [systemctl("is-active", unit) for unit in (SERVER, SUPERVISOR, PLACE)] == ["active"] * 3
    again = joblet.client.wait(earlier.id)
    assert (again, joblet.log(earlier.id)) == (earlier, b"earlier\n")
    ends = [joblet.client.wait(job) for job in (polite, deaf)]
    assert [(ended.status, ended.reason) for ended in ends] == [("STOPPED", "the server was taken down")] * 2
    assert joblet.log(polite) == b"ready\ngoodbye\n"
