"""
How an `AsyncLogSystem` is told about on a command line: by whoever starts a supervisor, and by a unit file.

Runs in: supervisor at start, whoever starts one. May not: import outside the standard library.
"""

import argparse
from pathlib import Path

from joblet.logs.memory import DEFAULT_LIMIT_BYTES, DEFAULT_QUEUE_MAX
from joblet.logs.overflow import DEFAULT_SAMPLE_EVERY, Overflow, Policy
from joblet.logs.system import LogSettings
from joblet.logs.writer import Fsync


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options, each with the default of `LogSettings`."""
    parser.add_argument("--log-memory", type=int, default=DEFAULT_LIMIT_BYTES, metavar="BYTES")
    parser.add_argument("--log-queue", type=int, default=DEFAULT_QUEUE_MAX, metavar="N")
    overflows = [each.value for each in Overflow]
    parser.add_argument("--log-overflow", choices=overflows, default=Overflow.ALERT.value)
    parser.add_argument("--log-spill-dir", metavar="DIR", help="default: spill in the state folder")
    parser.add_argument("--log-sample-every", type=int, default=DEFAULT_SAMPLE_EVERY, metavar="N")
    parser.add_argument("--log-fsync", choices=[each.value for each in Fsync], default=Fsync.NEVER.value)


def log_settings(options: argparse.Namespace, spill_dir: Path) -> LogSettings:
    """
    What the options say.

    Args:
        spill_dir: Unless they name one.

    Raises:
        ValueError: With words: a number is out of range.
    """
    return LogSettings(
        memory_limit_bytes=options.log_memory,
        queue_max=options.log_queue,
        policy=Policy(
            Overflow(options.log_overflow),
            Path(options.log_spill_dir) if options.log_spill_dir else spill_dir,
            options.log_sample_every,
        ),
        fsync=Fsync(options.log_fsync),
    )


def arguments(settings: LogSettings) -> list[str]:
    """The options that say this."""
    policy = settings.policy
    words = {
        "--log-memory": settings.memory_limit_bytes,
        "--log-queue": settings.queue_max,
        "--log-overflow": policy.overflow.value,
        "--log-sample-every": policy.sample_every,
        "--log-fsync": settings.fsync.value,
        **({"--log-spill-dir": policy.spill_dir} if policy.spill_dir is not None else {}),
    }
    return [str(word) for option in words.items() for word in option]
