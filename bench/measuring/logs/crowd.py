"""
Processes that read at the same time: started, let go together, and waited for.

Runs in: the contributor's terminal. Source: `reading`, which is what they run.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from measuring.logs.reading import DONE, READY

BENCH: Final = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """One process of `reading`; killed when it has not ended by itself."""
    path = os.pathsep.join(filter(None, (str(BENCH), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "measuring.logs.reading", *words]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    with started:
        try:
            yield started
        finally:
            started.kill()


def said(by: subprocess.Popen[str]) -> str:
    """Its next line, without the newline."""
    assert by.stdout is not None
    return by.stdout.readline().rstrip()


def seconds_of(commands: Sequence[Sequence[str]]) -> float:
    """From the word to all of them until the last one is done."""
    with contextlib.ExitStack() as closing:
        crowd = [closing.enter_context(process(*words)) for words in commands]
        assert {said(each) for each in crowd} == {READY}
        began = time.perf_counter()
        for each in crowd:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        assert {said(each) for each in crowd} == {DONE}
        return time.perf_counter() - began
