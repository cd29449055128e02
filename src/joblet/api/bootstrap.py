"""
`joblet serve`: puts store, engine, services and gRPC together, and takes them apart again.

    read certificates ─► lock the state folder ─► open the store ─► attach to the engine ─► listen
    SIGTERM: take no more calls ─► finish unary calls, end streams ─► let go of engine, store, folder; jobs run on

Runs in: server loop. May not: import grpc, or what imports it, before `tls.allow_only_tls_1_3` has run.
Source: docs/contributors.md, "The processes" and "After a crash".
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Literal

from joblet import servicemanager
from joblet.allocator import keep_freed_memory
from joblet.api import handshakes, tls
from joblet.complaint import Complaint, why
from joblet.config import Config, without_effect
from joblet.domain.limits import Machine
from joblet.domain.retention import Rules
from joblet.engine.supervised import SupervisedEngine, SupervisorOptions
from joblet.logs.files import FileLogKeeper, LogFiles
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.reader import FileLogStore
from joblet.logs.system import LogSettings
from joblet.logs.writer import Fsync
from joblet.ports import Engine
from joblet.serverlog import FromLibraries, Level, ServerLog, Stderr
from joblet.services.jobs import Jobs
from joblet.services.logs import CHUNK_BYTES, Logs
from joblet.services.request import JobDefaults
from joblet.services.retention import Retention
from joblet.services.workflow_runs import WorkflowRuns
from joblet.services.workflows import Workflows
from joblet.statefolder import StateFolder
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.storage.secrets import secrets_in
from joblet.storage.workflows import WorkflowStoreAdapter

EngineFactory = Callable[[StateFolder, Config], Engine]

# Longer than a supervisor takes to start (0.2 s) and to take 10,000 jobs back.
ATTACH_TIMEOUT_S: Final = 30.0


def supervised(folder: StateFolder, config: Config) -> Engine:
    """The engine of a real server."""
    return SupervisedEngine(
        folder,
        SupervisorOptions(
            cgroups=config.isolation.cgroups,
            cleanup_timeout_s=config.joblet.cleanup_timeout_s,
            pids_max=config.joblet.pids_max,
            logs=_log_settings(config, folder),
            start=config.isolation.supervisor == "own",
        ),
    )


async def serve(
    config: Config, address: str, certs_dir: Path, state_dir: Path, engine_factory: EngineFactory = supervised
) -> None:
    """
    Serve until SIGTERM or SIGINT. Takes over this process: its signals, its standard error, its logging.

    Args:
        address: HOST:PORT; port 0 lets the kernel choose, and the state folder's `address` file tells.
        certs_dir: Needs ca-cert.pem, server-cert.pem and server-key.pem only.

    Raises:
        Complaint, CannotOpenDatabase: The server cannot start; nothing is left running but the jobs that ran before.
    """
    folder = _folder(state_dir)
    certificates = tls.read(certs_dir)  # first: it touches nothing, and is what a first start fails at
    async with contextlib.AsyncExitStack() as closing:
        mode_before = closing.enter_context(_locked(folder))
        keep_freed_memory()
        tls.allow_only_tls_1_3(certificates)
        log = closing.enter_context(_process_log(config))
        ending = _end_asked_for(log)
        if mode_before & 0o077:
            now = stat.S_IMODE(folder.root.stat().st_mode)
            log.warn("state folder was open to others", folder=folder.root, mode=f"{mode_before:04o}", now=f"{now:04o}")
        for key in without_effect(config):
            log.warn("key without effect: the unit that starts the supervisor decides", key=key, file=config.source)

        # Taken apart in the opposite order, and whatever fails, the rest is still taken apart.
        store = open_job_store(JobStoreConfig(folder.database))
        closing.push_async_callback(store.close)
        engine = engine_factory(folder, config)
        machine = _machine()
        log_store = FileLogStore(folder)
        jobs = Jobs(
            engine,
            store,
            log_store,
            RealClock(),
            log,
            defaults=_defaults(config),
            machine=machine,
            new_id=_new_id,
        )
        # grpc is imported here and not sooner: it reads the environment once.
        from joblet.api.server import CHUNK_OVERHEAD_BYTES, Server, WireOptions

        chunk_bytes = min(CHUNK_BYTES, config.grpc.max_send_bytes - CHUNK_OVERHEAD_BYTES)
        logs = Logs(jobs, engine, log_store, log, chunk_bytes=chunk_bytes)
        options = WireOptions(
            max_receive_bytes=config.grpc.max_receive_bytes,
            max_send_bytes=config.grpc.max_send_bytes,
            keep_alive_s=config.grpc.keep_alive_s,
            stall_timeout_s=config.logs.slow_reader_timeout_s,
        )
        workflow_store = WorkflowStoreAdapter(store.database, secrets_in(folder.secrets_key))
        runs = WorkflowRuns(jobs, workflow_store, RealClock(), log, aside=asyncio.to_thread, new_id=_new_id)
        server = Server(jobs, logs, Workflows(runs, workflow_store, asyncio.to_thread, machine), options, log)
        jobs.listen(server.health)
        consumer = asyncio.create_task(jobs.consume(), name="engine events")
        closing.push_async_callback(_end, consumer)
        closing.push_async_callback(engine.close)
        closing.push_async_callback(jobs.close)
        closing.push_async_callback(runs.close)

        await _attached(jobs, consumer, ending)
        if ending.is_set():
            return
        await _resumed(runs, ending)
        if ending.is_set():
            return
        keeper = FileLogKeeper(LogFiles(folder))
        closing.callback(keeper.close)
        retention = Retention(jobs, logs, log_store, keeper, RealClock(), log, _rules(config))
        closing.push_async_callback(_end, asyncio.create_task(retention.run(), name="retention"))
        credentials = tls.server_credentials(certs_dir, certificates, log)
        port = await server.start(address, credentials)
        closing.push_async_callback(server.stop)
        listening = f"{address.rpartition(':')[0]}:{port}"
        closing.enter_context(_published(folder, listening, log))
        log.info("server listening", address=listening, state=folder.root, certs=certs_dir, pid=os.getpid())
        servicemanager.notify(servicemanager.READY)
        asked = asyncio.create_task(ending.wait())
        closing.push_async_callback(_end, asked)
        await asyncio.wait((consumer, asked), return_when=asyncio.FIRST_COMPLETED)
        servicemanager.notify(servicemanager.STOPPING)
        if not ending.is_set():
            raise RuntimeError("the engine's events ended") from consumer.exception()
        log.info("server shutting down: jobs keep running", state=folder.root)


def _log_settings(config: Config, folder: StateFolder) -> LogSettings:
    """The configuration in the log system's words."""
    logs = config.logs
    spill_dir = folder.spill if logs.spill_dir == "state" else Path(logs.spill_dir)
    policy = Policy(Overflow(logs.overflow), spill_dir, logs.sample_every)
    return LogSettings(logs.memory_limit_bytes, logs.queue_max, policy, Fsync(logs.fsync))


class RealClock:
    """`ports.Clock` of this machine."""

    def now_ns(self) -> int:
        """See `ports.Clock`."""
        return time.time_ns()


def _folder(state_dir: Path) -> StateFolder:
    """The folder by its whole name: it stands in the arguments of processes whose own folder is another."""
    return StateFolder(state_dir.absolute())


@contextlib.contextmanager
def _locked(folder: StateFolder) -> Iterator[int]:
    """
    Be the only server of this state folder. The kernel lets the lock go however this process ends.

    Yields:
        The permissions the folder had before.
    """
    try:
        mode_before = folder.create()
        fd = os.open(folder.server_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Complaint(
            f"cannot use the state folder {folder.root}: {why(error)}", "pass another one with --state"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Complaint(
            f"cannot serve the state folder {folder.root}: another server does (process {pid})",
            f"end it (kill {pid}), or pass another folder with --state",
        ) from None
    try:
        _put_number(fd, folder)
        yield mode_before
    finally:
        os.close(fd)


def _put_number(lock_fd: int, folder: StateFolder) -> None:
    """Which process has the lock: over what was there before, for which a full disk has room."""
    number = f"{os.getpid()}\n".encode()
    try:
        os.pwrite(lock_fd, number, 0)
        os.truncate(lock_fd, len(number))
    except OSError as error:
        raise Complaint(f"cannot write {folder.server_lock}: {why(error)}", "free some space on its disk") from None


@contextlib.contextmanager
def _process_log(config: Config) -> Iterator[ServerLog]:
    """Everything this process has to say, in the server log's format on standard error."""
    stderr = Stderr(handshakes.watch_core())
    log = ServerLog(Level[config.logs.level], stderr.write)
    handshakes.start(log)
    logging.getLogger().addHandler(FromLibraries(log))
    try:
        yield log
    finally:
        log.info("server ended")
        stderr.close()


def _end_asked_for(log: ServerLog) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the process on the spot."""
    ending = asyncio.Event()

    def asked(number: signal.Signals) -> None:
        if ending.is_set():
            log.warn("asked again to end: leaving at once, jobs keep running", signal=number.name)
            os._exit(128 + number)
        ending.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked, number)
    return ending


def _defaults(config: Config) -> JobDefaults:
    """The configuration in the services' words."""
    return JobDefaults(
        cpu_max_percent=config.joblet.default_cpu_percent,
        memory_max_bytes=config.joblet.default_memory_bytes,
        io_max_bytes_per_s=config.joblet.default_io_bytes_per_s,
        timeout_s=config.joblet.job_timeout_s,
        max_concurrent_jobs=config.joblet.max_concurrent_jobs,
    )


def _rules(config: Config) -> Rules:
    """The configuration in the words of retention."""
    logs = config.logs
    return Rules(
        max_bytes_per_job=logs.max_bytes_per_job,
        max_bytes=logs.max_bytes,
        max_age_s=logs.max_age_s,
        compress_after_s=logs.compress_after_s,
    )


def _new_id() -> str:
    return str(uuid.uuid4())


def _machine() -> Machine:
    """What there is here; cores are numbered to the last one the kernel may ever bring online."""
    return Machine(
        cores=os.sysconf("SC_NPROCESSORS_CONF"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )


async def _attached(jobs: Jobs, consumer: asyncio.Task[None], ending: asyncio.Event) -> None:
    """
    Wait for the engine, or for the wish to end.

    Raises:
        Complaint: It does not come; why it does not stands in the log.
    """
    attached, asked = asyncio.create_task(jobs.attached()), asyncio.create_task(ending.wait())
    done, _ = await asyncio.wait(
        (attached, asked, consumer), timeout=ATTACH_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
    )
    for task in (attached, asked):
        await _end(task)
    if consumer in done:
        raise RuntimeError("the engine's events ended") from consumer.exception()
    if not done:
        raise Complaint(
            f"cannot start: the supervisor has not answered for {ATTACH_TIMEOUT_S:g} s",
            "the lines above say why; `joblet doctor` examines this machine",
        )


async def _resumed(runs: WorkflowRuns, ending: asyncio.Event) -> None:
    """Let workflows go on, which takes long when there are many large ones; or less, should the end be asked for."""
    resuming, asked = asyncio.create_task(runs.resume()), asyncio.create_task(ending.wait())
    await asyncio.wait((resuming, asked), return_when=asyncio.FIRST_COMPLETED)
    await _end(asked)
    if ending.is_set():
        await _end(resuming)
    else:
        await resuming


async def _end(task: "asyncio.Task[None] | asyncio.Task[Literal[True]]") -> None:
    """Cancel it and wait for it; what it raises was seen before."""
    task.cancel()
    await asyncio.wait((task,))


@contextlib.contextmanager
def _published(folder: StateFolder, address: str, log: ServerLog) -> Iterator[None]:
    """Tell scripts where the server listens, for as long as it does. A full disk keeps nobody from being served."""
    folder.address.unlink(missing_ok=True)  # a killed server leaves it
    fresh = folder.address.with_name(".address")
    try:
        fresh.write_text(f"{address}\n")
        fresh.replace(folder.address)
    except OSError as error:
        log.warn("address not written", file=folder.address, why=why(error))
    try:
        yield
    finally:
        folder.address.unlink(missing_ok=True)
