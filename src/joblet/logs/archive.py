"""
A log compressed, readable from any offset.

    magic | block | block | … | index: of each block (where it lies, its length, checksum of what it holds) | footer

Each block holds 1 MiB of the log, the last one the rest, compressed by itself: a reader needs the footer, the
index, and the one block it wants. Every part has a checksum, so a damaged archive is an error and never other bytes.

Runs in: server, in a thread (only opening reads, 64 bytes, in the loop); an administrator's terminal. May not:
import outside the standard library.
Source: RFC 1950 (zlib); gzip's members are as independent, but a gzip file has no index.
"""

import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from joblet.logs.calls import open_regular

BLOCK_BYTES: Final = 1024 * 1024
# Of logs, level 6 makes about a third less of them than level 1, at 60 MB/s a core instead of 170; nobody waits for it.
LEVEL: Final = 6
_MAGIC: Final = b"JOBLETZ1"
_ENTRY: Final = struct.Struct("<QII")
_FOOTER: Final = struct.Struct("<QQIII8s")  # first and last offset, block size, blocks, checksum, magic


class DamagedArchive(Exception):
    """The file is no archive, or not as it was written; nothing of it is handed out."""


class Interrupted(Exception):
    """Whoever asked for it does not want it any more."""


def write(
    log_fd: int, first_bytes: int, size_bytes: int, archive_fd: int, go_on: Callable[[], bool] = lambda: True
) -> bytes:
    """
    Compress a log into an empty file; durable on return.

    Args:
        first_bytes, size_bytes: From which offset on, and up to which.
        go_on: Asked before each block.

    Returns:
        A hash of what was read, for `digest` to compare.

    Raises:
        OSError: A disk refuses; what was written is of no use.
        Interrupted: `go_on` says so; likewise.
    """
    seen = hashlib.sha256()
    index = bytearray()
    blocks = 0
    at = _put(archive_fd, _MAGIC)
    for begin in range(first_bytes, size_bytes, BLOCK_BYTES):
        if not go_on():
            raise Interrupted
        block = _exactly(log_fd, begin, min(BLOCK_BYTES, size_bytes - begin))
        seen.update(block)
        compressed = zlib.compress(block, LEVEL)
        index += _ENTRY.pack(at, len(compressed), zlib.crc32(block))
        at += _put(archive_fd, compressed)
        blocks += 1
    _put(archive_fd, bytes(index))
    checksum = zlib.crc32(index, _checksum(first_bytes, size_bytes, blocks))
    _put(archive_fd, _FOOTER.pack(first_bytes, size_bytes, BLOCK_BYTES, blocks, checksum, _MAGIC))
    os.fsync(archive_fd)
    return seen.digest()


def digest(path: Path, go_on: Callable[[], bool] = lambda: True) -> bytes:
    """
    The hash of what an archive holds, read as its readers will.

    Raises:
        DamagedArchive, OSError, Interrupted: There is none.
    """
    archive = Archive(path)
    try:
        seen = hashlib.sha256()
        for number in range(archive.blocks):
            if not go_on():
                raise Interrupted
            seen.update(archive.load(number))
        return seen.digest()
    finally:
        archive.close()


class Archive:
    """
    An open archive.

    Raises:
        DamagedArchive: Its footer is not one.
        OSError: It cannot be opened or read.

    Attributes:
        first_bytes, size_bytes: The offsets in the log that it begins at and ends before.
    """

    __slots__ = ("_checksum", "_index", "blocks", "fd", "first_bytes", "size_bytes")

    first_bytes: int
    size_bytes: int
    blocks: int

    def __init__(self, path: Path) -> None:
        self.fd = open_regular(path, os.O_RDONLY)
        self._index: bytes | None = None
        try:
            at = os.fstat(self.fd).st_size - _FOOTER.size
            footer = os.pread(self.fd, _FOOTER.size, at) if at > 0 else b""
            if len(footer) != _FOOTER.size or not footer.endswith(_MAGIC):
                raise DamagedArchive("it has no end that belongs to an archive")
            self.first_bytes, self.size_bytes, block_bytes, self.blocks, self._checksum, _ = _FOOTER.unpack(footer)
            wanted = -(-(self.size_bytes - self.first_bytes) // BLOCK_BYTES)
            if block_bytes != BLOCK_BYTES or self.blocks != wanted or at < self.blocks * _ENTRY.size:
                raise DamagedArchive("its end contradicts itself")
        except BaseException:
            os.close(self.fd)
            raise

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)

    def number_of(self, offset_bytes: int) -> int:
        """Which block holds this offset of the log."""
        return (offset_bytes - self.first_bytes) // BLOCK_BYTES

    def begin_of(self, number: int) -> int:
        """Offset in the log of a block's first byte."""
        return self.first_bytes + number * BLOCK_BYTES

    def load(self, number: int) -> bytes:
        """
        One block of the log. Blocks, for milliseconds of computing too.

        Raises:
            DamagedArchive: It is not what was put in.
            OSError: The disk cannot be read.
        """
        at, length, checksum = _ENTRY.unpack_from(self._checked_index(), number * _ENTRY.size)
        wanted_bytes = min(BLOCK_BYTES, self.size_bytes - self.begin_of(number))
        try:
            block = zlib.decompressobj().decompress(os.pread(self.fd, length, at), wanted_bytes + 1)
        except zlib.error as error:
            raise DamagedArchive(f"block {number} cannot be decompressed ({error})") from None
        if len(block) != wanted_bytes or zlib.crc32(block) != checksum:
            raise DamagedArchive(f"block {number} does not match its checksum")
        return block

    def _checked_index(self) -> bytes:
        # Two threads may both read it: they read the same.
        if self._index is None:
            length = self.blocks * _ENTRY.size
            at = os.fstat(self.fd).st_size - _FOOTER.size - length
            index = os.pread(self.fd, length, at)
            if zlib.crc32(index, _checksum(self.first_bytes, self.size_bytes, self.blocks)) != self._checksum:
                raise DamagedArchive("its index does not match its checksum")
            self._index = index
        return self._index


def _checksum(first_bytes: int, size_bytes: int, blocks: int) -> int:
    return zlib.crc32(_FOOTER.pack(first_bytes, size_bytes, BLOCK_BYTES, blocks, 0, _MAGIC))


def _exactly(fd: int, offset_bytes: int, length_bytes: int) -> bytes:
    parts: list[bytes] = []
    while length_bytes and (part := os.pread(fd, length_bytes, offset_bytes)):
        parts.append(part)
        offset_bytes += len(part)
        length_bytes -= len(part)
    if length_bytes:
        raise OSError(errno.EIO, "the log has become shorter while it was read")
    return b"".join(parts) if len(parts) != 1 else parts[0]


def _put(fd: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)
