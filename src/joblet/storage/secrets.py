"""
What must survive a restart and nobody may read in the database: sealed with a key that lies beside it.

Whoever has the database alone, a copy of it for instance, cannot read what is sealed in it.

Runs in: server loop. May not: know what it seals.
Source: https://github.com/fernet/spec (AES-128-CBC and HMAC-SHA256).
"""

import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from joblet.storage.database import CannotOpenDatabase


class CannotUnseal(Exception):
    """It was sealed with another key, or is damaged."""


class Secrets:
    """
    Seals and unseals text.

    Args:
        key: As `Fernet.generate_key` makes one.
    """

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    def seal(self, text: str) -> str:
        """The text, unreadable; printable ASCII, a third longer."""
        return self._fernet.encrypt(text.encode()).decode("ascii")

    def unseal(self, sealed: str) -> str:
        """
        The text again.

        Raises:
            CannotUnseal: This key does not fit.
        """
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise CannotUnseal from None


def secrets_in(path: Path) -> Secrets:
    """
    Those of the key in this file, for its owner's eyes only; made where there is no file.

    Raises:
        CannotOpenDatabase: It can be neither read nor made, holds no key, or others may read it. It is as it was.
    """
    try:
        key = _read(path)
        return Secrets(key if key is not None else _made(path))
    except OSError as error:
        raise CannotOpenDatabase(f"cannot use the key {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise CannotOpenDatabase(
            f"cannot use the key {path}: it holds none; put back a copy,"
            " or remove it to begin with a new one: workflows under way that have secrets are then given up"
        ) from None


def _read(path: Path) -> bytes | None:
    """What is in the file; None where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & 0o077:
            raise CannotOpenDatabase(
                f"cannot use the key {path}: others than its owner may use it (mode {mode:04o}); chmod 600 {path},"
                " or remove it to begin with a new one: workflows under way that have secrets are then given up"
            )
        return os.read(fd, 256).strip()
    finally:
        os.close(fd)


def _made(path: Path) -> bytes:
    """Whole or not at all, and on the disk: what is sealed with it may be there at once."""
    key = Fernet.generate_key()
    fresh = path.with_name(f"{path.name}.tmp")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(fd, 0o600)  # of one that was left from before
        os.write(fd, key + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key
