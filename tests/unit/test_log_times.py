"""The index of times beside a log: what is written, and what a time leads to."""

import itertools
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblet.logs.times import INTERVAL_NS, RECORD, TimeIndex, append, count, last, look_up, record_at, size_at

S = 1_000_000_000


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "x.times", os.O_RDWR | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def records(path: Path) -> list[tuple[int, int]]:
    return list(struct.iter_unpack("<QQ", path.read_bytes()))


@pytest.mark.parametrize(("at_s", "size"), [(0, 0), (9, 0), (10, 100), (15, 100), (20, 200), (29, 200), (31, 300)])
def test_a_time_leads_to_the_size_in_the_last_record_that_is_not_later(fd: int, at_s: int, size: int) -> None:
    append(fd, (10 * S, 100), (20 * S, 200), (30 * S, 300))

    assert size_at(fd, at_s * S) == size


def test_looking_up_finds_what_a_search_from_the_front_finds(fd: int) -> None:
    seed = random.Random(20240115)
    times = sorted(seed.sample(range(1, 10_000), 500))
    known = list(zip(times, sorted(seed.sample(range(1, 10**9), 500)), strict=True))
    append(fd, *known)

    for at in range(0, 10_001, 7):
        assert size_at(fd, at) == max((size for time, size in known if time <= at), default=0)


def test_without_an_index_nothing_is_known(tmp_path: Path) -> None:
    assert look_up(tmp_path / "none.times", 10**18) == 0


@pytest.mark.parametrize("torn", [1, 8, 15])
def test_a_record_that_a_crash_tore_is_none_and_is_written_over(fd: int, torn: int) -> None:
    append(fd, (10 * S, 100))
    os.pwrite(fd, RECORD.pack(20 * S, 200)[:torn], RECORD.size)
    assert (count(fd), last(fd), size_at(fd, 99 * S)) == (1, (10 * S, 100), 100)

    append(fd, (30 * S, 300))

    assert [record_at(fd, number) for number in range(count(fd))] == [(10 * S, 100), (30 * S, 300)]


def test_records_that_a_power_failure_left_as_zeros_are_none(fd: int) -> None:
    append(fd, (10 * S, 100))
    os.ftruncate(fd, 5 * RECORD.size + 3)

    assert (count(fd), size_at(fd, 99 * S)) == (1, 100)


def test_a_log_that_grows_all_the_time_gets_a_record_a_second(tmp_path: Path) -> None:
    path = tmp_path / "x.times"
    index = TimeIndex(path)

    for number in range(1, 101):  # 10 s, ten times a second
        index.grew(S + number * S // 10, number * 1000)
    index.close()

    found = records(path)
    assert found[-1] == (S + 10 * S, 100_000)
    assert len(found) <= 2 * 10 + 2
    assert all(later - earlier <= INTERVAL_NS for (earlier, _), (later, _) in itertools.pairwise(found))


def test_a_pause_stands_in_the_index_to_the_second(tmp_path: Path) -> None:
    """What was printed right after a record, and before an hour of silence, is not taken for what came after it."""
    index = TimeIndex(tmp_path / "x.times")
    index.grew(10 * S, 100)
    index.grew(10 * S + 1, 200)

    index.grew(3600 * S, 300)

    assert look_up(tmp_path / "x.times", 1800 * S) == 200
    assert look_up(tmp_path / "x.times", 3600 * S) == 300


def test_what_was_printed_from_a_time_on_is_always_behind_what_it_leads_to(tmp_path: Path) -> None:
    """And never more than a second's output too much."""
    seed = random.Random(6)
    for number in range(20):
        path = tmp_path / f"{number}.times"
        index = TimeIndex(path)
        now, size = 1000 * S, 0
        history = []
        for _ in range(200):
            now += round(seed.expovariate(1.0) * seed.choice((0.01, 0.3, 30)) * S)
            size += seed.randrange(1, 1000)
            history.append((now, size))
            index.grew(now, size)
            if seed.random() < 0.02:
                index = TimeIndex(path)  # its writer was killed, and another one took over
                index.grew(now, size)
        index.close()
        for _ in range(200):
            at = seed.randrange(999 * S, now + S)
            found = look_up(path, at)
            assert found <= max((size for time, size in history if time <= at), default=0)
            assert found >= max((size for time, size in history if time <= at - S), default=0)


def test_a_successor_goes_on_where_the_index_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.times"
    TimeIndex(path).grew(10 * S, 100)

    successor = TimeIndex(path)
    successor.grew(10 * S + 5, 100)
    successor.grew(20 * S, 200)

    assert records(path) == [(10 * S, 100), (20 * S, 200)]


def test_a_clock_that_is_set_back_makes_no_time_fall(tmp_path: Path) -> None:
    path = tmp_path / "x.times"
    index = TimeIndex(path)

    index.grew(100 * S, 100)
    index.grew(50 * S, 200)
    index.grew(102 * S, 300)

    assert records(path) == [(100 * S, 100), (100 * S, 200), (102 * S, 300)]


def test_a_disk_that_refuses_loses_no_growth(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    index = TimeIndex(folder / "x.times")
    with pytest.raises(FileNotFoundError):
        index.grew(10 * S, 100)
    folder.mkdir()

    index.grew(11 * S, 150)

    assert look_up(folder / "x.times", 11 * S) == 150
