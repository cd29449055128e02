"""
How long a workflow takes as a whole: 200 jobs of `true` in ten layers, each job waiting for three of the layer before.

    sudo python bench/makespan.py [--smoke] [--rounds N]

Beside it, in each round: the critical path, which is one job after the other, as deep as the graph, each begun when
the one before has ended; GNU make with the same graph and as many jobs at once, once plain and once with each recipe
in bwrap with the tree of a job; and a loop of `rnx run --follow true`, of which a tenth is run and counted ten times.

Runs in: the contributor's terminal, as root; the server and its jobs as processes of their own.
Source: docs/contributors.md, "Benchmarks": at most 0.2 times the loop, at most 1.2 times make with bwrap.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from measuring.peers import bwrap
from measuring.report import judged, rounds_asked_for, show
from measuring.server import RunningServer, a_server

from joblet.client import JobletClient

LAYERS: Final = 10
WIDTH: Final = 20
SMOKE_LAYERS: Final = 3
AT_ONCE: Final = 100
LOOP_SHARE: Final = 10
LOOK_S: Final = 0.02
OF_LOOP: Final = 0.2
OF_MAKE: Final = 1.2

WORKFLOW: Final = "joblet, a workflow"
CRITICAL: Final = "joblet, the critical path"
MAKE: Final = "make -j, plain"
MAKE_BWRAP: Final = "make -j, each in bwrap"
LOOP: Final = "a loop of rnx run --follow"

Graph = dict[str, list[str]]


def a_graph(layers: int) -> Graph:
    """Whom each job waits for."""
    return {
        f"j{layer}-{number}": [f"j{layer - 1}-{(number + step) % WIDTH}" for step in (0, 1, 7)] if layer else []
        for layer in range(layers)
        for number in range(WIDTH)
    }


def workflow_text(graph: Graph) -> str:
    """The graph as a workflow."""
    lines = ["jobs:"]
    for name, wanted in graph.items():
        lines += [f"  {name}:", '    command: "true"']
        if wanted:
            lines += ["    requires:", *(f"      - {other}: COMPLETED" for other in wanted)]
    return "\n".join(lines)


def makefile_text(graph: Graph, recipe: str) -> str:
    """The graph for make; the shell that make would put between is not needed by any peer."""
    rules = "\n".join(f"{name}: {' '.join(wanted)}\n\t@{recipe}" for name, wanted in graph.items())
    return f".PHONY: all {' '.join(graph)}\nall: {' '.join(graph)}\n{rules}\n"


def by_workflow(client: JobletClient, text: str) -> None:
    """Until its last job has ended. A client that asked without a pause would take a third of the machine itself."""
    workflow = client.run_workflow(text, name="layers.yaml")
    while not (status := client.get_workflow_status(workflow.id)).workflow.ended:
        time.sleep(LOOK_S)
    assert status.workflow.status == "COMPLETED", status.workflow


def one_after_the_other(client: JobletClient, count: int) -> None:
    """The longest way through the graph."""
    for _ in range(count):
        assert client.wait(client.run_job("true").id).exit_code == 0


def by_make(folder: Path, text: str) -> None:
    """GNU make, with as many jobs at once as the server has."""
    (folder / "Makefile").write_text(text)
    subprocess.run(["make", "-s", f"-j{AT_ONCE}", "-C", str(folder)], check=True)


def by_a_loop(server: RunningServer, count: int) -> None:
    """What one would write without workflows."""
    rnx = [sys.executable, "-m", "joblet.rnx.main", "run", "--follow", "true"]
    names = {
        "SERVER": server.address,
        "CA_PATH": "ca-cert.pem",
        "CERT_PATH": "client-cert.pem",
        "KEY_PATH": "client-key.pem",
    }
    environ = {
        f"JOBLET_{name}": value if name == "SERVER" else str(server.certificates / value)
        for name, value in names.items()
    }
    for _ in range(count):
        subprocess.run(rnx, env={**os.environ, **environ}, check=True, capture_output=True)


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    rounds, judge = rounds_asked_for("how long a workflow takes as a whole", 7)
    layers = LAYERS if judge else SMOKE_LAYERS
    graph = a_graph(layers)
    took: dict[str, list[float]] = {name: [] for name in (WORKFLOW, CRITICAL, MAKE, MAKE_BWRAP, LOOP)}
    with (
        tempfile.TemporaryDirectory() as name,
        a_server() as server,
        JobletClient(server.address, server.credentials) as client,
    ):
        work = Path(name)
        sandbox, _ = bwrap(work)
        candidates: dict[str, Callable[[], None]] = {
            WORKFLOW: lambda: by_workflow(client, workflow_text(graph)),
            CRITICAL: lambda: one_after_the_other(client, layers),
            MAKE: lambda: by_make(work, makefile_text(graph, "true")),
            MAKE_BWRAP: lambda: by_make(work, makefile_text(graph, shlex.join(sandbox))),
            LOOP: lambda: by_a_loop(server, len(graph) // LOOP_SHARE),
        }
        one_after_the_other(client, 3)
        for _ in range(rounds):
            for what, candidate in candidates.items():
                began = time.perf_counter()
                candidate()
                took[what].append((time.perf_counter() - began) * (LOOP_SHARE if what == LOOP else 1))
    medians = show(f"{len(graph)} jobs in {layers} layers, {rounds} rounds", "s", took)
    kept = judged("workflow / loop", medians[WORKFLOW] / medians[LOOP], at_most=OF_LOOP)
    kept &= judged("workflow / make with bwrap", medians[WORKFLOW] / medians[MAKE_BWRAP], at_most=OF_MAKE)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
