"""Files that appear whole or not at all, their digests, and the per-user folders."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from nonesuch.foundation.errors import NonesuchError, StorageError

AnyPath: TypeAlias = str | os.PathLike[str]
"""A path as people write it: what the public functions take."""

_BLOCK = 1 << 20  # bytes read at a time when hashing
_FEW_INODES = 1000  # one in so many is left: others may free some while a write fails
_SOME_ROOM = 1 << 20  # bytes; with less left, the disk is full whatever else it lacks


def atomic_write(
    path: Path, data: bytes, *, mode: int = 0o644, scratch: Path | None = None, flush: bool = True
) -> None:
    """Write `data` to a temporary file, flush it to disk and rename it onto `path`.

    A reader sees the old file or the whole new one, also after a crash. Many files that count only together
    are written without `flush` and then given to `flush_files`: until then a power cut may take them. The
    temporary file lies in `scratch`, a folder on the same file system, or else beside `path`; a killed process
    leaves it there. Raises StorageError for a full disk or an unwritable folder.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=scratch or path.parent, prefix=f".{path.name[:40]}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        told = storage_error(error, path)  # before the file goes and there is room again
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise told from error


def flush_files(folder: Path, files: Iterable[Path]) -> None:
    """Flush to disk what was written of `files`, all on the file system of `folder`.

    In one step where the system has one (Linux's syncfs), since a flush for each file waits for the disk as many times.
    Raises StorageError when the disk has lost some of it.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            if _syncfs is None:
                for path in files:
                    _flush_file(path)
            elif _syncfs(handle):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
        finally:
            os.close(handle)
    except OSError as error:
        raise storage_error(error, folder) from error


_syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def _flush_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(error: OSError, path: Path) -> StorageError:
    """The StorageError that tells a person what an OSError on `path` means and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        message, hint = _why_full(error.errno, path)
        return StorageError(message, where=str(path), hint=hint)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            "can't be written",
            where=str(path),
            hint="Choose another folder or change its permissions.",
        )
    return StorageError(error.strerror or str(error), where=str(path))


def _why_full(code: int, path: Path) -> tuple[str, str]:
    """What ran out on the file system of `path`, and what to do: quota, inodes or space."""
    if code == errno.EDQUOT:
        return (
            "your disk quota is used up",
            "Delete files of yours there or ask for a larger quota (`quota -s` shows it), then run the command again.",
        )
    folder = next((one for one in (path, *path.parents) if one.exists()), Path())
    try:
        facts = os.statvfs(folder)
    except OSError:
        facts = None
    free = 0 if facts is None else facts.f_bavail * facts.f_frsize
    # f_files is 0 on file systems that don't count inodes, such as btrfs
    if (
        facts is not None
        and facts.f_files
        and facts.f_favail <= facts.f_files // _FEW_INODES
        and free > _SOME_ROOM
    ):
        return (
            f"the file system has no inodes left: it can't hold one more file, although {free:,} bytes are free",
            "Delete or pack folders of many small files there (`df -i` shows it), then run the command again.",
        )
    return "the disk is full", "Free some space and run the command again."


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 lower-case hex digits, read in constant memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def config_dir() -> Path:
    """Where keys and settings live: $NONESUCH_HOME, else $XDG_CONFIG_HOME/nonesuch, else ~/.config/nonesuch."""
    home = os.environ.get("NONESUCH_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "nonesuch"


def cache_dir() -> Path:
    """Where fetched weights and derived files live: $NONESUCH_CACHE, else $XDG_CACHE_HOME/nonesuch, else ~/.cache/nonesuch."""
    cache = os.environ.get("NONESUCH_CACHE")
    if cache:
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nonesuch"


@contextmanager
def held_alone(lock: Path, taken: NonesuchError, *, mode: int = 0o644) -> Iterator[None]:
    """Hold a lock file alone (flock) for the length of the block; it is made where it is missing.

    The lock is the operating system's, so it goes with the process however that ends. Raises `taken` where another
    process holds it, StorageError where it can't be written or the file system knows no locks.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, mode)
    except OSError as error:
        raise storage_error(error, lock.parent) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise taken from error
        except OSError as error:
            raise storage_error(error, lock) from error
        yield
    finally:
        os.close(handle)


def is_held(lock: Path) -> bool:
    """Whether a living process holds the lock file alone (flock); False when there is no such file."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
