"""
Machines that leak: what the probes of `limits` would find on them.

The fake engine runs nothing, so what a probe would print is computed here, from the job's limits. A `Machine`
enforces them and isolates its jobs; a mutant leaves one thing out.

Runs in: tests.
"""

import re
from typing import Any

from broken_server import Broken
from broken_stops import PrintsOn

from joblet.testing.programs import Prints, Program, Sleeps, oom, prints
from joblet.testing.shell import program_of
from joblet_conformance.cases import isolation, limits, processes

_GROW = re.compile(re.escape(limits.grower(0)).replace(re.escape("grow 0;"), r"grow\ (\d+);"))
_STAT = "7 (sh) R 1 1 1 0 -1 4194304 0 0 0 0 {} 0 0 0 20 0 1 0 1 1 1"
_LISTENER = "   0: 00000000:C383 00000000:0000 0A"
_MOUNT = "{} 1 8:1 / / rw - ext4 /dev/vda1 rw"


class Machine(Broken, caught_by=""):
    """
    A machine as it should be.

    Attributes:
        processes: How many a job sees that has started none.
        first: Number of a job's first process.
        itself: What that finds as /proc/self.
        signalled: To how many processes it can send a signal.
        renames: How many jobs further on it has the name from, after a moment.
        own_mounts, own_files, own_segments, own_hostname: Whether each job has its own.
        own_network: And whether it has its own where it should have the machine's.
        has_input: Whether a job that reads its standard input waits for somebody.
        tells_all: Whether each process of a job is sent SIGTERM.
        shared: The kinds of namespaces that all jobs have in common.
    """

    processes = 2
    first = 2
    itself = 2
    signalled = 2
    renames = 0
    own_mounts = True
    own_files = True
    own_segments = True
    own_hostname = True
    own_network = False
    has_input = False
    tells_all = True
    shared: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._jobs = 0

    def fits(self, used_mib: int, limit_mib: int) -> bool:
        """Whether a job that uses so much in one process lives on."""
        return used_mib <= limit_mib

    def fit(self, each_mib: int, processes: int, limit_mib: int) -> bool:
        """Whether one lives on whose processes each use so much."""
        return each_mib * processes <= limit_mib

    def killed(self) -> Program:
        """How a job ends that does not."""
        return oom()

    def share(self, percent: int) -> float:
        """What a job gets of the CPU, in cores."""
        return percent / 100

    def writing_s(self, mib: int, mib_a_s: int) -> float:
        """How long it writes."""
        return mib / mib_a_s

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            self._jobs += 1
            request.command = self.joblet.engine.install(self._program(request))
        return request

    def _program(self, request: Any) -> Program:
        if not request.args:
            return Program().then_runs_forever() if self.has_input else Program()
        if tuple(request.args) == processes.LISTENERS:
            head = "  sl  local_address rem_address   st"
            return _lines(head, head) if self.own_network else _lines(head, _LISTENER, head)
        if request.args[0] != "-c":
            return _lines(self._file(request.args[0]))
        script = request.args[1]
        memory_mib = request.maxMemory or 512
        if found := _GROW.fullmatch(script):
            lives = self.fits(2 * 16 * 2 ** int(found[1]) // limits.MIB, memory_mib)
            return prints(limits.SURVIVED) if lives else self.killed()
        match script:
            case limits.NEST:
                lives = self.fit(8, int(request.args[2]), memory_mib)
                return prints(limits.SURVIVED) if lives else self.killed()
            case limits.SPIN:
                each = round(self.share(request.maxCPU or 100) * limits.SPIN_S * 100 / 2)
                one, other = _STAT.format(0), _STAT.format(each)
                return _lines("100.00", one, one, f"{100 + limits.SPIN_S}.00", other, other)
            case limits.WRITE:
                took_s = self.writing_s(int(request.args[2]), request.maxIOBPS // limits.MIB)
                return _lines(f"100.00 {100 + took_s:.2f}")
            case processes.PARENT:
                says = processes.SAYS if self.tells_all else processes.SAYS.replace("echo the child", ": the child")
                return program_of("sh", ["-c", says], {})
            case processes.ORPHAN:
                return program_of("sh", ["-c", processes.STUBBORN], {})
            case isolation.CROWD:
                return _stays()
            case isolation.PROBE:
                return _lines(str(self.signalled))
            case isolation.LOOK:
                return _lines(f"{self.first} {self.itself} {self.processes}")
            case isolation.NUMBER:
                return _lines(str(self.first))
            case isolation.MOUNTS:
                return _stays(_MOUNT.format(self._jobs if self.own_mounts else 21))
            case isolation.SPACES:
                numbers = {kind: 1 if kind in self.shared else self._jobs + 1 for kind in isolation.KINDS}
                return _stays(*(f"{kind}\npos:\t0\nino:\t{numbers[kind]}" for kind in isolation.KINDS))
            case isolation.NAMES:
                name = f"job-{self._jobs + self.renames}\n".encode()
                return _lines(f"job-{self._jobs}").then_runs_forever(Sleeps(0.05), Prints(name))
            case isolation.LEAVE:
                return _stays(".", "/tmp")
            case isolation.SEEK:
                return _lines() if self.own_files else _lines("/tmp")
            case _:
                return Program().then_exits(int(script.removeprefix("exit ")))

    def _file(self, name: str) -> str:
        if name == isolation.HOSTNAME:
            return f"job-{self._jobs}" if self.own_hostname else "machine"
        segments = "" if self.own_segments else "\n0 0 666 4096 1 0 0 0 0 0 0 0 0 0 4096 0"
        return f"key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap{segments}"


def _lines(*lines: str) -> Program:
    return prints("".join(f"{line}\n" for line in lines).encode())


def _stays(*lines: str) -> Program:
    return _lines(*lines, "ready").then_runs_forever()


class NoMemoryLimit(Machine, caught_by="limits.memory"):
    """A job has all the memory there is."""

    def fits(self, used_mib: int, limit_mib: int) -> bool:
        return True


class KilledIsCompleted(Machine, caught_by="limits.memory"):
    """A job that is killed for its memory is COMPLETED."""

    def killed(self) -> Program:
        return prints(b"killed\n")


class TakesTheRestToo(Machine, caught_by="limits.memory-below"):
    """A job has a tenth of the memory that it was promised."""

    def fits(self, used_mib: int, limit_mib: int) -> bool:
        return used_mib <= limit_mib // 10


class NoMoreThanOthers(Machine, caught_by="limits.memory-each"):
    """Whatever a job may have, it gets no more than 64 MB."""

    def fits(self, used_mib: int, limit_mib: int) -> bool:
        return used_mib <= min(limit_mib, 64)


class LimitsEachProcess(Machine, caught_by="limits.memory-together"):
    """Each process may have what its job may have, as with setrlimit."""

    def fit(self, each_mib: int, processes: int, limit_mib: int) -> bool:
        return each_mib <= limit_mib


class NoDefaultForMemory(Machine, caught_by="limits.memory-default"):
    """A job that does not say how much memory it may have has no limit."""

    def fits(self, used_mib: int, limit_mib: int) -> bool:
        return limit_mib == 512 or used_mib <= limit_mib


class KillsInSilence(Machine, caught_by="limits.memory-reason"):
    """Nobody is told why a job was killed."""

    def killed(self) -> Program:
        return Program().then_exits(137)


class NoLimitOfCpu(Machine, caught_by="limits.cpu-20"):
    """A job has all the cores there are."""

    def share(self, percent: int) -> float:
        return 2.0


class CpuOfEachProcess(Machine, caught_by="limits.cpu-50"):
    """Each process may have what its job may have."""

    def share(self, percent: int) -> float:
        return 2 * percent / 100


class AnyNumberOfCores(Machine, caught_by="limits.cpu-100"):
    """From 100 % on there is no limit."""

    def share(self, percent: int) -> float:
        return 2.0 if percent >= 100 else percent / 100


class NoDefaultForCpu(AnyNumberOfCores, caught_by="limits.cpu-default"):
    """A job that does not say how much CPU it may have has all cores."""


class GivesATenth(Machine, caught_by="limits.cpu-given"):
    """A job gets a tenth of what it may have."""

    def share(self, percent: int) -> float:
        return percent / 1000


class WritesAtOnce(Machine, caught_by="limits.io-write"):
    """A job writes as fast as the disk can."""

    def writing_s(self, mib: int, mib_a_s: int) -> float:
        return mib / 500


class ShowsAllProcesses(Machine, caught_by="isolation.processes"):
    """A job sees every process of the machine."""

    processes = 150


class ForeignProc(Machine, caught_by="isolation.processes"):
    """The /proc of a job is that of another PID namespace."""

    itself = 4711


class CountsOn(Machine, caught_by="isolation.numbers"):
    """The machine's numbers are a job's too."""

    first = 4711
    itself = 4711


class SameUser(Machine, caught_by="isolation.signals"):
    """All jobs run as one user, who may send signals to all of them."""

    signalled = 22


class OneMountNamespace(Machine, caught_by="isolation.mounts"):
    """All jobs have the machine's mounts."""

    own_mounts = False


class UnsharesAllButIpc(Machine, caught_by="isolation.namespaces"):
    """All jobs have the machine's IPC namespace, in which there happens to be nothing."""

    shared = ("ipc",)


class SharedTmp(Machine, caught_by="isolation.files"):
    """All jobs have the same /tmp."""

    own_files = False


class OneIpcNamespace(Machine, caught_by="isolation.segments"):
    """A job sees the machine's shared memory."""

    own_segments = False


class OneUtsNamespace(Machine, caught_by="isolation.hostname-stays"):
    """Each new job gives its name to the machine, and so to all others."""

    renames = 1


class OneHostname(Machine, caught_by="isolation.hostname"):
    """A job has the machine's host name."""

    own_hostname = False


class OwnNetwork(Machine, caught_by="process.network"):
    """Each job has a network of its own, where nobody listens."""

    own_network = True


class WaitsForInput(Machine, caught_by="process.input"):
    """A job's standard input is a terminal where nobody types."""

    has_input = True


class TellsTheFirstOnly(Machine, caught_by="process.group-sigterm"):
    """SIGTERM goes to a job's first process."""

    tells_all = False


class KillsTheFirstOnly(PrintsOn, Machine, caught_by="process.group-sigkill"):
    """What a job's first process has started goes on after the stop."""
