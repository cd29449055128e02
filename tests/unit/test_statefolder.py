"""The state folder: who may look into it."""

import stat
from pathlib import Path

import pytest

from joblet.statefolder import StateFolder


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_new_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "new")

    folder.create()

    assert mode(folder.root) == 0o700


@pytest.mark.parametrize("content", [None, "joblet.db"])
def test_a_folder_that_others_may_enter_is_closed_to_them(tmp_path: Path, content: str | None) -> None:
    """mkdir makes them 0755, and so does a package that brings an empty one."""
    tmp_path.chmod(0o755)
    if content is not None:
        (tmp_path / content).touch()

    before = StateFolder(tmp_path).create()

    assert before == 0o755
    assert mode(tmp_path) == 0o700


def test_a_folder_with_the_things_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    """It may be /tmp."""
    (tmp_path / "of-somebody-else").touch()
    tmp_path.chmod(0o1777)

    before = StateFolder(tmp_path).create()

    assert before == mode(tmp_path) == 0o1777
