"""
The supervisor: owns every job of one state folder, whether or not a server listens.

Runs in: supervisor. May not: block, fork, import outside the standard library.
Source: `engine/protocol.py` for what it says and hears.
"""

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from joblet.engine.protocol import (
    VERSION,
    Attach,
    Down,
    Forget,
    Hello,
    JobEnd,
    LogMetrics,
    LogSize,
    LogStat,
    Message,
    Refused,
    Started,
    StartJob,
    StopJob,
    UnwatchLog,
    Warn,
    WatchLog,
)
from joblet.logs.system import AsyncLogSystem
from joblet.logs.writer import Finish, Log
from joblet.statefolder import StateFolder, is_plain_name
from joblet.supervisor.connection import Connection
from joblet.supervisor.drain import Drain
from joblet.supervisor.job import SupervisedJob
from joblet.supervisor.launcher import Launched, LaunchFailed, Zygote, ZygoteDied
from joblet.supervisor.linux.cgroups.tree import CgroupError, Cgroups
from joblet.supervisor.loop import Loop
from joblet.supervisor.preparation import prepare
from joblet.supervisor.watchers import Watchers

log = logging.getLogger("joblet.supervisor")

MAX_JOBS: Final = 65_536
FIRST_SERVER_WAIT_S: Final = 30.0
LEVELS: Final[Mapping[str, int]] = {"INFO": logging.INFO, "WARN": logging.WARNING}


@dataclass(frozen=True, slots=True)
class Settings:
    """
    What the supervisor is told when it starts.

    Args:
        stay: Do not end when no server is connected and no job is left (a service of its own).
        pids_max: Processes and threads a job may have.
    """

    stay: bool = False
    cleanup_timeout_s: float = 5.0
    pids_max: int = 4096


@dataclass(frozen=True, slots=True)
class Broken:
    """Why no job can be started here; `kind` and `words` are those of Refused."""

    kind: str
    words: str


class RestartNeeded(Exception):
    """The zygote died: the supervisor must start over in place; its jobs run on meanwhile."""


class Supervisor:
    """
    Everything one state folder's jobs need.

    Args:
        zygote: None when `broken` says why jobs cannot be isolated at all (no privilege).
        cgroups: None when limits are not enforced; `limits_enforced` then says why.
    """

    def __init__(
        self,
        loop: Loop,
        folder: StateFolder,
        zygote: Zygote | None,
        logs: AsyncLogSystem,
        cgroups: Cgroups | None,
        limits_enforced: str,
        broken: Broken | None,
        settings: Settings,
    ) -> None:
        self.loop = loop
        self.folder = folder
        self._zygote = zygote
        self.logs = logs
        self.cleanup_timeout_s = settings.cleanup_timeout_s
        self._cgroups = cgroups
        self._limits_enforced = limits_enforced
        self._broken = broken
        self._settings = settings
        self._jobs: dict[str, SupervisedJob] = {}
        self._spools: dict[Log, SupervisedJob] = {}
        self._starters: dict[str, Connection] = {}
        self._ends: dict[str, JobEnd] = {}
        self._connections: set[Connection] = set()
        self._to_attach: list[Connection] = []
        self._watchers = Watchers()
        self._free_slots = list(range(MAX_JOBS - 1, -1, -1))
        self._held: set[Drain] = set()
        self._going_down = False
        # Whoever started us is about to connect: what a predecessor left may all end before that.
        self._expects_server = True
        loop.watch(logs.event_fd, self._disk_progress)
        if zygote is not None:
            loop.watch(zygote.fd, lambda _events: self._launcher_tells(zygote))

    # Servers

    def listen(self, listener: socket.socket) -> None:
        """Serve whoever connects."""
        listener.setblocking(False)
        self.loop.watch(listener.fileno(), lambda _events: self._accept(listener))
        self.loop.after(FIRST_SERVER_WAIT_S, self._waited_for_server)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:  # gone before we looked, or no descriptor left: it will try again
            return
        self._expects_server = False
        self._connections.add(Connection(self.loop, sock, self._received, self._disconnected))

    def _waited_for_server(self) -> None:
        self._expects_server = False
        self._end_if_idle()

    def _disconnected(self, connection: Connection, why: str) -> None:
        log.info("connection ended", {"why": why})
        self._connections.discard(connection)
        self._watchers.forget_connection(connection)
        if connection in self._to_attach:
            self._to_attach.remove(connection)
        self._starters = {job_id: who for job_id, who in self._starters.items() if who is not connection}
        self._end_if_idle()

    def _received(self, connection: Connection, message: Message) -> None:
        if isinstance(message, LogStat):
            connection.send(LogMetrics(self.logs.stat()))
            return
        if not connection.greeted and not isinstance(message, Hello):
            connection.close("the first message was not Hello")
            return
        match message:
            case Hello():
                self._greet(connection, message)
            case StartJob():
                self._start(connection, message)
            case StopJob(job_id=job_id, reason=reason):
                if job := self._jobs.get(job_id):
                    job.stop(reason)
            case WatchLog(job_id=job_id):
                self._watch(connection, job_id)
            case UnwatchLog(job_id=job_id):
                self._watchers.remove(connection, job_id)
            case Forget(job_ids=job_ids):
                for job_id in job_ids:
                    if self._ends.pop(job_id, None) is not None:
                        self.logs.writer.remove(self.folder.status(job_id))
            case Down():
                self.go_down()
            case _:
                connection.close(f"a supervisor is not told {type(message).__name__}")

    def _greet(self, connection: Connection, hello: Hello) -> None:
        if hello.version != VERSION:
            connection.send(Attach(VERSION, {}, [], ""))  # so that it knows what to say
            connection.close(f"protocol version {hello.version} is not {VERSION}")
            return
        for other in [each for each in self._connections if each.greeted]:
            other.catch_up()  # the last words of a server that was killed come before its successor's first
        self._to_attach.append(connection)
        self._attach_servers()

    def _attach_servers(self) -> None:
        """
        Tell new servers what runs, once that can be told.

        A job whose starter is gone while it is being set up will run or not: a server that hears of neither takes
        it for one that never ran, and what was told so must stay true.
        """
        if any(job.setting_up and job.job_id not in self._starters for job in self._jobs.values()):
            return
        while self._to_attach:
            self._attach(self._to_attach.pop())

    def _attach(self, connection: Connection) -> None:
        connection.greeted = True
        started = [job for job in self._jobs.values() if job.started_ns]
        running = {job.job_id: [job.started_ns, job.pid] for job in started if not job.concluding}
        # A concluding job's end follows by itself, to this connection too.
        ended = [*self._ends, *(job.job_id for job in started if job.concluding)]
        connection.send(Attach(VERSION, running, ended, self._limits_enforced))
        for end in self._ends.values():
            connection.send(end)

    def _broadcast(self, message: Message) -> None:
        for connection in [each for each in self._connections if each.greeted]:
            connection.send(message)

    # Starting

    def _start(self, connection: Connection, wanted: StartJob) -> None:
        refusal = self._refusal(wanted.job_id)
        if refusal is not None:
            connection.send(Refused(wanted.job_id, refusal.kind, refusal.words))
            return
        try:
            job, request = prepare(self, wanted, self._free_slots[-1], self._cgroups, nproc_max=self._settings.pids_max)
        except CgroupError as error:
            self.warn("ERROR", "cgroup setup failed", jobId=wanted.job_id, why=error.explanation)
            connection.send(Refused(wanted.job_id, "cgroup", str(error)))
            return
        except OSError as error:
            connection.send(Refused(wanted.job_id, "isolation", (error.strerror or str(error)).lower()))
            return
        self._free_slots.pop()
        self._add(job)
        self._starters[job.job_id] = connection
        assert self._zygote is not None  # else every start is refused
        try:
            self._zygote.launch(request)
        except OSError as error:
            job.launch_failed((error.strerror or str(error)).lower())

    def _refusal(self, job_id: str) -> Broken | None:
        if self._going_down:
            return Broken("busy", "the server is going down")
        if self._broken is not None:
            return self._broken
        if not is_plain_name(job_id):
            return Broken("isolation", f"not a job id: {job_id!r}")
        if job_id in self._jobs or job_id in self._ends:
            return Broken("busy", f"job {job_id} exists")
        if not self._free_slots:
            return Broken("busy", f"{MAX_JOBS} jobs are already running")
        return None

    def _add(self, job: SupervisedJob) -> None:
        self._jobs[job.job_id] = job
        self._spools[job.spool] = job
        self.logs.add(job.spool)

    def _launcher_tells(self, zygote: Zygote) -> None:
        try:
            replies = zygote.replies()
        except ZygoteDied as error:
            raise RestartNeeded(str(error)) from None
        for reply in replies:
            match reply:
                case Launched(job_id=job_id, pid=pid, pidfd=pidfd):
                    self._jobs[job_id].launched(pid, pidfd)
                case LaunchFailed(job_id=job_id, words=words):
                    self._jobs[job_id].launch_failed(words)

    # Jobs tell (see `job.Owner`)

    def job_started(self, job: SupervisedJob) -> None:
        """Tell whoever asked for it."""
        if starter := self._starters.pop(job.job_id, None):
            starter.send(Started(job.job_id, job.started_ns, job.pid))
        self._attach_servers()

    def job_refused(self, job: SupervisedJob, words: str) -> None:
        """Tell whoever asked for it; nothing is kept."""
        self._drop(job)
        self.logs.writer.remove(self.folder.status(job.job_id))
        if starter := self._starters.pop(job.job_id, None):
            starter.send(Refused(job.job_id, "isolation", words))
        self._attach_servers()
        self._end_if_idle()

    def job_ended(self, job: SupervisedJob, end: JobEnd) -> None:
        """Tell every server, and keep it until one has stored it."""
        self._drop(job)
        self._watchers.forget_job(job.job_id)
        self._ends[job.job_id] = end
        self._broadcast(end)
        self._end_if_idle()

    def held(self, drain: Drain) -> None:
        """There is no memory for a job's output now."""
        self._held.add(drain)

    def remove_tree(self, path: Path, done: Callable[[], None]) -> None:
        """In a process of its own; left where none can be made (a predecessor's job, and no privilege any more)."""
        if self._zygote is None:
            done()
        else:
            self._zygote.remove_tree(path, done)

    def warn(self, level: str, message: str, **fields: str) -> None:
        """A line for the log of every server that listens."""
        self._broadcast(Warn(level, message, fields))

    def _drop(self, job: SupervisedJob) -> None:
        self._jobs.pop(job.job_id, None)
        self._spools.pop(job.spool, None)
        self.logs.discard(job.spool)
        self._held = {drain for drain in self._held if drain.spool is not job.spool}
        self._free_slots.append(job.record.slot)

    # Logs

    def _disk_progress(self, _events: int) -> None:
        for what in self.logs.progress():
            spool = what.spool if isinstance(what, Finish) else what
            job = self._spools.get(spool)
            if job is None:
                continue
            self._watchers.tell(job.job_id, spool.stored_bytes)
            if isinstance(what, Finish):
                job.finishing(what)
        for notice in self.logs.notices():
            # An empty mapping would be taken for an argument of the message (logging.LogRecord).
            log.log(LEVELS[notice.level], notice.message, *([notice.fields] if notice.fields else []))
            self.warn(notice.level, notice.message, **notice.fields)
        for drain in [each for each in self._held if self.logs.may_resume(each.spool)]:
            self._held.discard(drain)
            drain.resume()

    def _watch(self, connection: Connection, job_id: str) -> None:
        if job := self._jobs.get(job_id):
            self._watchers.add(connection, job_id)
            connection.send(LogSize(job_id, job.spool.stored_bytes))

    # Life of the supervisor itself

    def adopt(self, jobs: Sequence[SupervisedJob]) -> None:
        """A predecessor's jobs, found by `recovery.py`."""
        taken = {job.record.slot for job in jobs}
        self._free_slots = [slot for slot in self._free_slots if slot not in taken]
        for job in jobs:
            self._add(job)

    def go_down(self) -> None:
        """Stop every job, then end."""
        self._going_down = True
        for job in list(self._jobs.values()):
            job.stop("the server was taken down")
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._jobs:
            return
        if self._going_down or not (self._connections or self._expects_server or self._settings.stay):
            self.loop.stop()
