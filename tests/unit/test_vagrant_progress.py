"""
Long phases of bringing the test machine up: what is told while they last, and when they fail.

Runs in: pytest.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import progress
import pytest
from progress import LAST_LINES, Failed, last_lines, phase, run


def test_a_command_that_fails_is_told_with_its_last_lines(tmp_path: Path) -> None:
    lines = "".join(f"line {number}\n" for number in range(100))

    with pytest.raises(Failed) as failure:
        run([sys.executable, "-c", f"print({lines!r}, end=''); raise SystemExit(3)"], tmp_path / "log")

    told = str(failure.value).splitlines()
    assert "failed with status 3. Its last lines:" in str(failure.value)
    assert told[-LAST_LINES:] == [f"    line {number}" for number in range(100 - LAST_LINES, 100)]


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot run no-such-program: No such file or directory"):
        run(["no-such-program"], tmp_path / "log")


def test_all_of_a_commands_output_is_in_its_log(tmp_path: Path) -> None:
    run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"], tmp_path / "new" / "log")

    assert sorted((tmp_path / "new" / "log").read_text().split()) == ["err", "out"]


def test_an_interrupted_command_is_ended_with_all_that_it_has_started(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    command = ["sh", "-c", "exec 3>held; echo started >&3; sleep 60 & wait"]
    code = f"import pathlib, progress; progress.run({command}, pathlib.Path('log'))"
    environ = {**os.environ, "PYTHONPATH": str(Path(progress.__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environ, cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert select.select([held], [], [], 30)[0] == [held]
    assert os.read(held, 100) == b"started\n"

    process.send_signal(signal.SIGINT)

    assert select.select([held], [], [], 30)[0] == [held]
    assert os.read(held, 100) == b""
    assert process.wait(30) != 0
    os.close(held)


def test_a_console_is_shown_without_its_control_characters_and_blank_lines(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_bytes(b"\x1b[0m[  1.0] first\r\n\r\n\x00\xff[  2.0] Kernel panic\r\n")

    assert last_lines(console, 2) == ["[0m[  1.0] first", "\ufffd[  2.0] Kernel panic"]


def test_a_phase_says_what_begins_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with phase("booting"):
        pass

    begun, done = capsys.readouterr().out.splitlines()
    assert begun.endswith("booting")
    assert done.endswith("done in 0 s")
