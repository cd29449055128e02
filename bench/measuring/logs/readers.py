"""
How fast readers get a log by GetJobLogs: one reader against raw TLS 1.3 of Python's `ssl`, and 32 against one.

The log is that of a job that has ended, in the page cache. The raw server sends as many bytes from memory, in pieces of
the same size, with the same certificates, over the same loopback. 32 readers are four processes with eight connections
each, and every one of them reads a whole log, a shorter one. Server and readers share the machine's cores, so what is
judged is how much of the machine's power for TLS is left when gRPC, the log's file and Python have taken their part.

Runs in: the contributor's terminal, as root; server, job, the peer's server and all readers as processes of their own.
Source: docs/contributors.md, "Benchmarks": one reader at least 0.6 times raw TLS, 32 together at least 0.7 times one.
"""

from typing import Final

from joblet.client import JobletClient
from joblet.domain.limits import MIB
from measuring.logs.crowd import process, said, seconds_of
from measuring.logs.part import Bars, Judgement, Part, Table, ratio
from measuring.logs.writing import Writing, a_writer
from measuring.server import RunningServer, a_server

ROUNDS: Final = 9
ONE: Final = "GetJobLogs, 1 reader"
MANY: Final = "GetJobLogs, 32 readers together"
RAW: Final = "raw TLS 1.3, 1 reader"
PROCESSES: Final = 4
READERS_OF_EACH: Final = 8
LOG_BYTES: Final = 512 * MIB
SHORT_LOG_BYTES: Final = 256 * MIB
SMOKE_DIVISOR: Final = 16


def a_log(server: RunningServer, size_bytes: int) -> str:
    """Id of a job that has ended and left a log of so many bytes."""
    with a_writer() as program, JobletClient(server.address, server.credentials) as client:
        command, arguments = Writing(program, min(MIB, size_bytes), size_bytes).in_a_job
        job = client.run_job(command, arguments)
        status = client.wait(job.id)
    assert (status.exit_code, status.log_bytes) == (0, size_bytes), status
    return job.id


def measure(rounds: int, *, smoke: bool) -> Part:
    """See `part.Measure`."""
    divisor = SMOKE_DIVISOR if smoke else 1
    log_bytes, short_bytes = LOG_BYTES // divisor, SHORT_LOG_BYTES // divisor
    rates: dict[str, list[float]] = {ONE: [], MANY: [], RAW: []}
    with a_server() as server:
        folder = str(server.certificates)
        long_log, short_log = a_log(server, log_bytes), a_log(server, short_bytes)
        with process("serve-raw", folder, str(log_bytes)) as raw:
            address = f"127.0.0.1:{int(said(raw))}"
            one = ["read", folder, server.address, long_log, str(log_bytes), "1"]
            many = ["read", folder, server.address, short_log, str(short_bytes), str(READERS_OF_EACH)]
            candidates = {
                ONE: ([one], log_bytes),
                RAW: ([["read-raw", folder, address, str(log_bytes)]], log_bytes),
                MANY: ([many] * PROCESSES, short_bytes * PROCESSES * READERS_OF_EACH),
            }
            for _ in range(rounds):
                for what, (commands, count_bytes) in candidates.items():
                    rates[what].append(count_bytes / 1e6 / seconds_of(commands))
    table = Table("GetJobLogs over mutual TLS", "MB/s", rates)
    return Part(
        title="how fast readers get a log",
        tables=[table],
        judgements=(
            Judgement("1 reader / raw TLS", ratio(rates[ONE], rates[RAW]), at_least=0.6),
            Judgement("32 readers together / 1 reader", ratio(rates[MANY], rates[ONE]), at_least=0.7),
        ),
        charts=[Bars("logs-readers", "GetJobLogs over mutual TLS, one machine", "MB/s", table.medians)],
    )
