"""
The engine of a real server: a client of the supervisor, which runs as a process of its own.

Whoever needs the engine starts a supervisor when none answers; when the connection is lost the
engine says so, starts the next one, and attaches again. The jobs notice nothing.

Runs in: server loop. May not: block the loop (starting a process happens in a thread).
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import joblet.supervisor
from joblet.domain.errors import CgroupSetupFailed, EngineUnavailable, IsolationFailed, JobletError, NotLinux
from joblet.domain.job import Ended, Job, JobId, JobState, Running, Usage
from joblet.engine.protocol import (
    VERSION,
    Attach,
    Forget,
    Frames,
    Hello,
    JobEnd,
    LogSize,
    Message,
    ProtocolError,
    Refused,
    Started,
    StartJob,
    StopJob,
    UnwatchLog,
    Warn,
    WatchLog,
    encode,
)
from joblet.logs.options import arguments as log_arguments
from joblet.logs.system import LogSettings
from joblet.ports import Attached, Detached, EngineEvent, JobEnded, LogGrew, Notice
from joblet.statefolder import StateFolder

_ATTACH_WAIT_S: Final = 10.0
_FIRST_RETRY_S: Final = 0.05
_LAST_RETRY_S: Final = 5.0
_STEADY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """
    How a supervisor is started; one that already runs keeps its own.

    Args:
        cgroups: "required", "auto" or "off" (docs/administrators.md, "Limits and cgroups").
        slice_path: The cgroup folder that jobs go under.
        start: False when the service manager starts it: then one that does not answer is waited for.
    """

    cgroups: str = "auto"
    slice_path: Path = Path("/sys/fs/cgroup/joblet.slice")
    cleanup_timeout_s: float = 5.0
    pids_max: int = 4096
    logs: LogSettings = field(default_factory=LogSettings)
    start: bool = True


class SupervisorFailed(Exception):
    """The supervisor could not be started; the words are its own."""


def start_supervisor(folder: StateFolder, options: SupervisorOptions) -> int:
    """
    Start a supervisor that outlives this process. Blocks until it listens.

    Returns:
        Its process id: a child of ours, to be waited for should it end before us.

    Raises:
        SupervisorFailed: It ended, in its own words. When another one runs, that is not a failure.
    """
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    try:
        command = [
            sys.executable,
            "-I",
            "-S",
            str(Path(joblet.supervisor.__file__).parent / "__main__.py"),
            "--state",
            str(folder.root),
            "--cgroups",
            options.cgroups,
            "--slice",
            str(options.slice_path),
            "--cleanup-timeout",
            str(options.cleanup_timeout_s),
            "--pids-max",
            str(options.pids_max),
            *log_arguments(options.logs),
            "--ready-fd",
            str(ready_write),
        ]
        log_fd = os.open(folder.supervisor_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                cwd="/",
                # It is not what the service manager started: its "ready" would be taken for ours.
                env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
                start_new_session=True,
                pass_fds=(ready_write,),
            )
        finally:
            os.close(log_fd)
    except OSError as error:
        os.close(ready_read)
        raise SupervisorFailed(f"cannot start the supervisor: {error}") from None
    finally:
        os.close(ready_write)
    with os.fdopen(ready_read, "rb") as ready:
        answer = ready.read().decode(errors="replace").strip()
    if answer == "ready":
        # It outlives us; not waiting for it must not count as a leak (Popen warns when it is collected).
        process.returncode = 0
        return process.pid
    process.wait()
    raise SupervisorFailed(
        answer or f"the supervisor ended with status {process.returncode}: see {folder.supervisor_log}"
    )


class SupervisedEngine:
    """
    `ports.Engine` on real processes.

    Args:
        folder: The server's state folder.
    """

    def __init__(self, folder: StateFolder, options: SupervisorOptions) -> None:
        self._folder = folder
        self._options = options
        self._events: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
        self._starting: dict[JobId, asyncio.Future[Running]] = {}
        self._greeting: _Link | None = None
        self._link: _Link | None = None  # only once it has attached: until then it may be another version's
        self._told = ""
        self._attached = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._children: set[int] = set()
        self._why = "the supervisor has not answered yet"

    async def start(self, job: Job) -> Running:
        """See `ports.Engine.start`."""
        if not sys.platform.startswith("linux"):
            raise NotLinux(sys.platform)
        link = await self._wait_attached()
        future: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        self._starting[job.id] = future
        spec = job.spec
        link.send(
            StartJob(
                job_id=job.id,
                argv=[spec.command, *spec.args],
                environment={**spec.environment, **spec.secret_environment},
                work_dir=spec.work_dir,
                timeout_s=spec.timeout_s,
                cpu_max_percent=spec.limits.cpu_max_percent,
                cpu_cores=spec.limits.cpu_cores,
                memory_max_bytes=spec.limits.memory_max_bytes,
                io_max_bytes_per_s=spec.limits.io_max_bytes_per_s,
            )
        )
        try:
            return await future
        finally:
            self._starting.pop(job.id, None)

    async def stop(self, job_id: JobId, reason: str = "") -> None:
        """See `ports.Engine.stop`."""
        link = await self._wait_attached()
        link.send(StopJob(job_id, reason))

    async def forget(self, job_ids: Sequence[JobId]) -> None:
        """See `ports.Engine.forget`. With no supervisor it may wait: the next one tells the ends again."""
        if self._link is not None:
            self._link.send(Forget(list(job_ids)))

    def watch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.watch_log`."""
        if self._link is not None:
            self._link.send(WatchLog(job_id))

    def unwatch_log(self, job_id: JobId) -> None:
        """See `ports.Engine.unwatch_log`."""
        if self._link is not None:
            self._link.send(UnwatchLog(job_id))

    async def events(self) -> AsyncIterator[EngineEvent]:
        """See `ports.Engine.events`."""
        self._keeper = asyncio.create_task(self._keep_attached(), name="supervisor connection")
        # Should it ever fail, whoever waits for events must learn of it.
        self._keeper.add_done_callback(lambda _keeper: self._events.put_nowait(None))
        while (event := await self._events.get()) is not None:
            yield event
        if not self._keeper.cancelled():
            self._keeper.result()

    async def close(self) -> None:
        """See `ports.Engine.close`."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        for link in (self._greeting, self._link):
            if link is not None:
                link.close()
        self._greeting = self._link = None
        for pidfd in list(self._children):
            self._wait_no_more(pidfd)
        self._fail_starting("the server is shutting down")

    async def _wait_attached(self) -> "_Link":
        if self._link is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._attached.wait(), _ATTACH_WAIT_S)
        if self._link is None:
            raise EngineUnavailable(self._why)
        return self._link

    async def _keep_attached(self) -> None:
        failures = 0
        while True:
            began_s = time.monotonic()
            try:
                lost = await self._attach()
                self._why = await lost
            except (OSError, SupervisorFailed) as error:
                self._why = f"the supervisor cannot be started: {error}"
            # One that was killed is followed at once; one that never attaches is asked less and less often.
            failures = 0 if time.monotonic() - began_s > _STEADY_S else failures + 1
            if self._link is not None:
                failures = min(failures, 2)
            self._greeting = self._link = None
            self._attached.clear()
            self._fail_starting(self._why)
            if self._why != self._told:
                self._events.put_nowait(Detached(self._why))
                self._told = self._why
            await asyncio.sleep(min(_FIRST_RETRY_S * 2**failures, _LAST_RETRY_S) if failures > 1 else 0)

    async def _attach(self) -> "asyncio.Future[str]":
        loop = asyncio.get_running_loop()
        folder_fd = os.open(self._folder.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            address = self._folder.socket_address(folder_fd)
            try:
                _, link = await loop.create_unix_connection(lambda: _Link(self._received), address)
            except (FileNotFoundError, ConnectionRefusedError):
                if not self._options.start:
                    raise SupervisorFailed(
                        f"none answers at {self._folder.socket}, and it is the service manager's to start"
                        " (isolation.supervisor: service)"
                    ) from None
                self._wait_for(await asyncio.to_thread(start_supervisor, self._folder, self._options))
                _, link = await loop.create_unix_connection(lambda: _Link(self._received), address)
        finally:
            os.close(folder_fd)
        self._greeting = link
        link.send(Hello())
        return link.lost

    def _wait_for(self, pid: int) -> None:
        """A supervisor that was killed must not stay behind as a zombie for as long as this server lives."""
        pidfd = os.pidfd_open(pid)
        self._children.add(pidfd)

        def ended() -> None:
            os.waitpid(pid, 0)
            self._wait_no_more(pidfd)

        asyncio.get_running_loop().add_reader(pidfd, ended)

    def _wait_no_more(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self._children.discard(pidfd)
        os.close(pidfd)

    def _fail_starting(self, why: str) -> None:
        for future in self._starting.values():
            if not future.done():
                future.set_exception(EngineUnavailable(why))

    def _received(self, message: Message) -> None:
        match message:
            case Attach():
                self._greeted(message)
            case Started(job_id=job_id, started_ns=started_ns, pid=pid):
                future = self._starting.get(JobId(job_id))
                if future is not None and not future.done():
                    future.set_result(Running(started_ns, pid))
            case Refused():
                future = self._starting.get(JobId(message.job_id))
                if future is not None and not future.done():
                    future.set_exception(_refusal(message))
            case JobEnd():
                self._events.put_nowait(JobEnded(JobId(message.job_id), _ended(message)))
            case LogSize(job_id=job_id, size_bytes=size_bytes):
                self._events.put_nowait(LogGrew(JobId(job_id), size_bytes))
            case Warn(level=level, message=words, fields=fields):
                self._events.put_nowait(Notice(level, words, fields))
            case _:
                raise ProtocolError(f"a server is not told {type(message).__name__}")

    def _greeted(self, attach: Attach) -> None:
        if attach.version != VERSION:
            raise ProtocolError(f"protocol version {attach.version} is not {VERSION}: restart the supervisor")
        running = {JobId(job_id): Running(start, pid) for job_id, (start, pid) in attach.running.items()}
        ended = frozenset(JobId(job_id) for job_id in attach.ended)
        self._events.put_nowait(Attached(running, ended, attach.limits_enforced))
        self._link, self._greeting = self._greeting, None
        self._told = ""
        self._attached.set()


class _Link(asyncio.Protocol):
    """The connection: frames in, frames out. `lost` gets the reason when it is gone."""

    def __init__(self, received: Callable[[Message], None]) -> None:
        self._received = received
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._received(message)
        except ProtocolError as error:
            self._lose(str(error))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(f"the supervisor is gone{f': {exc}' if exc else ''}")

    def send(self, message: Message) -> None:
        assert self._transport is not None
        self._transport.write(encode(message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _lose(self, why: str) -> None:
        if not self.lost.done():
            self.lost.set_result(why)


def _refusal(refused: Refused) -> JobletError:
    match refused.kind:
        case "cgroup":
            return CgroupSetupFailed(refused.message)
        case _:
            # Also "busy": EngineUnavailable would mean that the job may run.
            return IsolationFailed(refused.message)


def _ended(end: JobEnd) -> Ended:
    if end.state not in JobState.__members__:
        raise ProtocolError(f"JobEnd.state is not one of ours: {end.state!r}")
    return Ended(
        state=JobState(end.state),
        exit_code=end.exit_code,
        started_ns=end.started_ns,
        ended_ns=end.ended_ns,
        reason=end.reason,
        signal=end.signal,
        oom_killed=end.oom_killed,
        log_bytes=end.log_bytes,
        usage=Usage(end.cpu_usec, end.memory_peak_bytes, end.io_read_bytes, end.io_write_bytes),
    )
