"""
A log without its beginning: a hole in the file, and beside it a small file that says how far the hole goes.

The small file is durable before the hole is made, and outlives the log it speaks of. So whoever looks at it
*after* a read knows whether the bytes that came are the job's: those of a hole are zeros, and would be
taken for output otherwise.

Runs in: server, in a thread or (`first_kept`) the loop; an administrator's terminal. May not: import outside
the standard library.
Source: fallocate(2), FALLOC_FL_PUNCH_HOLE (ext4, XFS, Btrfs, tmpfs); lseek(2), SEEK_DATA.
"""

import errno
import os
from pathlib import Path
from typing import Final

from joblet.logs.calls import open_regular, punch_hole

_BLOCK_BYTES: Final = 4096
_FAR_BYTES: Final = 1 << 30


def first_kept(path: Path | str) -> int:
    """
    What the small file says: offset of the log's first byte that is kept; 0 when there is no such file.

    Raises:
        OSError: It cannot be read, or holds no number.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        text = os.read(fd, 32)
    finally:
        os.close(fd)
    if not (text.endswith(b"\n") and text[:-1].isdigit()):
        raise OSError(errno.EIO, "holds no number", str(path))
    return int(text)


def write_first_kept(path: Path, first_bytes: int) -> None:
    """
    Say that everything before may go. Durable on return.

    Raises:
        OSError: What it said before still stands.
    """
    fresh = fresh_name(path)
    fd = open_regular(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(fd, b"%d\n" % first_bytes)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    sync_folder(path.parent)


def fresh_name(path: Path) -> Path:
    """Where a file is written that becomes `path` when it is complete."""
    return path.with_name(f"{path.name}.tmp")


def sync_folder(folder: Path) -> None:
    """Make what was renamed or unlinked in it durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def punch(fd: int, until_bytes: int) -> None:
    """
    Give back the space of everything before this offset; the size stays.

    Raises:
        OSError: EOPNOTSUPP where the file system cannot.
    """
    begin = first_data(fd)
    if begin < until_bytes:
        punch_hole(fd, begin, until_bytes - begin)


def check_can_punch(fd: int) -> None:
    """
    Find out whether the file system can, far behind the end of the file, where there is nothing to lose.

    Raises:
        OSError: EOPNOTSUPP: it cannot.
    """
    punch_hole(fd, (os.fstat(fd).st_size // _BLOCK_BYTES + 1) * _BLOCK_BYTES + _FAR_BYTES, _BLOCK_BYTES)


def first_data(fd: int) -> int:
    """Where the hole at the beginning ends; the size of a file that is nothing but a hole."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return os.fstat(fd).st_size
