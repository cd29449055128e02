"""What seals secrets in the database: a key beside it, for its owner's eyes only."""

import os
import stat
from pathlib import Path

import pytest

from joblet.storage.database import CannotOpenDatabase, Database
from joblet.storage.secrets import CannotUnseal, secrets_in
from joblet.storage.workflows import WorkflowStoreAdapter
from joblet.testing.contracts.workflow_store import a_workflow, ended


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    sealed = secrets_in(path).seal("hünter2")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "nter2" not in sealed
    assert secrets_in(path).unseal(sealed) == "hünter2"
    assert [file.name for file in tmp_path.iterdir()] == ["secrets.key"]


def test_another_key_opens_nothing(tmp_path: Path) -> None:
    sealed = secrets_in(tmp_path / "one").seal("hunter2")

    with pytest.raises(CannotUnseal):
        secrets_in(tmp_path / "two").unseal(sealed)
    with pytest.raises(CannotUnseal):
        secrets_in(tmp_path / "one").unseal("")
    with pytest.raises(CannotUnseal):
        secrets_in(tmp_path / "one").unseal("ünsealed")


def a_key(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"", b"\n", b"no key", b"\xff" * 44, b"A" * 300])
def test_a_file_that_holds_no_key_stops_the_start_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = a_key(tmp_path / "secrets.key", content)

    with pytest.raises(CannotOpenDatabase, match="it holds none; put back a copy, or remove it"):
        secrets_in(path)

    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_that_others_may_use_stops_the_start_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secrets.key"
    sealed = secrets_in(path).seal("hunter2")
    path.chmod(mode)

    with pytest.raises(
        CannotOpenDatabase, match=rf"others than its owner may use it \(mode {mode:04o}\); chmod 600 {path}"
    ):
        secrets_in(path)

    path.chmod(0o600)
    assert secrets_in(path).unseal(sealed) == "hunter2"


def test_a_key_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    (tmp_path / "secrets.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CannotOpenDatabase, match=r"cannot use the key .*secrets\.key: "):
        secrets_in(tmp_path / "secrets.key")


def test_a_server_killed_while_it_made_the_key_leaves_no_half_of_one(tmp_path: Path) -> None:
    a_key(tmp_path / "secrets.key.tmp", b"half a k", 0o644)

    sealed = secrets_in(tmp_path / "secrets.key").seal("hunter2")

    assert secrets_in(tmp_path / "secrets.key").unseal(sealed) == "hunter2"


@pytest.mark.real_time
async def test_nothing_of_what_was_sealed_is_in_the_file_after_a_workflows_end(tmp_path: Path) -> None:
    """Of 60 KB in pages of 4 KiB, which are free then."""
    path = tmp_path / "joblet.db"
    database, secrets, workflow = Database(path), secrets_in(tmp_path / "secrets.key"), a_workflow()
    await WorkflowStoreAdapter(database, secrets).add(workflow, "hunter2" * 8000)
    sealed = str(database.read("SELECT sealed FROM workflows")[0][0]).encode()
    pieces = [sealed[start : start + 60] for start in range(0, len(sealed) - 60, 60)]
    await database.close()
    under_way = path.read_bytes()

    database = Database(path)
    await WorkflowStoreAdapter(database, secrets).finish(ended(workflow), [])
    await database.close()

    assert sum(piece in under_way for piece in pieces) > 0.9 * len(pieces)
    assert [piece for piece in pieces if piece in path.read_bytes()] == []
    assert sorted(os.listdir(tmp_path)) == ["joblet.db", "secrets.key"]
