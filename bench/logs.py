"""
What the logs can do, in parts: what this process and what a job can write, how fast readers get it, and more.

    sudo python bench/logs.py [--smoke] [--rounds N] [--plots] [--part=NAME ...]

Each part is a module of `measuring.logs` and says there what it measures, against which peer and how. `--plots` draws
the figures into docs/benchmarks; that needs pygal, which the development environment has.

Runs in: the contributor's terminal, as root; servers, jobs and readers as processes of their own.
Source: docs/contributors.md, "Benchmarks".
"""

import argparse
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from measuring.logs import latency, many_jobs, pipeline, readers, records, slow_readers
from measuring.logs.part import Measure, Part
from measuring.report import judged, show

PLOTS: Final = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"

# Each with the rounds it needs for a steady median.
PARTS: Final[Mapping[str, tuple[Measure, int]]] = {
    "records": (records.measure, records.ROUNDS),
    "latency": (latency.measure, latency.ROUNDS),
    "pipeline": (pipeline.measure, pipeline.ROUNDS),
    "readers": (readers.measure, readers.ROUNDS),
    "slow-readers": (slow_readers.measure, slow_readers.ROUNDS),
    "many-jobs": (many_jobs.measure, many_jobs.ROUNDS),
}
SMOKE_ROUNDS: Final = 1


def options_of(words: list[str]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="what the logs can do")
    parser.add_argument("--rounds", type=int, help="by default what each part needs")
    parser.add_argument("--smoke", action="store_true", help="little of everything, and no judgement")
    parser.add_argument("--plots", action="store_true", help=f"draw the figures into {PLOTS.name}")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    return parser.parse_args(words)


def tell(part: Part) -> bool:
    """Print what a part has found out; whether every target is kept."""
    for table in part.tables:
        show(table.title, table.unit, table.rows)
    for remark in part.remarks:
        print(remark, flush=True)
    kept = [judged(each.what, each.value, at_most=each.at_most, at_least=each.at_least) for each in part.judgements]
    return all(kept)


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    options = options_of(sys.argv[1:])
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    kept = True
    for name in options.part or PARTS:
        measure, rounds = PARTS[name]
        rounds = SMOKE_ROUNDS if options.smoke else options.rounds or rounds
        part = measure(rounds, smoke=options.smoke)
        print(f"\n{name}: {part.title}, {rounds} rounds", flush=True)
        kept &= tell(part)
        if options.plots:
            from measuring.logs import plots

            plots.draw(part.charts, PLOTS)
    return int(not options.smoke and not kept)


if __name__ == "__main__":
    sys.exit(main())
