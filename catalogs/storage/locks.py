"""Locks of a catalog's folder: advisory locks for changes, and the swap of the whole folder.

Publishers share OUT/.catalog.lock while they rename a part in; a process that replaces the folder holds it
alone. The operating system releases a lock when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nonesuch.foundation.errors import CatalogError
from nonesuch.foundation.files import held_alone, storage_error

NEXT = ".catalog-next"  # a whole new catalog folder, about to be renamed to `catalog`
_AT_FDCWD = -2 if sys.platform == "darwin" else -100
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2), RENAME_SWAP of renamex_np(2)


@contextmanager
def catalog_lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock of a catalog folder, which is made if it is missing: shared to add a part, exclusive to replace."""
    if folder.name == NEXT:
        folder = folder.with_name("catalog")
    path = folder.parent / ".catalog.lock"
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        if not folder.is_dir():
            # A swap without exchange was interrupted between its two renames.
            with contextlib.suppress(FileNotFoundError):
                (folder.parent / NEXT).rename(folder)
            folder.mkdir(exist_ok=True)
        yield
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        os.close(handle)


@contextmanager
def sole_compaction(folder: Path) -> Iterator[None]:
    """Hold OUT/.compact.lock. Raises CatalogError when another compaction holds it."""
    taken = CatalogError("another compaction is at work", where=str(folder), hint="Wait for it to end.")
    with held_alone(folder.parent / ".compact.lock", taken):
        yield


def swap_folders(staged: Path, folder: Path) -> None:
    """Put `staged` in the place of `folder` in one step; afterwards `staged` is the old one.

    Where the file system can't exchange two folders, there is an instant without any: a reader may find
    nothing then, but never old and new together.
    """
    if not _exchange(staged, folder):
        following, old = folder.parent / NEXT, folder.parent / ".catalog-old"
        staged.rename(following)
        folder.rename(old)
        following.rename(folder)
        old.rename(staged)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Bring a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, path) from error


def _exchange(one: Path, other: Path) -> bool:
    system = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(system, "renameat2"):
        failed = system.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
    elif hasattr(system, "renamex_np"):
        failed = system.renamex_np(names[0], names[1], _EXCHANGE)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise storage_error(OSError(number, os.strerror(number)), other)
