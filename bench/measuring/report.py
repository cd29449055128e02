"""
How a benchmark is asked for and how it tells its result: median, spread, and how it compares.

Runs in: the contributor's terminal.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence


def rounds_asked_for(words: str, rounds: int) -> tuple[int, bool]:
    """
    What the command line says.

    Args:
        words: What the benchmark measures.
        rounds: When the command line does not say.

    Returns:
        (rounds, whether the result is judged): `--smoke` is two rounds without judgement, for CI.
    """
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--smoke", action="store_true", help="two rounds, and no judgement")
    options = parser.parse_args()
    return (2, False) if options.smoke else (options.rounds, True)


def show(title: str, unit: str, measured: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """
    Print a row for each: its median, the middle 80 %, and what multiple of it the first one is.

    A row of a single value has no spread.

    Returns:
        The medians.
    """
    medians = {what: statistics.median(values) for what, values in measured.items()}
    first = next(iter(medians))
    print(f"{title:40}{'p10':>10}{'median':>10}{'p90':>10}  {unit:8}{'ratio':>6}")
    for what, values in measured.items():
        low, *_, high = statistics.quantiles(values, n=10) if len(values) > 1 else (values[0], values[0])
        ratio = f"{medians[first] / medians[what]:6.2f}" if medians[what] else f"{'-':>6}"
        print(f"{what:40}{low:10.2f}{medians[what]:10.2f}{high:10.2f}  {unit:8}{ratio}", flush=True)
    return medians


def judged(what: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> bool:
    """Print whether a value keeps its target; True when it does."""
    kept = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
    target = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}"
    print(f"{what}: {value:.2f}, target {target}: {'kept' if kept else 'MISSED'}", flush=True)
    return kept
