"""
The Python packages that the machine needs, as wheels in a folder: it has no network to get them from.

Two folders, `server` and `tests`: each is installed whole, without pip's search for versions, which takes a minute
under emulation.

Runs in: the contributor's terminal, CI. May not: build a package from source.
"""

import hashlib
import platform
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Final

from progress import run

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "vagrant" / "wheelhouse"
GUEST_PYTHON: Final = "3.11"
GUEST_GLIBC: Final = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def requirements() -> tuple[list[str], list[str]]:
    """What pyproject.toml says the server needs, and what its tests need in addition."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["project"]["dependencies"], project["dependency-groups"]["integration"]


def fingerprint() -> str:
    """Changes when another wheelhouse is wanted, not when a newer release of a package appears."""
    wanted = repr((requirements(), GUEST_PYTHON, platform.machine()))
    return hashlib.sha256(wanted.encode()).hexdigest()


def fill(log: Path) -> None:
    """Download everything anew. Raises Failed."""
    platforms = [f"--platform={glibc}_{platform.machine()}" for glibc in GUEST_GLIBC]
    for name, wanted in zip(("server", "tests"), requirements(), strict=True):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", f"--dest={FOLDER / name}"]
        run([*command, f"--python-version={GUEST_PYTHON}", *platforms, *wanted], log)
