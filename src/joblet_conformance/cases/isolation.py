"""
What a job sees of the machine and of other jobs: nothing; with a shell and /proc alone.

Of the four namespaces, PID and mount show from inside. UTS shows where a server gives its jobs names, for then the
last one would be everybody's. IPC hardly does: only a segment of the machine would show, if it has one. A newer kernel
also tells the number of each.

Runs in: the terminal of whoever tests a server.
Source: API specification, "RunJob" (Job Execution Environment); proc(5), pid_namespaces(7), mount_namespaces(7).
"""

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Final

from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Skipped, expect, same
from joblet_conformance.subject import Subject

FEW: Final = 10  # processes of a job that has started none itself: its first, and those that watch over it
MANY: Final = 20

# Whoever shares their process ids finds the numbers of these just below its own.
CROWD: Final = f'n={MANY}; while [ $n -gt 0 ]; do "$0" 3600 & n=$((n-1)); done; echo ready; wait'
PROBE: Final = (
    "n=0; pid=$(($$ > 5000 ? $$ - 5000 : 1)); last=$(($$ + 5000)); while [ $pid -le $last ];"
    " do kill -0 $pid 2>/dev/null && n=$((n+1)); pid=$((pid+1)); done; echo $n"
)
LOOK: Final = 'read -r self rest </proc/self/stat; set -- /proc/[0-9]*; echo "$$ $self $#"'
NUMBER: Final = "echo $$"
MOUNTS: Final = '"$0" /proc/self/mountinfo; echo ready; "$1" 3600'
SEGMENTS: Final = "/proc/sysvipc/shm"
KINDS: Final = ("pid", "mnt", "ipc", "uts")
# Of an open file the kernel tells the number (since Linux 5.14): that of a namespace is the machine's.
SPACES: Final = (
    f'for kind in {" ".join(KINDS)}; do echo "$kind"; "$0" /proc/self/fdinfo/3 3</proc/self/ns/$kind; done;'
    ' echo ready; "$1" 3600'
)
HOSTNAME: Final = "/proc/sys/kernel/hostname"
NAMES: Final = f'while read -r name <{HOSTNAME}; do echo "$name"; "$0" 0.05; done'
FOLDERS: Final = ". /tmp /var/tmp /dev/shm"
LEAVE: Final = (
    f'for folder in {FOLDERS}; do (echo $0 >"$folder/$0") 2>/dev/null && echo "$folder"; done; echo ready; "$1" 3600'
)
SEEK: Final = f'for folder in {FOLDERS}; do [ -e "$folder/$0" ] && echo "$folder"; done; exit 0'


@contextlib.asynccontextmanager
async def _running(server: Subject, script: str, *args: str) -> AsyncIterator[bytes]:
    """A job that says "ready" and stays; what it has printed before."""
    job = await server.shell(script, *args)
    async with server.reader(job.id) as reader:
        await reader.until(b"ready\n")
        yield bytes(reader.data).removesuffix(b"ready\n")
        same("the status of the other job", (await server.status(job.id)).status, "RUNNING")


async def _said(server: Subject, script: str, *args: str) -> str:
    return (await server.log((await server.shell(script, *args)).id)).decode("utf-8", "replace").strip()


def _number(text: str) -> int:
    expect(text.isdecimal(), f"the job prints {text!r}, expected a number")
    return int(text)


@case(
    "isolation.processes",
    "run-job.namespaces",
    "run-job.isolated",
    "characteristics.isolation",
    "status.running",
    profile=Profile.PROCESS,
    covers=("GetJobLogs=OK",),
)
async def a_job_sees_no_other_processes(server: Subject) -> None:
    """While another job has twenty processes, the /proc of a job has its own few, and is about itself."""
    async with _running(server, CROWD, server.programs.sleep):
        said = await _said(server, LOOK)
    words = said.split()
    if len(words) != 3 or words[2] == "1":  # a pattern that matches nothing stays as it is
        raise Skipped(f"the job has no /proc to look into; it prints {said[:200]!r}")
    first, itself, seen = map(_number, words)

    same("the process that /proc/self is, in the shell's own number", itself, first)
    expect(seen <= FEW, f"the job sees {seen} processes, and has started none")


@case("isolation.numbers", "run-job.namespaces", profile=Profile.PROCESS, covers=("GetJobLogs=OK",))
async def a_jobs_processes_are_numbered_by_themselves(server: Subject) -> None:
    """In a PID namespace of its own, the first process of each job has a small number."""
    for _ in range(2):
        number = _number(await _said(server, NUMBER))

        expect(number <= FEW, f"the first process of a new job is number {number}")


@case("isolation.signals", "run-job.isolated", "run-job.security", profile=Profile.PROCESS, covers=("GetJobLogs=OK",))
async def a_job_cannot_signal_others(server: Subject) -> None:
    """While another job has twenty processes, no number near its own is one to which a job could send a signal."""
    async with _running(server, CROWD, server.programs.sleep):
        reached = _number(await _said(server, PROBE))

    expect(reached <= FEW, f"the job can signal {reached} processes, and has started none")


@case("isolation.mounts", "run-job.namespaces", profile=Profile.PROCESS, covers=("GetJobLogs=OK",))
async def a_job_has_mounts_of_its_own(server: Subject) -> None:
    """Of two jobs at the same time, each has mounts that the other has not: their numbers are the machine's."""
    programs = (server.programs.cat, server.programs.sleep)
    async with _running(server, MOUNTS, *programs) as one, _running(server, MOUNTS, *programs) as other:
        mounts = [{line.split()[0] for line in log.splitlines() if b" - " in line} for log in (one, other)]
    if not all(mounts):
        raise Skipped("the job has no /proc/self/mountinfo to look into")

    same("mounts that both have", sorted(mounts[0] & mounts[1]), [])


# A should, as on many a fair server's older kernel it cannot be tried.
@case(
    "isolation.namespaces",
    "run-job.namespaces",
    profile=Profile.PROCESS,
    level=Level.SHOULD,
    covers=("GetJobLogs=OK",),
)
async def a_job_has_namespaces_of_its_own(server: Subject) -> None:
    """Of two jobs at the same time, each has another PID, mount, IPC and UTS namespace."""
    programs = (server.programs.cat, server.programs.sleep)
    async with _running(server, SPACES, *programs) as one, _running(server, SPACES, *programs) as other:
        left, right = _numbers(one), _numbers(other)
    if set(left) != set(KINDS) or set(right) != set(KINDS):
        raise Skipped("the job has no numbers of namespaces in /proc/self/fdinfo to look into")

    same("namespaces that both have", [kind for kind in KINDS if left[kind] == right[kind]], [])


def _numbers(log: bytes) -> dict[str, str]:
    """The number of each kind of namespace that a job could find."""
    kind, found = "", {}
    for line in log.decode("utf-8", "replace").splitlines():
        if line in KINDS:
            kind = line
        elif line.startswith("ino:"):
            found[kind] = line.removeprefix("ino:").strip()
    return found


@case(
    "isolation.files",
    "run-job.isolated",
    "run-job.security",
    profile=Profile.PROCESS,
    level=Level.SHOULD,
    covers=("GetJobLogs=OK",),
)
async def a_job_does_not_find_what_another_one_writes(server: Subject) -> None:
    """A file that a job makes where it starts, or in a folder for such files, is not there for another job."""
    name = f"joblet-conformance-{uuid.uuid4()}"
    async with _running(server, LEAVE, name, server.programs.sleep) as written:
        if not written:
            raise Skipped("the job can write to none of the folders that were tried")
        found = await _said(server, SEEK, name)

    same("the folders in which another job finds it", found.split(), [])


@case(
    "isolation.segments", "run-job.namespaces", profile=Profile.PROCESS, level=Level.SHOULD, covers=("GetJobLogs=OK",)
)
async def a_job_sees_no_shared_memory(server: Subject) -> None:
    """In an IPC namespace of its own, a job that has made no segment of shared memory sees none."""
    lines = (await server.log((await server.run(server.programs.cat, SEGMENTS)).id)).splitlines()
    if not lines or b"shmid" not in lines[0]:
        raise Skipped(f"the job has no {SEGMENTS} to look into")

    same("segments", lines[1:], [])


@case("isolation.hostname-stays", "run-job.namespaces", profile=Profile.PROCESS, covers=("GetJobLogs=OK",))
async def another_job_does_not_change_the_name(server: Subject) -> None:
    """In a UTS namespace of its own, a job has the same host name before and after another one has started."""
    job = await server.shell(NAMES, server.programs.sleep)
    async with server.reader(job.id) as reader:
        await reader.until(b"\n")
        await server.ended(await server.run(server.programs.cat, HOSTNAME))
        enough = reader.data.count(b"\n") + 3
        while reader.data.count(b"\n") < enough and not reader.over:
            await reader.piece()
    if reader.over:
        raise Skipped(f"the job has no {HOSTNAME} to look into; it prints {bytes(reader.data[:200])!r}")
    first, *later = reader.data.splitlines()[:-1]

    same("other names that the job finds later", sorted({bytes(name) for name in later} - {bytes(first)}), [])


@case("isolation.hostname", "run-job.namespaces", profile=Profile.PROCESS, level=Level.MAY, covers=("GetJobLogs=OK",))
async def a_job_has_a_name_of_its_own(server: Subject) -> None:
    """In a UTS namespace of its own, each job may have another host name."""
    names = [await server.log((await server.run(server.programs.cat, HOSTNAME)).id) for _ in range(2)]

    expect(names[0] != names[1], f"two jobs have the same host name, {names[0]!r}")
