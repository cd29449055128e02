"""
Long phases, told while they last: what is going on, for how long, and its last words when it fails.

Runs in: the contributor's terminal, CI; the test machine (mutants.py).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HEARTBEAT_S: Final = 15.0
LAST_LINES: Final = 30

_started: Final = time.monotonic()


class Failed(Exception):
    """A step failed; the text is for the user, and whole."""


def say(words: str) -> None:
    """A line for the user, with the seconds since the start."""
    print(f"[{time.monotonic() - _started:4.0f} s] {words}", flush=True)


@contextmanager
def phase(words: str) -> Iterator[None]:
    """Say what begins, and how long it took once it is done."""
    say(words)
    began = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - began:.0f} s")


def run(command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
    """
    Run a command whose output matters only when it fails; every 15 s the user sees its newest line.

    Args:
        log: Gets all of its output; what was in it is gone.
        environ: All of its environment; ours by default.
        cwd: Where it runs; where we do by default.

    Raises:
        Failed: It could not be run or failed; with its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # An interrupt waits until the command is there to be ended by it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
                cwd=cwd,
                start_new_session=True,  # what it starts in turn is ended with it
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, mask),
            )
            while True:
                try:
                    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                    status = process.wait(HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    newest = last_lines(log, 1) or ["(no output yet)"]
                    say(f"  … {time.monotonic() - began:.0f} s: {newest[0][:100]}")
                except BaseException:
                    os.killpg(process.pid, signal.SIGTERM)
                    process.wait()
                    raise
    except OSError as error:
        raise Failed(f"cannot run {command[0]}: {error.strerror}") from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if status != 0:
        words = "\n".join(f"    {line}" for line in last_lines(log, LAST_LINES))
        raise Failed(f"`{' '.join(command)}` failed with status {status}. Its last lines:\n{words}")


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines of a text that are not blank, control characters left out. Raises OSError."""
    text = file.read_bytes()[-65536:].decode(errors="replace")
    lines = (
        "".join(character for character in line if character.isprintable() or character == "\t").rstrip()
        for line in text.splitlines()
    )
    return [line for line in lines if line][-count:]


def fail(error: BaseException) -> int:
    """Tell the user why it ends; the exit status."""
    if isinstance(error, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT
    print(f"\nError: {error}", file=sys.stderr, flush=True)
    return 1
