"""
maxIOBPS: how fast a job may read and write the disk, however it does it.

Each job moves the same bytes in every way, and says how fast that went.

Runs in: pytest in the test machine, as root.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "IO Interface Files", "Writeback".
"""

from collections.abc import Callable, Mapping

import pytest
from installed import MIB, Installed

LIMIT = 4 * MIB
SIZE = 8 * MIB
WAYS = ("write direct", "read direct", "write buffered", "read buffered")

# A page of an anonymous map is aligned as O_DIRECT wants it. What is in the page cache is dropped after each way: a
# buffered read would come from there.
PROGRAM = (
    f"SIZE = {SIZE}"
    """
import mmap, os, time

PIECE = 256 << 10
piece = mmap.mmap(-1, PIECE)

def moved(way, flags, move):
    fd = os.open("/work/file", flags | os.O_CREAT, 0o600)
    began = time.monotonic()
    for _ in range(SIZE // PIECE):
        assert move(fd) == PIECE
    if flags & os.O_WRONLY:
        os.fsync(fd)
    print(way, SIZE / (time.monotonic() - began), sep="=", flush=True)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)

write, read = lambda fd: os.write(fd, piece), lambda fd: os.readv(fd, [piece])
moved("write direct", os.O_WRONLY | os.O_DIRECT, write)
moved("read direct", os.O_RDONLY | os.O_DIRECT, read)
moved("write buffered", os.O_WRONLY, write)
moved("read buffered", os.O_RDONLY, read)
open("/work/file", "w").close()
"""
)


def rates(joblet: Installed, limit: int) -> Mapping[str, float]:
    """Bytes a second that a job moves in each way."""
    ended, output = joblet.python(PROGRAM, io_max_bytes_per_s=limit, memory_max_bytes=128 * MIB)
    assert ended.exit_code == 0, output
    # By the kernel's account too, each byte has come from the disk and gone there.
    assert ended.usage.io_read_bytes >= 2 * SIZE
    assert ended.usage.io_write_bytes >= 2 * SIZE
    return {way: float(rate) for way, _, rate in (line.partition("=") for line in output.decode().splitlines())}


@pytest.fixture(scope="module")
def limited(joblet: Installed) -> Mapping[str, float]:
    """A job that may move 4 MiB a second."""
    return rates(joblet, LIMIT)


@pytest.fixture(scope="module")
def unlimited(joblet: Installed) -> Mapping[str, float]:
    """The same job with maxIOBPS 0."""
    return rates(joblet, 0)


@pytest.mark.parametrize("way", WAYS)
def test_the_disk_is_as_fast_as_the_limit(
    limited: Mapping[str, float], way: str, record_property: Callable[[str, object], None]
) -> None:
    error = limited[way] / LIMIT - 1
    record_property(f"{way} at 4 MiB/s", f"{limited[way] / MIB:.2f} MiB/s, {error:+.1%} off")
    assert abs(error) <= 0.20


@pytest.mark.parametrize("way", WAYS)
def test_0_is_no_limit(
    unlimited: Mapping[str, float], way: str, record_property: Callable[[str, object], None]
) -> None:
    record_property(f"{way} without a limit", f"{unlimited[way] / MIB:.0f} MiB/s")
    assert unlimited[way] > 4 * LIMIT


def test_the_kernel_has_both_directions_of_the_disk(joblet: Installed) -> None:
    job = joblet.start("sleep", "1000", io_max_bytes_per_s=LIMIT)

    device, *values = (joblet.cgroup(job) / "io.max").read_text().split()

    assert device.endswith(":0")
    assert {f"rbps={LIMIT}", f"wbps={LIMIT}"} <= set(values)
