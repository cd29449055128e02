"""
The certificate folder: how a set of files gets there whole or not at all.

    ca-cert.pem ca-key.pem                          the authority
    server-cert.pem server-key.pem                  `joblet serve`
    NAME-client-cert.pem NAME-client-key.pem        a client; `certs init` makes admin and viewer
    client-cert.pem client-key.pem                  the admin's again, under the names `rnx` looks for

Every file is written and synced under a temporary name first; only then are they given their names, without
ever replacing one (link(2) refuses) unless told to. A failure on the way takes back what was done. Only
a power cut in the middle of a forced replacement can leave old and new files side by side.

Runs in: command lines. May not: know what a certificate is.
Source: API specification, "Certificate Files Required"; link(2), rename(2).
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from joblet.complaint import Complaint, why

KEY_MODE: Final = 0o600
CERTIFICATE_MODE: Final = 0o644


def is_key(path: Path) -> bool:
    """Whether a file of this name holds a private key."""
    return path.name.endswith("key.pem")


def write_all(contents: Mapping[Path, bytes], *, replace: bool) -> None:
    """
    Write these files, all or none; folders that are missing are made.

    Raises:
        Complaint: One exists and may not be replaced, or the kernel refused. Every file is as it was.
    """
    if not replace:
        _refuse_existing(contents)
    with contextlib.ExitStack() as undo:
        try:
            for folder in dict.fromkeys(path.parent for path in contents):
                _make_folder(folder, undo)
            fresh = {path: _write_fresh(path, content, undo) for path, content in contents.items()}
            for path, temporary in fresh.items():
                _put(temporary, path, undo, replace=replace)
            for folder in dict.fromkeys(path.parent for path in contents):
                _sync_folder(folder)
        except FileExistsError as error:
            raise _exists(Path(os.fsdecode(error.filename2 or error.filename))) from None
        except OSError as error:
            where = os.fsdecode(error.filename) if error.filename else "the files"
            raise Complaint(
                f"cannot write {where}: {why(error)}", "nothing was changed; name another folder, or mend this one"
            ) from None
        undo.pop_all()  # done: nothing is to be taken back any more
    for temporary in fresh.values():
        temporary.unlink(missing_ok=True)
        _old_name(temporary).unlink(missing_ok=True)


def _refuse_existing(contents: Mapping[Path, bytes]) -> None:
    for path in contents:
        if os.path.lexists(path):
            raise _exists(path)


def _exists(path: Path) -> Complaint:
    return Complaint(
        f"{path} exists already; nothing was written",
        "name another folder, or pass --force to replace it (who uses the old files is then refused)",
    )


def _make_folder(folder: Path, undo: contextlib.ExitStack) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o755)
        undo.callback(_quietly, parent.rmdir)


def _write_fresh(path: Path, content: bytes, undo: contextlib.ExitStack) -> Path:
    """The content under a name of its own beside `path`, on the disk."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    mode = KEY_MODE if is_key(path) else CERTIFICATE_MODE
    # A key is never readable for anybody else, not even for the moment between open and chmod.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    undo.callback(_quietly, temporary.unlink)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)  # whatever the umask is
        file.write(content)
        file.flush()
        os.fsync(fd)
    return temporary


def _put(temporary: Path, path: Path, undo: contextlib.ExitStack, *, replace: bool) -> None:
    if replace and os.path.lexists(path):
        old = _old_name(temporary)
        os.link(path, old, follow_symlinks=False)
        undo.callback(_quietly, lambda: os.replace(old, path))
        os.rename(temporary, path)  # a server that looks meanwhile finds the old file or the new one
    else:
        os.link(temporary, path)
        undo.callback(_quietly, path.unlink)


def _old_name(temporary: Path) -> Path:
    return temporary.with_suffix(".old")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _quietly(step: Callable[[], object]) -> None:
    """Take one step back; that one cannot be taken back must not keep the others from it."""
    with contextlib.suppress(OSError):
        step()
