"""
`nox -s integration`: bring the machine up, put this checkout's Joblet on it, test it there, bring the results back.

Runs in: the contributor's terminal, CI.
May not: change this checkout but for .vagrant/ and vagrant/wheelhouse/.
"""

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hypervisor import NoHypervisor, choose, look
from machine import ROOT, Machine
from progress import Failed, fail, phase, run, say

RESULTS: Final = ROOT / ".vagrant" / "results"
GUEST_RESULTS: Final = "/var/tmp/joblet-results"
PYTHON: Final = "/opt/joblet-tests/bin/python"
# So many of the slowest tests are named at the end.
SLOWEST: Final = 10
NOTHING_RUN: Final = 5  # pytest.ExitCode.NO_TESTS_COLLECTED
# Two seconds each under emulation.
BENCH_ROUNDS: Final = 20


@dataclass(frozen=True, slots=True)
class Suite:
    """
    Tests that are run in one go.

    Args:
        name: Of its JUnit file.
        paths: For pytest, below the project.
        in_guest: In the machine, else on this host against the machine.
        as_service: In a delegated service of joblet.slice, as an engine of the test's own needs it.
        beside: In the machine while the next suite runs there: neither measures anything, stops joblet.slice or
            replaces what is installed.
        options: For pytest, always.
    """

    name: str
    paths: tuple[str, ...]
    in_guest: bool = True
    as_service: bool = False
    beside: bool = False
    options: tuple[str, ...] = ()


def _integration(*subjects: str) -> tuple[str, ...]:
    return tuple(f"tests/integration/test_{subject}.py" for subject in subjects)


SUITES: Final = (
    Suite(
        "engine",
        (
            "tests/native/test_engine_contract.py",
            "tests/native/isolation/test_isolation_hostile.py",
            "tests/native/test_hostile_output.py",
        ),
        as_service=True,
        beside=True,
        options=("--cgroups=required", "--one-supervisor"),
    ),
    Suite("installed", _integration("journal", "namespaces", "refusals")),
    Suite("undisturbed", _integration("cpu", "io", "life_cycle", "machine", "memory", "pids", "services")),
    Suite("conformance", _integration("conformance")),
    Suite("from-host", ("tests/from_host",), in_guest=False),
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """
    The session's own options, and in `paths` what each suite runs; `pytest` is left, or with `--mutants` their names.

    Raises:
        Failed: No suite has a path that was named.
    """
    parser = argparse.ArgumentParser(
        prog="nox -s integration --",
        description="Tests of the installed Joblet in a machine of their own. Other options go to pytest.",
    )
    parser.add_argument(
        "--keep", action="store_true", help="take the machine as it is if it runs, and leave it running"
    )
    parser.add_argument("--destroy", action="store_true", help="only remove the machine and its snapshot")
    parser.add_argument("--bench", action="store_true", help="instead of testing, measure what a launch costs")
    parser.add_argument("--mutants", action="store_true", help="instead, see that the tests notice a limit left out")
    parser.add_argument("-k", dest="only", metavar="EXPRESSION", help="only tests that match (pytest's -k)")
    options, others = parser.parse_known_args(arguments)
    if options.only and (options.bench or options.mutants):
        parser.error("-k chooses tests: it does not go with --bench or --mutants")
    options.pytest = others
    if not (options.destroy or options.bench or options.mutants):
        options.paths, options.pytest = chosen_paths(others)
        options.pytest += ["-k", options.only] if options.only else []
    return options


def install(machine: Machine) -> None:
    """Build the wheel and install it as the packaging does, unless the machine has just that."""
    fingerprint = _fingerprint()
    if machine.check_output("cat /opt/joblet/fingerprint 2>/dev/null || true").strip() == fingerprint:
        return
    dist = ROOT / ".vagrant" / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with phase("installing Joblet in the machine"):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={dist}", str(ROOT)]
        run(command, machine.state / "wheel.log")
        (wheel,) = dist.glob("joblet-*.whl")
        machine.put(wheel, "/var/tmp/")
        machine.check_output(
            # Gone while it is not true: an installation that fails must not be taken for whole by the next session.
            "sudo rm -f /opt/joblet/fingerprint"
            " && sudo PIP_NO_INDEX=1 PIP_FIND_LINKS=/vagrant/vagrant/wheelhouse/server"
            f" sh /vagrant/packaging/install.sh /var/tmp/{wheel.name} joblet $(hostname -I)"
            f" && echo {fingerprint} | sudo tee /opt/joblet/fingerprint"
        )


def _fingerprint() -> str:
    """Of all that is installed: the sources of the wheel, and packaging/."""
    files = (path for folder in ("src", "packaging") for path in (ROOT / folder).rglob("*") if path.is_file())
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes())
    for file in sorted(path for path in files if path.suffix != ".pyc"):
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def chosen_paths(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """
    What each suite is to run, by its name, and which of the words are for pytest; without a path, every suite runs.

    Raises:
        Failed: No suite has a path that was named.
    """
    paths = {
        word: path
        for word in words
        # What is misspelt below tests/ is a path too: pytest would refuse it only once the machine is up.
        if (path := os.path.normpath(word)).startswith("tests/") or (ROOT / word.partition("::")[0]).exists()
    }
    others = [word for word in words if word not in paths]
    if not paths:
        return {suite.name: list(suite.paths) for suite in SUITES}, others
    chosen: dict[str, list[str]] = {}
    for word, path in paths.items():
        for suite in SUITES:
            within = any(_is_in(path, folder) for folder in suite.paths)
            if found := [path] if within else [file for file in suite.paths if _is_in(file, path)]:
                chosen[suite.name] = [*chosen.get(suite.name, ()), *found]
        there = (ROOT / path.partition("::")[0]).exists()
        if not there or not any(_is_in(path, mine) or _is_in(mine, path) for suite in SUITES for mine in suite.paths):
            known = "\n".join(f"  {path}" for suite in SUITES for path in suite.paths)
            raise Failed(f"{word} is not among the tests that are run in the machine:\n{known}")
    return chosen, others


def _is_in(path: str, other: str) -> bool:
    return f"{path.partition('::')[0]}/".startswith(f"{other}/")


def command_of(machine: Machine, suite: Suite, paths: Sequence[str], options: Sequence[str]) -> list[str]:
    """What runs a suite's tests, as a command on this host."""
    options = ["-p", "no:cacheprovider", f"--durations={SLOWEST}", *suite.options, *options, *paths]
    pytest = ["-m", "pytest", "-o", f"junit_suite_name={suite.name}", *options]
    if not suite.in_guest:
        return machine.on_network([sys.executable, *pytest, f"--junit-xml={RESULTS / suite.name}.xml"])
    # Hypothesis is loaded for the tests that use it: as a plugin it costs every suite 3 s.
    words = [PYTHON, *pytest, f"--junit-xml={GUEST_RESULTS}/{suite.name}.xml", "-p", "no:hypothesispytest"]
    prefix = _in_service(suite.name) if suite.as_service else ""
    return machine.ssh_command(f"cd /vagrant && sudo {prefix} {shlex.join(words)}")


def bench(machine: Machine) -> int:
    """Measure launches, limits in force, against systemd-run and bwrap; the benchmark's exit status."""
    words = f"sudo {_in_service('bench')} {PYTHON} bench/launch.py --rounds {BENCH_ROUNDS}"
    with phase("measuring what a launch costs (about a minute)"):
        done = subprocess.run(
            machine.ssh_command(words), env=machine.environ, stdout=subprocess.PIPE, text=True, check=False
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "launch.txt").write_text(done.stdout)
    print(done.stdout, end="", flush=True)
    return done.returncode


def _in_service(name: str) -> str:
    """What makes the rest of a command line a service whose part of the cgroup tree is its own."""
    # Not joblet-…: what runs in such a unit is systemd's to end, says `joblet down`, with which these tests clean up.
    service = f"--unit={name}-of-joblet --slice=joblet.slice --property=Delegate=yes --working-directory=/vagrant"
    return f"systemd-run --quiet --collect --wait --pipe {service}"


def bring_back(machine: Machine) -> None:
    """The JUnit files, and the journal of Joblet's units for whoever looks into a failure."""
    units = "-u joblet -u joblet-supervisor -u joblet-jobs"
    machine.check_output(
        f"sudo journalctl --no-pager -o short-iso {units} | sudo tee {GUEST_RESULTS}/journal.txt >/dev/null"
    )
    machine.get(f"{GUEST_RESULTS}/", RESULTS)


def summary() -> tuple[str, bool]:
    """A line per suite, and whether every test was run and passed."""
    lines, good = [], True
    for file in sorted(RESULTS.glob("*.xml")):
        for found in ElementTree.parse(file).iter("testsuite"):
            tests, failed, skipped = (
                int(found.get("tests", 0)),
                int(found.get("failures", 0)) + int(found.get("errors", 0)),
                int(found.get("skipped", 0)),
            )
            seconds = float(found.get("time", 0))
            good = good and failed == 0 and skipped == 0
            passed = tests - failed - skipped
            lines.append(f"  {file.stem}: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s")
    return "\n".join(lines), good


def main(arguments: Sequence[str]) -> int:
    """The session; its exit status."""
    try:
        options = parse(arguments)
        choice = choose(look())
        say(f"the machine runs with {choice.hypervisor}: {choice.why}")
        machine = Machine(choice)
        with machine.alone():
            if options.destroy:
                machine.destroy()
                return 0
            return _session(machine, options)
    except (Failed, NoHypervisor, OSError, KeyboardInterrupt) as error:
        return fail(error)


def _session(machine: Machine, options: argparse.Namespace) -> int:
    try:
        if options.keep and machine.answers():
            machine.sync()
        else:
            machine.up()
        install(machine)
        if options.bench:
            return bench(machine)
        if options.mutants:
            return machine.ssh(f"cd /vagrant && sudo {PYTHON} vagrant/mutants.py {shlex.join(options.pytest)}")
        return _run_suites(machine, options)
    finally:
        if not options.keep:
            machine.stop()


def _run_suites(machine: Machine, options: argparse.Namespace) -> int:
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    machine.check_output(f"sudo rm -rf {GUEST_RESULTS} && sudo mkdir -p {GUEST_RESULTS}")
    statuses: dict[str, int] = {}
    beside: list[Beside] = []
    for suite in (suite for suite in SUITES if suite.name in options.paths):
        command = command_of(machine, suite, options.paths[suite.name], options.pytest)
        if suite.beside:
            say(f"tests: {suite.name}, beside the next")
            beside.append(Beside(suite.name, command, machine.environ))
            continue
        with phase(f"tests: {suite.name}"):
            statuses[suite.name] = subprocess.run(command, env=machine.environ, cwd=ROOT, check=False).returncode
        statuses |= {other.name: other.status() for other in beside}
        beside.clear()
    statuses |= {other.name: other.status() for other in beside}
    if set(statuses.values()) == {NOTHING_RUN}:
        raise Failed(f"no test matches {options.only!r}" if options.only else "there is no test in what was named")
    bring_back(machine)
    lines, all_passed = summary()
    say(f"results in {RESULTS.relative_to(ROOT)}/:\n{lines}")
    return 0 if good(statuses.values(), matching=bool(options.only)) and all_passed else 1


class Beside:
    """
    A suite that runs while another does; what it prints is shown once it has ended.

    Args:
        name: The suite's.
        command: That runs it on this host.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self._output = RESULTS / f"{name}.txt"
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                command, env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def status(self) -> int:
        """Wait for its end, and show what it has printed; pytest's exit status."""
        with phase(f"tests: {self.name}, to its end"):
            status = self._process.wait()
        print(self._output.read_text(errors="replace"), flush=True)
        return status


def good(statuses: Collection[int], *, matching: bool) -> bool:
    """
    Whether every suite passed, going by pytest's exit statuses.

    Args:
        matching: Only tests that match an expression were asked for: then a suite may have none of them, but not all.
    """
    accepted = {0, NOTHING_RUN} if matching else {0}
    return set(statuses) <= accepted and 0 in statuses


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
