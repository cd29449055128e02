"""Archives of logs: any offset, and never a wrong byte."""

import os
import random
from pathlib import Path

import pytest

from joblet.logs.archive import BLOCK_BYTES, Archive, DamagedArchive, Interrupted, digest, write

DATA = random.Random(20240115).randbytes(BLOCK_BYTES) + b"a line of a log\n" * 100_000


def archived(folder: Path, data: bytes, first_bytes: int = 0) -> Path:
    log, path = folder / "x.log", folder / "x.log.z"
    log.write_bytes(data)
    with log.open("rb") as source, path.open("wb") as target:
        write(source.fileno(), first_bytes, len(data), target.fileno())
    return path


def everything(path: Path) -> bytes:
    archive = Archive(path)
    try:
        return b"".join(archive.load(number) for number in range(archive.blocks))
    finally:
        archive.close()


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, len(DATA)])
def test_what_goes_in_comes_out(tmp_path: Path, length: int) -> None:
    assert everything(archived(tmp_path, DATA[:length])) == DATA[:length]


def test_an_archive_begins_where_its_log_did(tmp_path: Path) -> None:
    archive = Archive(archived(tmp_path, DATA, first_bytes=8192))

    number = archive.number_of(2_000_000)

    assert (archive.first_bytes, archive.size_bytes) == (8192, len(DATA))
    assert archive.load(number)[2_000_000 - archive.begin_of(number) :][:100] == DATA[2_000_000:2_000_100]
    archive.close()


def test_only_the_block_that_is_wanted_is_read(tmp_path: Path) -> None:
    """Everything else may be gone."""
    path = archived(tmp_path, DATA)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes(1000))
    archive = Archive(path)

    assert archive.load(1) == DATA[BLOCK_BYTES : 2 * BLOCK_BYTES]
    archive.close()


def test_a_log_is_an_archive_only_as_long_as_it_was(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"short")
    with log.open("rb") as source, (tmp_path / "x.log.z").open("wb") as target, pytest.raises(OSError, match="shorter"):
        write(source.fileno(), 0, 100, target.fileno())


def test_an_archive_is_given_up_between_two_blocks(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(DATA)
    asked = iter([True, False])
    with log.open("rb") as source, (tmp_path / "x.log.z").open("wb") as target, pytest.raises(Interrupted):
        write(source.fileno(), 0, len(DATA), target.fileno(), lambda: next(asked))


def test_any_changed_byte_is_an_error_and_never_another_byte(tmp_path: Path) -> None:
    """Only zlib's own checksum behind a block, beside which we have ours, may change without notice."""
    data = DATA[BLOCK_BYTES - 3000 :]
    path = archived(tmp_path, data)
    unnoticed = 0
    whole = path.read_bytes()
    seed = random.Random(6)
    places = {seed.randrange(8, len(whole)) for _ in range(400)} | set(range(len(whole) - 120, len(whole)))
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << seed.randrange(8)]) + whole[place + 1 :])

        try:
            read = everything(path)
        except DamagedArchive:
            continue
        assert read == data
        unnoticed += 1
    assert unnoticed <= 4 * 2


@pytest.mark.parametrize("left", [0, 1, 47, 60, -1])
def test_an_archive_that_lost_its_end_is_none(tmp_path: Path, left: int) -> None:
    path = archived(tmp_path, DATA)
    os.truncate(path, left if left >= 0 else path.stat().st_size - 1)

    with pytest.raises(DamagedArchive):
        digest(path)
