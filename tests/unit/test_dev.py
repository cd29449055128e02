"""
What `./dev` says when it cannot go on. That it works is seen by running it, as `.ci/run` does.

Runs in: pytest. May not: make an environment.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def dev(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script that has no environment beside it."""
    script = folder / "dev"
    script.write_bytes((ROOT / "dev").read_bytes())
    (folder / "pyproject.toml").write_text("")
    return subprocess.run(
        ["sh", str(script), *arguments],
        env={"PATH": os.defpath, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def a_python(folder: Path, version: str) -> str:
    """An interpreter that is too old."""
    python = folder / "python-of-then"
    python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit\nexit 1\n')
    python.chmod(0o755)
    return str(python)


def test_help_names_every_verb(tmp_path: Path) -> None:
    done = dev(tmp_path)

    assert done.returncode == 0
    for verb in ("demo", "test", "nox", "tox", "run"):
        assert f"./dev {verb}" in done.stdout


def test_an_unknown_verb_is_refused(tmp_path: Path) -> None:
    done = dev(tmp_path, "dmeo")

    assert done.returncode == 1
    assert "no such verb: dmeo" in done.stderr


def test_a_python_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    python = a_python(tmp_path, "3.9.2")

    done = dev(tmp_path, "demo", PYTHON=python)

    assert done.returncode == 1
    assert f"Joblet needs Python 3.11 or newer; {python} here is: Python 3.9.2." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = dev(tmp_path, "demo", PYTHON="python-of-tomorrow")

    assert done.returncode == 1
    assert "python-of-tomorrow here is: not installed." in done.stderr
