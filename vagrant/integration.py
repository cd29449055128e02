"""
`nox -s integration`: bring the machine up, put this checkout's Joblet on it, test it there, bring the results back.

Runs in: the contributor's terminal, CI. May not: change this checkout but for .vagrant/.
"""

import argparse
import hashlib
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
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
        options: For pytest, always.
    """

    name: str
    paths: tuple[str, ...]
    in_guest: bool = True
    as_service: bool = False
    options: tuple[str, ...] = ()


SUITES: Final = (
    Suite("installed", ("tests/integration",)),
    Suite(
        "engine",
        (
            "tests/native/test_engine_contract.py",
            "tests/native/isolation/test_isolation_hostile.py",
            "tests/native/test_hostile_output.py",
        ),
        as_service=True,
        options=("--cgroups=required", "--one-supervisor"),
    ),
    Suite("from-host", ("tests/from_host",), in_guest=False),
)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The session's own options; the rest is pytest's."""
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
    options.pytest = others
    return options


def install(machine: Machine) -> None:
    """Build the wheel and install it as the packaging does, unless the machine has just that."""
    fingerprint = _fingerprint()
    if machine.read("cat /opt/joblet/fingerprint 2>/dev/null || true").strip() == fingerprint:
        return
    dist = ROOT / ".vagrant" / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with phase("installing Joblet in the machine"):
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={dist}", str(ROOT)]
        run(command, machine.state / "wheel.log")
        (wheel,) = dist.glob("joblet-*.whl")
        machine.put(wheel, "/var/tmp/")
        machine.read(
            "sudo PIP_NO_INDEX=1 PIP_FIND_LINKS=/vagrant/vagrant/wheelhouse/server"
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


def test(machine: Machine, suite: Suite, paths: Sequence[str], options: Sequence[str]) -> int:
    """Run a suite's tests; pytest's exit status."""
    pytest = ["-m", "pytest", "-p", "no:cacheprovider", f"--durations={SLOWEST}", *suite.options, *options, *paths]
    if not suite.in_guest:
        command = machine.inside([sys.executable, *pytest, f"--junit-xml={RESULTS / suite.name}.xml"])
        return subprocess.run(command, env=machine.environ, cwd=ROOT, check=False).returncode
    words = [PYTHON, *pytest, f"--junit-xml={GUEST_RESULTS}/{suite.name}.xml", "-o", f"junit_suite_name={suite.name}"]
    prefix = _in_service(suite.name) if suite.as_service else ""
    return machine.ssh(f"cd /vagrant && sudo {prefix} {shlex.join(words)}")


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
    machine.read(f"sudo journalctl --no-pager -o short-iso {units} | sudo tee {GUEST_RESULTS}/journal.txt >/dev/null")
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
    options = parse(arguments)
    try:
        choice = choose(look())
        say(f"the machine runs with {choice.hypervisor}: {choice.why}")
        machine = Machine(choice)
        with machine.alone():
            if options.destroy:
                machine.destroy()
                return 0
            return _session(machine, options)
    except (Failed, NoHypervisor) as error:
        return fail(error)


def _session(machine: Machine, options: argparse.Namespace) -> int:
    if options.keep and machine.answers():
        machine.sync()
    else:
        machine.up()
    install(machine)
    if options.bench:
        status = bench(machine)
    elif options.mutants:
        status = machine.ssh(f"cd /vagrant && sudo {PYTHON} vagrant/mutants.py {shlex.join(options.pytest)}")
    else:
        status = _run_suites(machine, options)
    if not options.keep:
        machine.stop()
    return status


def _run_suites(machine: Machine, options: argparse.Namespace) -> int:
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    machine.read(f"sudo rm -rf {GUEST_RESULTS} && sudo mkdir -p {GUEST_RESULTS}")
    chosen = [word for word in options.pytest if (ROOT / word.split("::")[0]).exists()]
    others = [word for word in options.pytest if word not in chosen]
    if options.only:
        others += ["-k", options.only]
    good = True
    for suite in SUITES:
        paths = [word for word in chosen if word.startswith(suite.paths)] if chosen else suite.paths
        if not paths:
            continue
        with phase(f"tests: {suite.name}"):
            status = test(machine, suite, paths, others)
        # 5 is "no test matched": with -k, another suite has it.
        good = good and (status == 0 or (status == 5 and bool(options.only)))
    bring_back(machine)
    lines, all_passed = summary()
    say(f"results in {RESULTS.relative_to(ROOT)}/:\n{lines}")
    return 0 if good and all_passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
