"""
What slow readers cost the server in memory: 100 of a 10 GB log, against 10 of it and against 100 of a 1 GB log.

Each reader has a connection of its own, begins at another place of the log, and reads a piece and pauses, so that its
flow-control windows stay full and a piece waits for it in the server. Counted is how much the PSS of the server grows
above what it was before they came. A server that read ahead, or kept what a reader has not taken, would grow with the
log. What a reader costs at least is its connection (TLS, HTTP/2) and one of the smallest pieces: the figure for 10
readers tells how much of the growth is theirs each.

Runs in: the contributor's terminal, as root; server, jobs and readers as processes of their own.
Source: docs/contributors.md, "Benchmarks": 100 of them at most 100 MB, whatever the length of the log.
"""

import time
from typing import Final

from joblet.domain.limits import MIB
from measuring.logs.crowd import seconds_of
from measuring.logs.part import Bars, Judgement, Lines, Part, Table, ratio
from measuring.logs.readers import a_log
from measuring.processes import Watched, pss_mb
from measuring.server import RunningServer, a_server

ROUNDS: Final = 3
BOUND_MB: Final = 100.0
SAME: Final = 1.25
PAUSE_S: Final = 0.5
PROCESSES: Final = 4
# The server gives memory back some seconds after the last stream has ended.
SETTLED_S: Final = 7.0

MANY_LONG: Final = "100 readers, 10 GB log"
FEW_LONG: Final = "10 readers, 10 GB log"
MANY_SHORT: Final = "100 readers, 1 GB log"
LONG_BYTES: Final = 10_000 * MIB
SHORT_BYTES: Final = 1_000 * MIB
READ_FOR_S: Final = 20.0
SMOKE_DIVISOR: Final = 40
SMOKE_READ_FOR_S: Final = 2.0


def visit(server: RunningServer, job_id: str, log_bytes: int, readers: int, read_for_s: float) -> Watched:
    """The server's memory while so many readers are there."""
    # From the first half on, so that a reader has as much before it as it can want.
    offsets = [log_bytes // 2 * number // readers for number in range(readers)]
    words = ["read-slowly", str(server.certificates), server.address, job_id, str(PAUSE_S), str(read_for_s)]
    with Watched(lambda: pss_mb(server.server_pid)) as memory:
        seconds_of([[*words, *map(str, offsets[number::PROCESSES])] for number in range(PROCESSES)])
    return memory


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    divisor = SMOKE_DIVISOR if smoke else 1
    grown: dict[str, list[float]] = {MANY_LONG: [], FEW_LONG: [], MANY_SHORT: []}
    before: list[float] = []
    last: dict[str, Watched] = {}
    with a_server() as server:
        long_log, short_log = a_log(server, LONG_BYTES // divisor), a_log(server, SHORT_BYTES // divisor)
        visits = {
            FEW_LONG: (long_log, LONG_BYTES // divisor, 10),
            MANY_SHORT: (short_log, SHORT_BYTES // divisor, 100),
            MANY_LONG: (long_log, LONG_BYTES // divisor, 100),
        }
        for _ in range(rounds):
            for what, (job_id, log_bytes, readers) in visits.items():
                memory = visit(server, job_id, log_bytes, readers, SMOKE_READ_FOR_S if smoke else READ_FOR_S)
                grown[what].append(memory.peak - memory.before)
                before.append(memory.before)
                last[what] = memory
                if not smoke:
                    time.sleep(SETTLED_S)
    table = Table("PSS of the server, peak above before", "MB", grown)
    medians = table.medians
    each = (medians[MANY_LONG] - medians[FEW_LONG]) / 90
    return Part(
        title="what slow readers cost",
        tables=[table, Table("PSS of the server", "MB", {"before any reader": before})],
        judgements=(
            Judgement("MB of PSS for 100 readers of 10 GB", medians[MANY_LONG], at_most=BOUND_MB),
            Judgement("10 GB log / 1 GB log", ratio(grown[MANY_LONG], grown[MANY_SHORT]), at_most=SAME),
        ),
        charts=(
            Bars("logs-slow-readers", "Memory that slow readers cost the server", "MB", medians),
            Lines(
                "logs-slow-readers-time",
                "Memory of the server while slow readers read",
                "s",
                "MB",
                {what: memory.points for what, memory in last.items()},
            ),
        ),
        remarks=(f"a reader more costs {each:.2f} MB",),
    )
