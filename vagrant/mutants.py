"""
Whether the tests notice: Joblet with one limit or one isolation left out at a time, and which test catches it.

    sudo /opt/joblet-tests/bin/python vagrant/mutants.py [WORD…]     all mutants, or those whose names hold a word

A mutant is the installed Joblet with a text of its source replaced. Its supervisor is restarted, and then the tests
that stand beside it must fail, each by what it asserts and not because nothing works any more. At the end the same
tests must pass on the Joblet that is whole again.

Runs in: the test machine, as root (`nox -s integration -- --mutants`). May not: leave anything changed.
"""

import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import pytest
from progress import Failed, fail, last_lines, say

# Each run of tests is a fork of this process: under emulation it takes 4 s to import what they need.
import joblet.client  # noqa: F401

TESTS: Final = Path(__file__).parent.parent / "tests" / "integration"
JOBS: Final = Path("/sys/fs/cgroup/joblet.slice/joblet-jobs.service/jobs")
# While it is away the next session installs Joblet anew, should we be killed.
FINGERPRINT: Final = Path("/opt/joblet/fingerprint")
WHOLE_S: Final = 300.0
END_S: Final = 20.0
RESTART_S: Final = 120.0
LAST_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Edit:
    """
    One text replaced.

    Args:
        file: Below the package.
        old: A text that the file has once.
    """

    file: str
    old: str
    new: str = "pass"


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A Joblet that lacks something.

    Args:
        name: What it lacks.
        tests: Below TESTS, as pytest names them; each must fail.
        within_s: How long they may take; then the jobs that they perhaps wait for are ended by other means.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    within_s: float = 90.0


def _without(flag: str) -> Edit:
    """Of the new namespaces of a job, all but one."""
    flags = "NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID"
    return Edit("supervisor/linux/clone.py", flags, flags.replace(flag, ""))


_GROUPS: Final = "supervisor/linux/cgroups/"
_INIT: Final = "supervisor/init.py"
_JOB: Final = "supervisor/job.py"

MUTANTS: Final = (
    # Memory
    Mutant(
        "memory.max not written",
        (Edit(_GROUPS + "memory.py", 'folder.write("memory.max", str(limits.memory_max_bytes))'),),
        ("test_memory.py::test_a_job_over_its_memory_is_killed_and_says_why",),
    ),
    Mutant(
        "memory.swap.max not written",
        (Edit(_GROUPS + "memory.py", 'folder.write("memory.swap.max", "0")'),),
        ("test_memory.py::test_swap_is_no_way_out_of_the_limit",),
    ),
    Mutant(
        "memory.oom.group switched on",
        (Edit(_GROUPS + "memory.py", '("memory.oom.group", "0")', '("memory.oom.group", "1")'),),
        ("test_memory.py::test_a_child_that_is_killed_makes_its_job_fail_whatever_its_parent_says",),
    ),
    # Isolation
    Mutant(
        "no mount namespace",
        # The state folder stays mounted, or the first job would take it from the next, which is then refused.
        (_without("CLONE_NEWNS | "), Edit(_INIT, "    umount(STATE_AT)\n", "")),
        ("test_namespaces.py::test_it_has_a_namespace_of_its_own[mnt]",),
    ),
    Mutant(
        "no UTS namespace",
        (_without("CLONE_NEWUTS | "),),
        ("test_namespaces.py::test_its_hostname_is_its_id_and_the_machine_keeps_its_own",),
    ),
    Mutant(
        "no IPC namespace",
        (_without("CLONE_NEWIPC | "),),
        (
            "test_namespaces.py::test_shared_memory_of_the_machine_is_not_there",
            "test_namespaces.py::test_a_message_queue_of_the_machine_is_not_there",
        ),
    ),
    Mutant(
        "no PID namespace",
        # Out of its own namespace, init's kill(-1, SIGKILL) would end every process of the machine.
        (_without(" | CLONE_NEWPID"), Edit(_INIT, "os.kill(-1, SIGKILL)", "raise ProcessLookupError")),
        ("test_namespaces.py::test_it_sees_its_own_processes_and_no_other",),
    ),
    Mutant(
        "no cgroup namespace",
        (Edit(_INIT, "        enter_cgroup_namespace()\n", ""),),
        ("test_namespaces.py::test_its_own_group_is_the_root_of_all_groups",),
    ),
    Mutant(
        "born outside of its cgroup",
        (Edit("supervisor/linux/clone.py", "flags |= CLONE_INTO_CGROUP", "pass"),),
        ("test_memory.py::test_a_job_over_its_memory_is_killed_and_says_why",),
    ),
    # The end
    Mutant(
        "SIGTERM's grace is 0 ms",
        (Edit("domain/job.py", "STOP_GRACE_MS: Final = 100", "STOP_GRACE_MS: Final = 0"),),
        ("test_life_cycle.py::test_a_stop_is_sigterm_then_100_ms_then_sigkill",),
    ),
    Mutant(
        "processes beside the command live on until the log is stored",
        (Edit(_INIT, "    _kill_the_rest()\n    user_us", "    user_us"),),
        ("test_life_cycle.py::test_what_a_daemon_writes_is_in_the_log_up_to_its_last_word",),
    ),
    # cgroup.kill and SIGKILL to init each do the work of both.
    Mutant(
        "no SIGKILL after the grace",
        (
            Edit(
                _JOB,
                "        if self.cgroup is not None:\n            self.cgroup.kill()\n        self._kill_init()\n",
                "",
            ),
        ),
        ("test_life_cycle.py::test_a_stop_is_sigterm_then_100_ms_then_sigkill",),
        within_s=15,
    ),
    Mutant(
        "timeout not armed",
        (Edit(_JOB, "self.owner.loop.after(max(0.0, left_s), self._timed_out)", "None"),),
        ("test_life_cycle.py::test_a_job_past_its_timeout_is_stopped_and_says_why",),
        within_s=15,
    ),
    Mutant(
        "cgroup not removed",
        (Edit(_JOB, "if self.cgroup is not None and not self.cgroup.remove():", "if False:"),),
        ("test_life_cycle.py::test_nothing_is_left_of_a_job_once_it_is_told_as_ended[exit 0]",),
    ),
)


def broken(package: Path, mutant: Mutant) -> dict[Path, str]:
    """
    The files of a mutant, with their new texts.

    Raises:
        Failed: A file does not have the text to replace, or has it twice.
    """
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        file = package / edit.file
        text = texts.get(file) or file.read_text()
        if (count := text.count(edit.old)) != 1:
            raise Failed(f"mutant {mutant.name!r}: {edit.file} has this text {count} times, not once: {edit.old!r}")
        texts[file] = text.replace(edit.old, edit.new)
    return texts


@contextmanager
def installed(texts: Mapping[Path, str]) -> Iterator[None]:
    """These texts in these files, which are as they were afterwards."""
    before = {file: (file.read_bytes(), file.stat()) for file in texts}
    try:
        for file, text in texts.items():
            file.write_text(text)
        yield
    finally:
        for file, (content, status) in before.items():
            file.write_bytes(content)
            # Python takes bytecode for fresh by its source's time: it must not take the mutant's.
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def restart(*units: str) -> None:
    """Restart services and wait until they are ready. Raises Failed."""
    command = ["systemctl", "restart", *units]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RESTART_S, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")


def kill_all_jobs() -> None:
    """A mutant may be unable to."""
    for job in JOBS.glob("*/cgroup.kill"):
        with suppress(OSError):  # it has ended meanwhile
            job.write_text("1")


@dataclass(frozen=True, slots=True)
class Run:
    """
    How tests ended, by their names.

    Args:
        failed: An assertion did not hold; with what it said.
        others: They passed, were not run, or broke in another way.
    """

    failed: dict[str, str]
    others: dict[str, str]


def run_tests(tests: Sequence[str], within_s: float) -> Run:
    """Run them. Raises Failed when there is no report, with the last lines of their output."""
    with tempfile.TemporaryDirectory() as folder:
        report, output = Path(folder, "report.xml"), Path(folder, "output")
        child = os.fork()
        if child == 0:
            _run_pytest(tests, report, output)
        _wait(child, within_s)
        said = "\n".join(f"    {line}" for line in last_lines(output, LAST_LINES))
        if not report.exists():
            raise Failed(f"the tests came to no end:\n{said}")
        run = read_report(report.read_text())
        if not run.failed and not run.others:
            raise Failed(f"no such test: {' '.join(tests)}:\n{said}")
        return run


def _run_pytest(tests: Sequence[str], report: Path, output: Path) -> None:
    """Never returns."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        to = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(to, 1)
        os.dup2(to, 2)
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", f"--junit-xml={report}"]
        pytest.main([*options, *(str(TESTS / test) for test in tests)])
    finally:
        os._exit(0)


def _wait(child: int, within_s: float) -> None:
    """Wait for its end; when it is late, end what it may wait for, then itself, and let it take down what it set up."""
    pidfd = os.pidfd_open(child)
    try:
        for hint in (kill_all_jobs, lambda: signal.pidfd_send_signal(pidfd, signal.SIGINT)):
            if select.select([pidfd], [], [], within_s)[0]:
                return
            hint()
            within_s = END_S
        select.select([pidfd], [], [], END_S)
    finally:
        # Of no effect on one that has ended.
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(pidfd)


def read_report(xml: str) -> Run:
    """What a JUnit report of pytest's says."""
    failed: dict[str, str] = {}
    others: dict[str, str] = {}
    for case in ElementTree.fromstring(xml).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.py::{case.get('name')}"
        found = [case.find(kind) for kind in ("failure", "error", "skipped")]
        why = next((each.get("message", "").partition("\n")[0] for each in found if each is not None), "passed")
        if found[0] is not None and why.startswith(("AssertionError", "assert ")):
            failed[name] = why
        else:
            others[name] = why
    # What breaks when a failed test's things are taken down is a second entry.
    return Run(failed, {name: words for name, words in others.items() if name not in failed})


def try_out(mutant: Mutant, texts: Mapping[Path, str]) -> list[str]:
    """
    Install a mutant and run its tests.

    Returns:
        Who caught it; nobody when a test that should have did not.
    """
    try:
        with installed(texts):
            restart("joblet-supervisor")
            run = run_tests(mutant.tests, mutant.within_s)
    except Failed as error:
        say(f"  NOT CAUGHT: {error}")
        return []
    finally:
        kill_all_jobs()
    for test, words in run.failed.items():
        say(f"  {test}: {words}")
    for test, words in run.others.items():
        say(f"  NOT CAUGHT by {test}: {words}")
    return [] if run.others else list(run.failed)


def try_all(mutants: Sequence[Mutant], package: Path) -> dict[str, list[str]]:
    """By a mutant's name, who caught it. Raises Failed; Joblet is whole and runs afterwards."""
    texts = [broken(package, mutant) for mutant in mutants]
    fingerprint = FINGERPRINT.read_bytes()
    host_name = socket.gethostname()
    caught: dict[str, list[str]] = {}
    FINGERPRINT.unlink()
    try:
        for mutant, changed in zip(mutants, texts, strict=True):
            say(mutant.name)
            caught[mutant.name] = try_out(mutant, changed)
            # Without a name of its own a job gives its to the machine.
            socket.sethostname(host_name)
    finally:
        socket.sethostname(host_name)
        restart("joblet-supervisor", "joblet")
        FINGERPRINT.write_bytes(fingerprint)
    return caught


def main(words: Sequence[str]) -> int:
    """Print who caught which mutant; 0 when all were caught, and nobody complains of the whole Joblet."""
    signal.signal(signal.SIGTERM, _interrupt)
    found = importlib.util.find_spec("joblet")
    assert found is not None
    assert found.origin is not None
    try:
        chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
        if not chosen:
            raise Failed(f"no mutant's name holds {' or '.join(words)}")
        caught = try_all(chosen, Path(found.origin).parent)
        say("the same tests, on the Joblet that is whole again")
        whole = run_tests(sorted({test for mutant in chosen for test in mutant.tests}), WHOLE_S)
    except Failed as error:
        return fail(error)
    wrong = {**whole.failed, **{test: why for test, why in whole.others.items() if why != "passed"}}
    for test, why in wrong.items():
        say(f"  FAILS WITHOUT A MUTANT: {test}: {why}")
    width = max(map(len, caught))
    print(f"\n{'mutant':{width}} | caught by")
    for name, tests in caught.items():
        print(f"{name:{width}} | {', '.join(tests) or 'NOBODY'}")
    return 0 if all(caught.values()) and not wrong else 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
