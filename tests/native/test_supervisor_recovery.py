"""
The supervisor killed at any moment: every job goes on, and no byte of output is lost or repeated.

Runs in: pytest, as root.
"""

import asyncio
import contextlib
import os
import random
import re
import select
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from joblet.domain.job import Ended, JobState
from joblet.domain.reconcile import LOST_RUNNING

if TYPE_CHECKING:
    from tests.native.conftest import RealEngine, Scenario

pytestmark = pytest.mark.native

LINES = 3000
# Prints numbered lines with no pause, and ends with a code of its own.
PRINTS = 'i=0; while [ $i -lt "$1" ]; do echo "$2 line $i"; i=$((i+1)); done; exit $3'


def printed(name: str, lines: int = LINES) -> bytes:
    return b"".join(f"{name} line {number}\n".encode() for number in range(lines))


def command_of(init_pid: int) -> int:
    """The job's command, as the host numbers it; 0 when it has ended."""
    try:
        children = Path(f"/proc/{init_pid}/task/{init_pid}/children").read_text().split()
    except FileNotFoundError:
        return 0
    return int(children[0]) if children else 0


def end_of(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)


def wait_for_end_of_command(init_pid: int) -> None:
    pid = command_of(init_pid)
    if pid:
        end_of(pid)


def has_attached_more_than(real: "RealEngine", times: int) -> bool:
    """Whether a supervisor has answered since it had been that often."""
    return len(real.attached) > times


@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_printing_jobs_survive_a_supervisor_killed_again_and_again(
    on_real_engine: "Callable[[Scenario], None]", seed: int
) -> None:
    """Statuses, exit codes and logs are exact, whatever the moment of each kill."""

    async def scenario(real: "RealEngine") -> None:
        moments = random.Random(seed)
        jobs = [
            (name := f"job{n}", n % 5, (await real.start("sh", "-c", PRINTS, "sh", str(LINES), name, str(n % 5)))[0])
            for n in range(20)
        ]
        for _ in range(8):
            attached = len(real.attached)
            # Some kills come at once, some after the jobs have printed a little: a random number of turns.
            for _ in range(moments.randrange(60)):
                await asyncio.to_thread(os.sched_yield)
            real.kill_supervisor()
            await real.until(partial(has_attached_more_than, real, attached))
        for name, code, job_id in jobs:
            ended = await real.end(job_id)
            assert (ended.exit_code, ended.state) == (code, JobState.FAILED if code else JobState.COMPLETED)
            assert real.log(job_id) == printed(name)
            assert ended.log_bytes == len(printed(name))

    on_real_engine(scenario)


def test_jobs_that_end_while_nothing_watches_are_told_truly(on_real_engine: "Callable[[Scenario], None]") -> None:
    """With server and supervisor both dead, a job's end and its unread output wait for the next ones."""

    async def scenario(real: "RealEngine") -> None:
        later = "sleep 0.5; " + PRINTS
        jobs = [await real.start("sh", "-c", later, "sh", str(LINES), "a", str(code)) for code in (0, 7)]
        waits = await real.start("sleep", "60")
        await real.drop()
        real.kill_supervisor()
        for _, running in jobs:
            await asyncio.to_thread(wait_for_end_of_command, running.pid)

        attached = await real.attach()

        assert waits[0] in attached.running
        for (job_id, _), code in zip(jobs, (0, 7), strict=True):
            ended = await real.end(job_id)
            assert ended.exit_code == code
            assert real.log(job_id) == printed("a")

    on_real_engine(scenario)


def test_a_job_that_is_still_being_cleaned_up_after_is_not_called_running(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    """Its end is known to the next supervisor, and told when the last of its files is gone."""

    async def scenario(real: "RealEngine") -> None:
        # Links, because ten thousand new inodes may take a file system seconds.
        many = "import os; open('a', 'w'); [os.link('a', str(number)) for number in range(10_000)]; os._exit(3)"
        job_id, running = await real.start("/usr/bin/python3", "-c", many)
        await real.drop()
        real.kill_supervisor()
        await asyncio.to_thread(wait_for_end_of_command, running.pid)

        attached = await real.attach()

        assert (job_id in attached.running, job_id in attached.ended) == (False, True)
        assert (await real.end(job_id)).exit_code == 3
        assert list(real.folder.work.iterdir()) == []

    on_real_engine(scenario)


def test_an_end_that_nobody_stored_is_told_again_by_the_next_supervisor(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, _ = await real.start("sh", "-c", "echo once; exit 3")
        first = await real.end(job_id)
        real.ends.clear()
        real.kill_supervisor()

        again = await real.end(job_id)
        assert again == first

        await real.engine.forget([job_id])
        await real.run("true")  # what is asked later is done later
        real.ends.clear()
        attached = len(real.attached)
        real.kill_supervisor()
        await real.until(lambda: len(real.attached) > attached)
        assert job_id not in real.attached[-1].ended
        assert real.log(job_id) == b"once\n"

    on_real_engine(scenario)


def test_a_stop_that_outlives_the_supervisor_ends_as_stopped(on_real_engine: "Callable[[Scenario], None]") -> None:
    """The job ignores SIGTERM; the supervisor dies inside the grace; the next one finishes the stop."""

    async def scenario(real: "RealEngine") -> None:
        job_id, _ = await real.start("sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do :; done")
        real.engine.watch_log(job_id)
        await real.until(lambda: real.log(job_id) == b"ready\n")
        await real.engine.stop(job_id)
        await real.until(lambda: real.log(job_id) == b"ready\nasked\n")
        real.kill_supervisor()

        ended = await real.end(job_id)

        assert (ended.state, ended.exit_code, ended.reason) == (JobState.STOPPED, -1, "stopped on request")

    on_real_engine(scenario)


def test_a_timeout_is_kept_across_supervisors(on_real_engine: "Callable[[Scenario], None]") -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sleep", "60", timeout_s=1.0)
        real.kill_supervisor()

        ended: Ended = await real.end(job_id)

        assert (ended.state, ended.reason) == (JobState.STOPPED, "timed out after 1 s")
        assert 1.0 <= (ended.ended_ns - running.started_ns) / 1e9 < 10

    on_real_engine(scenario)


def test_a_job_whose_init_was_killed_has_failed_with_its_log_kept(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sh", "-c", "echo before; exec sleep 60")
        real.engine.watch_log(job_id)
        await real.until(lambda: real.log(job_id) == b"before\n")
        os.kill(running.pid, 9)

        ended = await real.end(job_id)

        assert (ended.state, ended.exit_code) == (JobState.FAILED, 137)
        assert ended.reason == "its init process was killed from outside"
        assert real.log(job_id) == b"before\n"

    on_real_engine(scenario)


def test_a_command_of_which_only_the_beginning_is_known_is_not_taken_for_one_that_never_ran(
    on_real_engine: "Callable[[Scenario], None]",
) -> None:
    """Supervisor and init both killed just after the command was started, before init could say so."""

    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sleep", "60")
        await real.drop()
        real.kill_supervisor()
        path = real.folder.status(job_id)
        os.truncate(path, path.read_bytes().index(b"running "))
        os.kill(running.pid, 9)
        await asyncio.to_thread(end_of, running.pid)

        attached = await real.attach()

        assert job_id in attached.ended
        assert (await real.end(job_id)).reason == LOST_RUNNING

    on_real_engine(scenario)


def test_a_dead_zygote_is_replaced_and_jobs_go_on(on_real_engine: "Callable[[Scenario], None]") -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sh", "-c", "echo on; exec sleep 60")
        supervisor = real.supervisor_pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        zygotes = [int(pid) for pid in children if b"zygote" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        zygote = next(pid for pid in zygotes if pid != running.pid)
        os.kill(zygote, 9)
        await real.until(lambda: len(real.attached) > 1)

        assert real.attached[-1].running.keys() == {job_id}
        ended, log = await real.run("echo", "again")
        assert (ended.exit_code, log) == (0, b"again\n")
        assert real.supervisor_pid == supervisor
        await real.engine.stop(job_id)
        assert (await real.end(job_id)).state is JobState.STOPPED

    on_real_engine(scenario)


def test_nothing_is_left_of_jobs_that_are_taken_down(on_real_engine: "Callable[[Scenario], None]") -> None:
    async def scenario(real: "RealEngine") -> None:
        job_id, running = await real.start("sh", "-c", "mkdir -p a/b; echo x >a/b/c; exec sleep 60")
        await real.down()

        assert not Path(f"/proc/{running.pid}").exists()
        assert list(real.folder.work.iterdir()) == []
        assert not real.folder.socket.exists()
        assert not re.search(re.escape(str(real.folder.root)), Path("/proc/self/mountinfo").read_text())

        await real.attach()
        assert (await real.end(job_id)).state is JobState.STOPPED

    on_real_engine(scenario)


def test_a_job_whose_status_file_is_damaged_is_still_owned(on_real_engine: "Callable[[Scenario], None]") -> None:
    """A line that nobody knows costs nothing; without a record that fits, its processes go rather than run unowned."""

    async def scenario(real: "RealEngine") -> None:
        kept, _ = await real.start("sleep", "60")
        lost, running = await real.start("sleep", "60")
        await real.drop()
        real.kill_supervisor()
        with real.folder.status(kept).open("ab") as file:
            file.write(b"a line of a later version\n")
        record = real.folder.status(lost).read_bytes()
        real.folder.status(lost).write_bytes(record.replace(lost.encode(), b"another-id"))

        attached = await real.attach()

        assert attached.running.keys() == {kept}
        await asyncio.to_thread(end_of, running.pid)
        assert not real.folder.status(lost).exists()

    on_real_engine(scenario)


def test_an_end_in_a_status_file_that_does_not_fit_stops_no_start(on_real_engine: "Callable[[Scenario], None]") -> None:
    """Another version's end, and a FIFO in the place of a file: the other jobs' supervisor starts all the same."""

    async def scenario(real: "RealEngine") -> None:
        job_id, _ = await real.start("sh", "-c", "exit 3")
        await real.end(job_id)
        await real.drop()
        real.kill_supervisor()
        path = real.folder.status(job_id)
        path.write_bytes(re.sub(rb"(?m)^end .*$", b"end {}", path.read_bytes()))
        os.mkfifo(real.folder.status("fifo"))
        real.ends.clear()

        await real.attach()

        assert (await real.end(job_id)).exit_code == 3

    on_real_engine(scenario)


def test_no_work_folder_can_stop_a_start_or_stay(on_real_engine: "Callable[[Scenario], None]") -> None:
    """Folders deeper than any stack, and every name that a remover might want."""
    makes = (
        "import os\n"
        "for n in range(60):\n"
        "    os.makedirs(f'.joblet-removed-{n}/x')\n"
        "    os.makedirs(f'{os.getpid()}.{n}/x')\n"
        "for chain in range(3):\n"
        "    os.chdir('/work')\n"
        "    for _ in range(1500):\n"
        "        os.mkdir('d' if _ else f'q{chain}'); os.chdir('d' if _ else f'q{chain}')\n"
    )

    async def scenario(real: "RealEngine") -> None:
        ended, _ = await real.run("python3", "-c", makes)
        assert (ended.exit_code, list(real.folder.work.iterdir())) == (0, [])

        job_id, running = await real.start(
            "python3", "-c", makes + "import signal; print('made', flush=True); signal.pause()"
        )
        real.engine.watch_log(job_id)
        await real.until(lambda: real.log(job_id) == b"made\n")
        await real.drop()
        real.kill_supervisor()
        os.kill(running.pid, 9)
        await asyncio.to_thread(end_of, running.pid)
        real.folder.status(job_id).unlink()  # half-made: nobody knows whose folder it is

        await real.attach()

        assert list(real.folder.work.iterdir()) == []

    on_real_engine(scenario)


def test_a_job_can_open_its_standard_error_by_name(on_real_engine: "Callable[[Scenario], None]") -> None:
    async def scenario(real: "RealEngine") -> None:
        ended, log = await real.run("sh", "-c", "echo a >/dev/stderr; echo b >/dev/stdout; cat /dev/stdout")
        assert (ended.exit_code, log.splitlines()[:2]) == (1, [b"a", b"b"])

    on_real_engine(scenario)
