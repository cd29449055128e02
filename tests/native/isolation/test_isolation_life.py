"""
A job's life on the real kernel: output, exit codes, signals, orphans, and that nothing is left of it.

Runs in: pytest, as root.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from joblet.supervisor.removal import remove_tree

if TYPE_CHECKING:
    from tests.native.isolation.conftest import Launchpad

pytestmark = pytest.mark.native

NOTHING: dict[str, Any] = {"files": [], "children": []}


def test_output_of_both_streams_arrives_in_order_and_byte_for_byte(pad: "Launchpad") -> None:
    run = pad.shell(r"printf 'out\0\377'; printf err >&2; printf 'out again'")

    assert run.output == b"out\0\xfferrout again"
    assert run.exit_code == 0


def test_the_command_s_own_exit_code_is_recorded(pad: "Launchpad") -> None:
    assert pad.shell("exit 42").exit_code == 42


def test_a_signal_that_ends_the_command_is_recorded(pad: "Launchpad") -> None:
    run = pad.shell("kill -SEGV $$")

    assert run.wait_status is not None
    assert os.WTERMSIG(run.wait_status) == signal.SIGSEGV
    assert not os.WCOREDUMP(run.wait_status)


def test_a_missing_command_ends_with_127_and_its_reason_is_the_last_line_of_the_log(pad: "Launchpad") -> None:
    run = pad.run("no-such-program")

    assert run.exit_code == 127
    assert run.output == b"joblet: command not found: no-such-program\n"
    assert run.failure == "command not found: no-such-program"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/etc/passwd", "permission denied"),
        ("/usr", "permission denied"),
        ("/usr/bin", "permission denied"),
        ("/etc/passwd/sh", None),
    ],
)
def test_what_cannot_be_executed_ends_with_126_and_the_kernel_s_reason(
    pad: "Launchpad", command: str, reason: str | None
) -> None:
    run = pad.run(command)

    if reason is None:
        assert run.exit_code == 127
    else:
        assert (run.exit_code, run.output.decode()) == (126, f"joblet: cannot execute {command}: {reason}\n")


def test_a_file_of_a_wrong_format_ends_with_126(pad: "Launchpad") -> None:
    """/usr holds libraries' object files that are executable; a work folder's own file needs a second program."""
    program = (
        "open('/tmp/x', 'w').write('neither binary nor script'); os.chmod('/tmp/x', 0o755)\n"
        "try: os.execv('/tmp/x', ['x'])\n"
        "except OSError as error: sys.exit(error.errno == errno.ENOEXEC)"
    )

    assert pad.python(program).exit_code == 1  # the job's /tmp may hold programs, and the kernel tells the format

    run = pad.run("/usr/lib/python3.11/this.py")
    assert run.exit_code == 126


def test_arguments_longer_than_the_kernel_takes_end_with_126(pad: "Launchpad") -> None:
    run = pad.run("true", "x" * 200_000)

    assert run.exit_code == 126
    assert run.output == b"joblet: cannot execute true: argument list too long\n"


def test_a_hundred_thousand_arguments_arrive(pad: "Launchpad") -> None:
    run = pad.run("sh", "-c", "echo $#", "sh", *["x"] * 100_000)

    assert run.text == "100000"


def test_an_argument_of_100_kib_arrives(pad: "Launchpad") -> None:
    run = pad.run("sh", "-c", 'printf %s "$1" | wc -c', "sh", "é" * (50 * 1024))

    assert run.text == str(100 * 1024)


def test_the_environment_is_exactly_what_was_asked_for(pad: "Launchpad") -> None:
    run = pad.run("env", environment={"PATH": "/usr/bin", "A": "b=c\nd", "EMPTY": ""})

    assert sorted(run.output.split(b"\n")) == sorted(b"PATH=/usr/bin\nA=b=c\nd\nEMPTY=\n".split(b"\n"))


def test_the_command_is_looked_up_in_the_job_s_own_path(pad: "Launchpad") -> None:
    run = pad.run("env", environment={"PATH": "/nowhere:/usr/sbin"})

    assert run.exit_code == 127


def test_it_starts_in_its_own_empty_work_folder(pad: "Launchpad") -> None:
    assert pad.shell("pwd; ls -A; touch file && echo writable").text == "/work\nwritable"


def test_a_work_folder_that_does_not_exist_ends_with_126_and_its_reason(pad: "Launchpad") -> None:
    run = pad.run("true", work_dir="/nowhere")

    assert (run.exit_code, run.failure) == (126, "cannot start in /nowhere: no such file or directory")


def test_stdin_is_at_its_end(pad: "Launchpad") -> None:
    assert pad.shell("cat; echo done").text == "done"


def test_sigterm_reaches_the_whole_process_group_and_is_recorded(pad: "Launchpad") -> None:
    job = pad.start("sh", "-c", "trap 'echo got it; exit 3' TERM; sleep 1000 & echo up; wait")
    assert pad.ask("read", job)["output"] == "up\n"

    pad.ask("terminate", job)

    run = pad.finish(job)
    assert run.text == "got it"
    assert run.exit_code == 3
    assert run.stopping_ns is not None


def test_a_command_that_ignores_sigterm_ends_with_its_init(pad: "Launchpad") -> None:
    job = pad.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done")
    assert pad.ask("read", job)["output"] == "up\n"

    pad.ask("terminate", job)
    pad.ask("kill", job)

    run = pad.finish(job)
    assert run.wait_status is None  # init was killed before it could tell
    assert run.init_status == signal.SIGKILL


def test_daemons_end_with_the_command(pad: "Launchpad") -> None:
    """A double fork into a session of its own escapes the process group, not the PID namespace."""
    run = pad.shell("(setsid sh -c 'trap \"\" TERM HUP; exec sleep 1000' &) ; sleep 0.05; exit 5")

    assert run.exit_code == 5  # and `finish` has read the log to its end: no writer is left


def test_orphans_are_reaped_while_the_command_runs(pad: "Launchpad") -> None:
    program = (
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        os._exit(0) if os.fork() else os._exit(0)\n"
        "    os.wait()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "while len([p for p in os.listdir('/proc') if p.isdigit()]) > 2: os.sched_yield()\n"
        "print('reaped')"
    )

    assert pad.python(program).text == "reaped"


def test_signals_are_as_after_a_fresh_login(pad: "Launchpad") -> None:
    """init blocks signals and Python ignores SIGPIPE; neither is the command's business."""
    blocked, ignored = pad.shell("grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2").text.split()

    assert int(blocked, 16) == 0
    assert int(ignored, 16) & 0x7FFFFFFF == 0  # libc keeps 32 and 33, and ignores them in what it spawns


def test_cpu_time_of_all_processes_is_told(pad: "Launchpad") -> None:
    run = pad.python(
        "import time\nif os.fork() == 0:\n    while time.process_time() < 0.1: pass\n    os._exit(0)\nos.wait()"
    )

    assert run.cpu_usec is not None
    assert run.cpu_usec >= 100_000


def test_nothing_is_left_of_jobs_that_are_over(pad: "Launchpad") -> None:
    deep = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')\n"
    pad.python(deep)
    pad.shell("mkdir a; ln -s /etc a/link; chmod 0 a; mkfifo f")

    assert pad.ask("leftovers") == NOTHING


def test_a_link_to_a_folder_is_removed_and_not_followed(pad: "Launchpad", tmp_path: Path) -> None:
    """The remover runs as root where the host's files are in reach by `..`, were it to follow."""
    outside = pad.state / "outside"
    outside.mkdir()
    (outside / "precious").touch()

    pad.shell("ln -s ../../outside link; ln -s /work loop")

    assert (outside / "precious").exists()
    (outside / "precious").unlink()
    outside.rmdir()


def touch_many(folder: Path, number: int) -> None:
    for each in range(number):
        (folder / f"{each}").touch()


def test_a_work_folder_is_removed_from_a_disk_that_is_full_to_the_last_entry(tmp_path: Path) -> None:
    """Then no folder can be made for what is in it to be moved to."""
    (tmp_path / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=8", "none", tmp_path / "disk"], check=True)
    try:
        work = tmp_path / "disk" / "work"
        (work / "a").mkdir(parents=True)
        with pytest.raises(OSError, match="No space left"):
            touch_many(work / "a", 10)

        remove_tree(os.fsencode(work))

        assert list((tmp_path / "disk").iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "disk"], check=True)


def test_a_successor_takes_a_running_job_back(pad: "Launchpad") -> None:
    job = pad.start("sleep", "1000")

    found = pad.ask("reattach", job)

    assert found["found"]
    assert found["same"]
    assert found["record"] == '{"job": 1}'
    pad.ask("kill", job)
    pad.finish(job)


def test_a_successor_does_not_take_another_process_for_a_job_s_init(pad: "Launchpad") -> None:
    job = pad.start("sleep", "1000")
    status = pad.state / "run" / job
    lines = status.read_text()

    status.unlink()
    status.write_text(lines)  # the same words in a file that no init holds

    assert pad.ask("reattach", job) == {"found": False}
    pad.ask("kill", job)
    pad.finish(job)


def test_a_job_whose_supervisor_is_dead_never_runs(open_pad: Any) -> None:
    with open_pad() as (pad, _):
        told = pad.ask("abandon", pad.a_job("echo", "I ran"))

    assert told["output"] == ""
    assert told["running_ns"] is None
    assert told["failed"] == "the supervisor was killed while the job was being set up"
