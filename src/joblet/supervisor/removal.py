"""
Removes what a job left in its work folder, whatever it made of it.

Runs in: a child of the zygote; supervisor, before it listens. May not: import anything but os.
"""

import os

_BESIDE = b".removing"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: bytes) -> None:
    """
    Remove a folder and all in it as far as possible; what refuses is left, and the caller sees it.

    Never through a symbolic link, also not one that is put in place meanwhile: every step is relative to a
    descriptor of the folder it is in. Without recursion: a job can make folders deeper than any stack. A folder in a
    folder is moved into one beside `path`, where the job could never put anything, so that no name of its can be in
    the way; that one is found and removed also by a later try.

    Raises:
        OSError: Something is left.
    """
    beside = path if path.endswith(_BESIDE) else path + _BESIDE
    top = os.open(path, _FLAGS)
    if not os.path.isdir(beside):
        # First what is in the way: on a disk that is full to the last block no folder can be made.
        _unlink_all(top, depth=2)
        try:
            os.mkdir(beside, 0o700)
        except OSError:
            os.close(top)
            raise
    stage = os.open(beside, _FLAGS)
    folders = [(at, os.fsencode(name)) for at in {top, stage} for name in os.listdir(at)]
    moved = 0
    while folders:
        at, name = folders.pop()
        if _unlinked(name, at):
            continue
        try:
            folder = os.open(name, _FLAGS, dir_fd=at)
        except OSError:
            continue
        try:
            for inner in os.listdir(folder):
                if not _unlinked(inner, folder):
                    moved += 1
                    other = b"%d.%d" % (os.getpid(), moved)
                    os.rename(inner, other, src_dir_fd=folder, dst_dir_fd=stage)
                    folders.append((stage, other))
            os.rmdir(name, dir_fd=at)
        except OSError:
            pass
        finally:
            os.close(folder)
    os.close(top)
    os.close(stage)
    os.rmdir(beside)
    if beside != path:
        os.rmdir(path)


def _unlink_all(folder: int, depth: int) -> None:
    for name in os.listdir(folder):
        if not _unlinked(name, folder) and depth > 1:
            try:
                inner = os.open(name, _FLAGS, dir_fd=folder)
            except OSError:
                continue
            try:
                _unlink_all(inner, depth - 1)
            finally:
                os.close(inner)


def _unlinked(name: "bytes | str", folder: int) -> bool:
    """False for a folder; what cannot be unlinked for another reason stays."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        return False
    except OSError:
        pass
    return True
