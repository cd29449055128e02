"""
The program of a job that writes, compiled where there is a compiler: Python's system calls would be the bottleneck.

A job sees nothing of the host but its system folders, so the program comes in the job's arguments, and a shell of the
job puts it into the job's work folder. Its peers outside of a job run the same file.

Runs in: the contributor's terminal. Source: writer.c, which says what its arguments mean.
"""

import base64
import contextlib
import gzip
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("writer.c")

# What writer.c does, where there is no compiler.
IN_PYTHON: Final = """\
#!/usr/bin/python3
import os, signal, sys, time
block, total, rate, seconds, gate = map(int, sys.argv[1:])
data = bytes(97 + i % 26 for i in range(block - 1)) + b"\\n"
if gate:
    os.kill(os.getpid(), signal.SIGSTOP)
began, written = time.monotonic(), 0
while not total or written < total:
    passed = time.monotonic() - began if seconds or rate else 0.0
    if seconds and passed >= seconds:
        break
    if rate and written >= passed * rate:
        time.sleep((written + block) / rate - passed)
        continue
    done = 0
    while done < block:
        done += os.write(1, data[done:] if done else data)
    written += block
"""

NAME: Final = "bench-writer"
"""What the kernel calls its process."""


@dataclass(frozen=True, slots=True)
class Writing:
    """
    The program with its arguments.

    Args:
        program: Of this machine.
        block_bytes: Written by one system call.
        total_bytes, bytes_per_s, seconds: 0 for no limit.
        waits: Stopped, for SIGCONT, before it begins.
    """

    program: Path
    block_bytes: int
    total_bytes: int = 0
    bytes_per_s: int = 0
    seconds: int = 0
    waits: bool = False

    @property
    def here(self) -> list[str]:
        """The command line outside of a job."""
        return [str(self.program), *self._arguments()]

    @property
    def in_a_job(self) -> tuple[str, list[str]]:
        """The job's command and its arguments."""
        packed = base64.b64encode(gzip.compress(self.program.read_bytes(), mtime=0)).decode()
        script = f'echo {packed} | base64 -d | gzip -d > {NAME} && chmod +x {NAME} && exec ./{NAME} "$@"'
        return "sh", ["-c", script, NAME, *self._arguments()]

    def expected(self) -> bytes:
        """One block."""
        return bytes(97 + i % 26 for i in range(self.block_bytes - 1)) + b"\n"

    def _arguments(self) -> list[str]:
        numbers = (self.block_bytes, self.total_bytes, self.bytes_per_s, self.seconds, int(self.waits))
        return list(map(str, numbers))


@contextlib.contextmanager
def a_writer() -> Iterator[Path]:
    """The program, as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="joblet-bench-") as name:
        program = Path(name) / NAME
        compiler = shutil.which("cc")
        if compiler is None:
            print("no C compiler (cc): the jobs write with Python, which is slower than what is measured")
            program.write_text(IN_PYTHON)
        else:
            subprocess.run([compiler, "-O2", "-s", "-o", str(program), str(SOURCE)], check=True)
        program.chmod(0o755)
        yield program
