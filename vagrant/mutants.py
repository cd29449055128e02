"""
Whether the tests notice: Joblet with one limit or one isolation left out at a time, and which test catches it.

    sudo /opt/joblet-tests/bin/python vagrant/mutants.py [WORD…]     all mutants, or those whose names hold a word

A mutant (mutant_table.py) is the installed Joblet with a text of its source replaced. Its supervisor is restarted, and
then the tests that stand beside it must fail, each by what it asserts and not because nothing works any more. At the
end the same tests must pass on the Joblet that is whole again.

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
from mutant_table import MUTANTS, Mutant, broken
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
