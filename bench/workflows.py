"""
What a workflow costs beyond its jobs: of the scheduler alone, and of the whole service against the same jobs without.

    python bench/workflows.py [--smoke] [--rounds N]

The graphs are a chain, one job before all others, one after all others, and layers of 100 jobs that each wait for
three of the layer before. The scheduler alone is told of each start and end at once, without Python's collector of
garbage, which looks at more the more there is: so what grows is the scheduler's own work. The whole service runs on the
fake engine, on virtual time, with its store in memory; its peer in the same round is as many `true` by `Jobs.run`,
1 in flight for the chain, else 100, which is what a server runs at once. What a workflow takes longer is the
scheduling. The reading of its file is not in it, and has a row of its own.

Runs in: the contributor's terminal. Needs no root: no job is real.
Source: docs/contributors.md, "Benchmarks": scheduling at most 200 µs a job, and at 10,000 jobs at most twice as
much a job as at 1,000.
"""

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from measuring.report import judged, rounds_asked_for, show

from joblet.domain.workflow.definition import Definition
from joblet.domain.workflow.schedule import Finished, Schedule, Start
from joblet.domain.workflow.states import NodeState, WorkflowState
from joblet.services.workflow_check import check
from joblet.testing.clock import run
from joblet.testing.joblet import FakeJoblet

OVERHEAD_US: Final = 200.0
GROWTH: Final = 2.0
SIZES: Final = (1_000, 10_000)
SMOKE_SIZES: Final = (100, 400)
WIDTH: Final = 100
IN_FLIGHT: Final = 100

Rows = dict[str, list[float]]

# For each graph whom a job waits for, by its number and how many there are.
GRAPHS: Final[Mapping[str, Callable[[int, int], list[int]]]] = {
    "chain": lambda number, _: [number - 1] if number else [],
    "one before all": lambda number, _: [0] if number else [],
    "one after all": lambda number, count: list(range(number)) if number == count - 1 else [],
    "layers": lambda number, _: (
        [number // WIDTH * WIDTH - WIDTH + (number + step) % WIDTH for step in (0, 1, 50)] if number >= WIDTH else []
    ),
}


def text_of(graph: str, count: int) -> str:
    """The file of a workflow."""
    lines = ["jobs:"]
    for number in range(count):
        lines += [f"  j{number}:", '    command: "true"']
        if waits_for := GRAPHS[graph](number, count):
            lines += ["    requires:", *(f"    - j{other}: COMPLETED" for other in waits_for)]
    return "\n".join(lines)


def scheduled(definition: Definition) -> None:
    """Every job starts and completes as soon as it may."""
    schedule = Schedule(definition)
    actions = deque(schedule.begin())
    while actions:
        match actions.popleft():
            case Start(name):
                actions += schedule.started(name)
                actions += schedule.ended(name, NodeState.COMPLETED)
            case Finished(state):
                assert state is WorkflowState.COMPLETED


async def without(count: int, in_flight: int) -> float:
    """Seconds for so many jobs that are no workflow's."""
    left = iter(range(count))

    async def one_after_another() -> None:
        for _ in left:
            await joblet.ended(await joblet.run("true"))

    async with FakeJoblet() as joblet:
        began = time.perf_counter()
        await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
        return time.perf_counter() - began


async def within(text: str) -> float:
    """Seconds for a workflow, from its text to its stored end."""
    async with FakeJoblet() as joblet:
        began = time.perf_counter()
        workflow = await joblet.workflow_ended(await joblet.run_workflow(text))
        took = time.perf_counter() - began
    assert workflow.state is WorkflowState.COMPLETED, workflow
    return took


def us_a_job(work: Callable[[], object], count: int) -> float:
    """Microseconds."""
    gc.collect()
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e6 / count


def us_a_job_alone(definition: Definition) -> float:
    """Microseconds of the scheduler."""
    gc.disable()
    try:
        return us_a_job(partial(scheduled, definition), len(definition.jobs))
    finally:
        gc.enable()


def timed(work: Coroutine[Any, Any, float], count: int) -> float:
    """Microseconds a job, of what the work itself says: a fake machine is not made and taken down for each job."""
    gc.collect()
    return run(work) * 1e6 / count


@dataclass(frozen=True, slots=True)
class Figures:
    """Microseconds a job, by graph, a value for each round."""

    alone: Rows = field(default_factory=dict)
    whole: Rows = field(default_factory=dict)
    beyond: Rows = field(default_factory=dict)


def one_round(size: int, figures: Figures) -> None:
    """Add a value to each row."""
    peers = {in_flight: timed(without(size, in_flight), size) for in_flight in (IN_FLIGHT, 1)}
    for in_flight, peer in peers.items():
        figures.whole.setdefault(f"no workflow, {in_flight} in flight", []).append(peer)
    for graph in GRAPHS:
        text = text_of(graph, size)
        definition = check(text, graph, None).definition
        reading = us_a_job(partial(check, text, graph, None), size)
        took = timed(within(text), size)
        figures.alone.setdefault(graph, []).append(us_a_job_alone(definition))
        figures.whole.setdefault(graph, []).append(took - reading)
        figures.whole.setdefault(f"  reading its file ({graph})", []).append(reading)
        figures.beyond.setdefault(graph, []).append(took - reading - peers[1 if graph == "chain" else IN_FLIGHT])


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    rounds, judge = rounds_asked_for("what a workflow costs beyond its jobs", 5)
    few, many = SIZES if judge else SMOKE_SIZES
    figures = {size: Figures() for size in (few, many)}
    for _ in range(rounds):
        for size, taken in figures.items():
            one_round(size, taken)
    alone, whole, beyond = {}, {}, {}
    for size, taken in figures.items():
        print(f"\n{size} jobs, {rounds} rounds")
        alone[size] = show("the scheduler alone", "us/job", taken.alone)
        whole[size] = show("the whole service", "us/job", taken.whole)
        beyond[size] = show("more than without a workflow", "us/job", taken.beyond)
    kept = True
    for graph in GRAPHS:
        kept &= judged(f"scheduling, {graph}, {many} jobs, us a job", beyond[many][graph], at_most=OVERHEAD_US)
        # Of the service the whole, not the difference: that of two close figures is no steady divisor.
        for what, medians in (("scheduler alone", alone), ("whole service", whole)):
            growth = medians[many][graph] / medians[few][graph]
            kept &= judged(f"{what}, {graph}, {many} / {few} jobs", growth, at_most=GROWTH)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
