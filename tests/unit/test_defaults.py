"""
Defaults that stand in code for tests and programs beside the configuration: all are those of `configkeys.KEYS`.

Each part of Joblet can be used without a configuration, so it has defaults of its own; here they cannot drift.
"""

from pathlib import Path

from joblet import config
from joblet.api.bootstrap import _log_settings
from joblet.api.server import WireOptions
from joblet.domain.retention import Rules
from joblet.engine.supervised import SupervisorOptions
from joblet.logs.options import arguments, log_settings
from joblet.logs.overflow import Overflow, Policy
from joblet.logs.system import LogSettings
from joblet.logs.writer import Fsync
from joblet.services.logs import STALL_TIMEOUT_S
from joblet.services.request import JobDefaults
from joblet.statefolder import StateFolder
from joblet.supervisor import __main__ as supervisor
from joblet.supervisor.supervisor import Settings

CONFIGURED = config.defaults()


def test_what_jobs_get() -> None:
    joblet = CONFIGURED.joblet

    assert JobDefaults() == JobDefaults(
        cpu_max_percent=joblet.default_cpu_percent,
        memory_max_bytes=joblet.default_memory_bytes,
        io_max_bytes_per_s=joblet.default_io_bytes_per_s,
        timeout_s=joblet.job_timeout_s,
        max_concurrent_jobs=joblet.max_concurrent_jobs,
    )


def test_how_the_server_talks() -> None:
    grpc = CONFIGURED.grpc

    assert WireOptions() == WireOptions(
        max_receive_bytes=grpc.max_receive_bytes,
        max_send_bytes=grpc.max_send_bytes,
        keep_alive_s=grpc.keep_alive_s,
        stall_timeout_s=CONFIGURED.logs.slow_reader_timeout_s,
    )
    assert CONFIGURED.logs.slow_reader_timeout_s == STALL_TIMEOUT_S


def test_how_long_logs_are_kept() -> None:
    logs = CONFIGURED.logs

    assert Rules() == Rules(
        max_bytes_per_job=logs.max_bytes_per_job,
        max_bytes=logs.max_bytes,
        max_age_s=logs.max_age_s,
        compress_after_s=logs.compress_after_s,
    )


def test_how_a_supervisor_is_started() -> None:
    assert SupervisorOptions() == SupervisorOptions(
        cgroups=CONFIGURED.isolation.cgroups,
        cleanup_timeout_s=CONFIGURED.joblet.cleanup_timeout_s,
        pids_max=CONFIGURED.joblet.pids_max,
        logs=LogSettings(),
        start=CONFIGURED.isolation.supervisor == "own",
    )


def test_what_a_supervisor_does_that_is_told_nothing() -> None:
    told = supervisor._options(["--state", "/s"])
    settings = Settings()

    assert told.cgroups == CONFIGURED.isolation.cgroups
    assert told.slice == str(SupervisorOptions().slice_path)
    assert told.cleanup_timeout == settings.cleanup_timeout_s == CONFIGURED.joblet.cleanup_timeout_s
    assert told.pids_max == settings.pids_max == CONFIGURED.joblet.pids_max


def test_how_logs_are_kept() -> None:
    folder = StateFolder(Path("/s"))
    configured = _log_settings(CONFIGURED, folder)

    assert configured == LogSettings(policy=Policy(spill_dir=folder.spill))
    assert log_settings(supervisor._options(["--state", "/s"]), folder.spill) == configured


def test_what_a_supervisor_is_told_of_logs_is_what_it_understands() -> None:
    told = LogSettings(1 << 30, 7, Policy(Overflow.SPILL, Path("/other disk"), 3), Fsync.END)

    assert log_settings(supervisor._options(["--state", "/s", *arguments(told)]), Path("/unused")) == told
