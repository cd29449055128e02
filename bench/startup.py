"""
How long `rnx --help` and `rnx list` take from start to exit, as a multiple of `python -c pass`.

`list` is a whole call: a process starts, connects to a server on loopback over TLS 1.3 with certificates, lists one
job, and exits. The three are measured in turn, in the same run, with the same interpreter.

    python bench/startup.py [--smoke] [--rounds N]

Ours is compiled first, as an installed package is: without bytecode (PYTHONDONTWRITEBYTECODE and an editable
install) `list` takes a quarter longer.

Runs in: a contributor's terminal. Needs no root.
Source: docs/contributors.md, "Benchmarks": `--help` at most 3 times, `list` at most 9 times bare Python.
"""

import argparse
import compileall
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "wire"))

from rnx_process import environment  # noqa: E402
from scripted import JOB_ID, START, Scripted, serving, write_certificates  # noqa: E402

from joblet.wire import joblet_pb2 as pb  # noqa: E402

LIMITS: Final = {"rnx --help": 3.0, "rnx list": 9.0}
BARE: Final = "python -c pass"


def seconds_of(command: Sequence[str], environ: Mapping[str, str]) -> float:
    """One run, from start to exit."""
    began = time.perf_counter()
    subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure and print; 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description="start-up of rnx as a multiple of bare Python")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--smoke", action="store_true", help="two rounds, and no judgement")
    options = parser.parse_args()
    rounds = 2 if options.smoke else options.rounds

    compileall.compile_dir(ROOT / "src" / "joblet", quiet=1)
    rnx = (sys.executable, str(Path(sys.executable).with_name("rnx")))
    commands = {BARE: (sys.executable, "-c", "pass"), "rnx --help": (*rnx, "--help"), "rnx list": (*rnx, "list")}
    script = Scripted(listed=(pb.Job(id=JOB_ID, status="COMPLETED", startTime=START, command="true"),))
    took: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as name, serving_with_environment(script, Path(name)) as environ:
        for number in range(rounds + 1):
            for what, command in commands.items():
                seconds = seconds_of(command, environ)
                if number:  # the first round only warms the caches
                    took[what].append(seconds)
    return report(took, judge=not options.smoke)


@contextlib.contextmanager
def serving_with_environment(script: Scripted, folder: Path) -> Iterator[Mapping[str, str]]:
    """A server with certificates of its own; gives the environment in which `rnx` finds both."""
    write_certificates(folder)
    with serving(script, folder) as address:
        yield {**os.environ, **environment(address, folder)}


def report(took: Mapping[str, list[float]], *, judge: bool) -> int:
    """Print the table; 1 when a limit is exceeded."""
    bare_s = statistics.median(took[BARE])
    print(f"{'':16} {'median':>9} {'quartiles':>17} {'ratio':>7} {'limit':>6}")
    missed = 0
    for what, seconds in took.items():
        median = statistics.median(seconds)
        low, _, high = statistics.quantiles(seconds, n=4)
        ratio, limit = median / bare_s, LIMITS.get(what)
        missed |= limit is not None and ratio > limit
        spread = f"{low * 1000:.1f} to {high * 1000:.1f}"
        print(f"{what:16} {median * 1000:6.1f} ms {spread:>14} ms {ratio:7.2f} {limit or '':>6}")
    return int(judge and missed)


if __name__ == "__main__":
    sys.exit(main())
