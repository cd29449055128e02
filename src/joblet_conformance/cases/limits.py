"""
Limits that hold: jobs that would use more than they may, in nothing but a shell.

    memory    a variable is doubled: what it holds in the end is as much as the job has touched at least
    CPU       two loops that spin; the kernel's account of their time, over the time since boot
    I/O       a file larger than the job's memory: what is not in memory any more has been written

What a limit leaves unused is never measured against a clock of ours, so a slow machine changes nothing.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob", "Job Status Values", "Resource Limits"; proc(5), "/proc/[pid]/stat" and
"/proc/uptime", both in hundredths of a second; Linux Documentation/admin-guide/cgroup-v2.rst, "Memory", "Writeback".
"""

from typing import Any, Final

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Skipped, expect, same
from joblet_conformance.subject import Subject
from joblet_conformance.together import together

MIB: Final = 1024 * 1024

# After n doublings x holds 16 bytes times 2 to the n; on the way there a shell needs two to three times as much.
GROW: Final = "grow() { x=0123456789abcdef; n=$1; while [ $n -gt 0 ]; do x=$x$x; n=$((n-1)); done; }"
TO_1_MIB: Final = 16
TO_4_MIB: Final = 18
TO_8_MIB: Final = 19
TO_64_MIB: Final = 22
TO_512_MIB: Final = 25
SURVIVED: Final = b"survived\n"

# Each in a process of its own that holds 8 MiB while the next one does: all together 12 times as much.
NEST: Final = (
    f"{GROW}; nest() {{ grow {TO_8_MIB};"
    " if [ $1 -gt 1 ]; then (unset x; nest $(($1-1))); else echo survived; fi; }; nest $0"
)
NESTED: Final = 12

SPIN_S: Final = 2
SPIN: Final = (
    "spin() { while :; do :; done; }; spin & a=$!; spin & b=$!;"
    " look() { read -r now rest </proc/uptime; read -r one </proc/$a/stat; read -r two </proc/$b/stat;"
    ' echo "$now"; echo "$one"; echo "$two"; }; look; "$0" "$1"; look; kill -9 $a $b'
)
# The kernel gives out a share in periods of a tenth of a second, of which the ends of the time cut one.
TOLERANCE: Final = 1.3

WRITE: Final = (
    f"{GROW}; grow {TO_1_MIB}; : >joblet-conformance; read -r from rest </proc/uptime; n=$0;"
    ' while [ $n -gt 0 ]; do echo "$x"; n=$((n-1)); done >joblet-conformance;'
    ' read -r to rest </proc/uptime; : >joblet-conformance; echo "$from $to"'
)
WRITTEN_MIB: Final = 64
WRITER_MIB: Final = 32
WRITER_MIB_A_S: Final = 8


def grower(doublings: int) -> str:
    """The script of a job that uses that much memory, and says so when it still lives."""
    return f"{GROW}; grow {doublings}; echo survived"


async def _grown(server: Subject, doublings: int, **limits: Any) -> tuple[pb.GetJobStatusRes, bytes]:
    job = await server.shell(grower(doublings), **limits)
    return await server.ended(job), await server.log(job.id)


def _killed(ended: pb.GetJobStatusRes, log: bytes) -> None:
    expect(SURVIVED not in log, "the job has used more memory than it may, and goes on")
    same("the status", ended.status, "FAILED")
    expect(ended.exitCode != 0, "exitCode is 0")


def _lives(ended: pb.GetJobStatusRes, log: bytes) -> None:
    same("what the job prints", log, SURVIVED)
    same("the status and exitCode", (ended.status, ended.exitCode), ("COMPLETED", 0))


@case(
    "limits.memory",
    "run-job.max-memory",
    "run-job.cgroups",
    "status.failed",
    "run-job-req.max-memory",
    profile=Profile.LIMITS,
    covers=("RunJobReq.maxMemory", "GetJobStatusRes.status", "GetJobStatusRes.exitCode"),
)
async def more_memory_than_it_may_have_ends_a_job(server: Subject) -> None:
    """A job of 48 MB that fills 64 MB does not get there: it ends FAILED, with an exit code that is not 0."""
    _killed(*await _grown(server, TO_64_MIB, maxMemory=48))


@case("limits.memory-below", "run-job.max-memory", "status.completed", profile=Profile.LIMITS, covers=("RunJob=OK",))
async def less_memory_than_it_may_have_ends_no_job(server: Subject) -> None:
    """A job of 48 MB that fills 4 MB completes."""
    _lives(*await _grown(server, TO_4_MIB, maxMemory=48))


@case("limits.memory-each", "run-job.creates", "run-job.cgroups", profile=Profile.LIMITS, covers=("RunJob=OK",))
async def each_job_has_its_own_limit(server: Subject) -> None:
    """Of two jobs that do the same at the same time, the one of 48 MB is ended, the one of 512 MB is not harmed."""
    small, large = await together(_grown(server, TO_64_MIB, maxMemory=48), _grown(server, TO_64_MIB, maxMemory=512))

    _killed(*small)
    _lives(*large)


@case("limits.memory-together", "run-job.cgroups", "run-job.max-memory", profile=Profile.LIMITS, covers=("RunJob=OK",))
async def a_jobs_processes_share_its_memory(server: Subject) -> None:
    """Twelve processes of 8 MB each, none of them large, are more than a job of 64 MB may have together."""
    job = await server.shell(NEST, str(NESTED), maxMemory=64)

    _killed(await server.ended(job), await server.log(job.id))


@case(
    "limits.memory-default",
    "limits.memory",
    "run-job.max-memory",
    profile=Profile.LIMITS,
    alone=True,
    covers=("RunJobReq.maxMemory",),
)
async def a_job_without_a_memory_limit_has_512_mb(server: Subject) -> None:
    """Without maxMemory a job that fills 512 MB and more ends FAILED, and one that fills 64 MB completes."""
    _killed(*await _grown(server, TO_512_MIB))
    _lives(*await _grown(server, TO_64_MIB))


@case(
    "limits.memory-reason",
    "proto.reason",
    "proto.oom-killed",
    profile=Profile.LIMITS,
    level=Level.MAY,
    covers=("GetJobStatusRes.reason", "GetJobStatusRes.oomKilled"),
)
async def the_status_says_why(server: Subject) -> None:
    """GetJobStatus tells that a job was killed for its memory; of a job that has failed by itself it does not."""
    killed, _ = await _grown(server, TO_64_MIB, maxMemory=48)
    failed = await server.ended(await server.shell("exit 137"))

    same("oomKilled, and whether there is a reason", (killed.oomKilled, bool(killed.reason)), (True, True))
    same("the same of a job that exits with 137", (failed.oomKilled, bool(failed.reason)), (False, False))


async def _share(server: Subject, **limits: Any) -> float:
    """What two spinning processes of one job get together, in cores. Raises Skipped without a /proc."""
    job = await server.shell(SPIN, server.programs.sleep, str(SPIN_S), **limits)
    await server.ended(job)
    log = await server.log(job.id)
    try:
        from_s, *before, to_s, one, other = log.decode().splitlines()[:6]
        took_s, used = float(to_s) - float(from_s), sum(map(_ticks, (one, other))) - sum(map(_ticks, before))
    except (ValueError, IndexError):
        raise Skipped(f"the job cannot read /proc/uptime and /proc/[pid]/stat; it prints {log[:200]!r}") from None
    expect(took_s > 0, f"the time since boot stands still: {from_s}, then {to_s}")
    return used / 100 / took_s


def _ticks(stat: str) -> int:
    """Hundredths of a second in user and kernel mode."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _no_more_than(name: str, percent: int, **limits: int) -> None:
    @case(
        f"limits.cpu-{name}",
        "run-job.max-cpu",
        "run-job.cgroups",
        "limits.cpu",
        "run-job-req.max-cpu",
        profile=Profile.LIMITS,
        alone=True,
        covers=("RunJobReq.maxCPU",),
    )
    async def held(server: Subject) -> None:
        """Two processes that spin get no more of the CPU than their job may have (and not what each may have)."""
        share = await _share(server, **limits)

        expect(share <= percent / 100 * TOLERANCE, f"the job gets {share:.0%} of a core, expected {percent}% at most")


for _percent in (20, 50, 100):
    _no_more_than(str(_percent), _percent, maxCPU=_percent)
_no_more_than("default", 100)


@case("limits.cpu-given", "job.max-cpu", profile=Profile.LIMITS, level=Level.SHOULD, alone=True, covers=("RunJob=OK",))
async def a_share_is_also_given(server: Subject) -> None:
    """Where nothing else is to be done, a job that may have half of a core gets at least half of that."""
    share = await _share(server, maxCPU=50)

    expect(share >= 0.25, f"the job gets {share:.0%} of a core, expected about 50%")


@case(
    "limits.io-write",
    "run-job.max-iobps",
    "job.max-iobps",
    "run-job-req.max-iobps",
    profile=Profile.LIMITS,
    level=Level.SHOULD,
    alone=True,
    deadline_s=300.0,
    covers=("RunJobReq.maxIOBPS",),
)
async def a_file_is_written_no_faster_than_it_may(server: Subject) -> None:
    """
    Of 64 MB that a job of 32 MB writes, 32 MB at least are on the disk: with 8 MB a second, after 4 seconds.

    A should, because what a job writes may be counted elsewhere: a file system need not know whose page it writes back.
    """
    job = await server.shell(WRITE, str(WRITTEN_MIB), maxMemory=WRITER_MIB, maxIOBPS=WRITER_MIB_A_S * MIB)
    await server.ended(job)
    log = await server.log(job.id)
    try:
        began, done = map(float, log.split())
    except ValueError:
        raise Skipped(f"the job cannot write a file where it starts; it prints {log[:200]!r}") from None

    least_s = (WRITTEN_MIB - WRITER_MIB) / WRITER_MIB_A_S / TOLERANCE
    expect(done - began >= least_s, f"the job has written in {done - began:.1f} s, expected {least_s:.1f} s or more")
