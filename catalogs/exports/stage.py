"""The staging folder of an export: the export appears whole or not at all; run it again to continue.

Beside PATH lies .PATH.partial while an export runs. The same export started again keeps what is there;
another one begins anew. The folder itself is locked, so the lock goes with the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nonesuch.catalogs.storage.parts import SCHEMA_FILE
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import storage_error

RECORD = "export.json"  # in every export: what it is, and the sign that it may be replaced
_KEY = ".export-key"
_TEMPORARY = ".temporary"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib folds the slashes of a URL into one


class Stage:
    """The files of one export before it is finished; names are relative and use forward slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._number = 0

    def has(self, name: str) -> bool:
        """Whether the file was finished by an earlier start of the same export."""
        return (self.root / name).is_file()

    def put(self, name: str, data: bytes) -> None:
        """Write a file, unless the very same is there."""
        path = self.root / name
        with suppress(OSError):
            if path.stat().st_size == len(data) and path.read_bytes() == data:
                return
        with self.writing(name) as temporary:
            temporary.write_bytes(data)

    @contextmanager
    def writing(self, name: str, *, flush: bool = False) -> Iterator[Path]:
        """A temporary path to write a file to, renamed to `name` at the end; `flush` brings it to disk first."""
        path = self.root / name
        self._number += 1
        temporary = self.root / _TEMPORARY / str(self._number)
        try:
            temporary.parent.mkdir(exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if flush:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise storage_error(error, path) from error

    def spoil(self) -> None:
        """Have the next export begin anew instead of continuing with these files."""
        (self.root / _KEY).unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Every finished file."""
        return [path for path in sorted(self.root.rglob("*")) if path.is_file() and path.name != _KEY]


def check_target(out: Path, *, replace: bool) -> None:
    """Raise InputError when an export must not be put at `out`: a URL, a catalog's folder, a place that is taken."""
    if _SCHEME.match(str(out)):
        raise InputError(
            "an export is written to a folder of this machine, not to a URL",
            where=str(out),
            hint="Choose a folder, then copy it there with the storage's own tool.",
        )
    try:
        output = _output_folder(out.resolve())
        if output is not None:
            raise InputError(
                f"lies in the output folder {output}, whose catalog and images must stay as they are",
                where=str(out),
                hint=f"Choose a folder outside it, for example --out {output.with_name(output.name + '-export')}.",
            )
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
    except OSError as error:
        raise storage_error(error, out) from error
    if replace and _is_export(out):
        return
    if replace:
        hint = "It was not written by an export, so it is left alone: choose another --out."
    elif _is_export(out):
        hint = "Choose another --out, or say --replace to put this export in its place."
    else:
        hint = "Choose another --out."
    raise InputError("is there already", where=str(out), hint=hint)


@contextmanager
def staged(out: Path, key: str, *, replace: bool) -> Iterator[Stage]:
    """A Stage that becomes `out` when the block ends well.

    `key` names the export: a stage left over with the same key is gone on with. Raises InputError when
    `out` is taken, StorageError when it can't be written or another export is writing it.
    """
    check_target(out, replace=replace)
    out = out.resolve()
    root = out.with_name(f".{out.name}.partial")
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise storage_error(error, out) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                "another export is writing here", where=str(out), hint="Wait for it, or choose another --out."
            ) from error
        _prepare(root, key)
        yield Stage(root)
        _finish(root, out, replace)
    except OSError as error:
        raise storage_error(error, out) from error
    finally:
        os.close(lock)


def _prepare(root: Path, key: str) -> None:
    with suppress(FileNotFoundError):
        if (root / _KEY).read_text() == key:
            shutil.rmtree(root / _TEMPORARY, ignore_errors=True)
            return
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (root / _KEY).write_text(key)


def _finish(root: Path, out: Path, replace: bool) -> None:
    shutil.rmtree(root / _TEMPORARY, ignore_errors=True)
    (root / _KEY).unlink()
    os.sync()  # one flush for many small files
    check_target(out, replace=replace)
    old = out.with_name(f".{out.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists() and any(out.iterdir()):
        out.rename(old)
    root.replace(out)
    shutil.rmtree(old, ignore_errors=True)


def _output_folder(out: Path) -> Path | None:
    """The output folder that `out` is or lies in, if any: one with a catalog, or one that a run has begun in."""
    for folder in (out, *out.parents):
        if (folder / ".run.lock").exists() or (folder / "catalog" / SCHEMA_FILE).exists():
            return folder
    return None


def _is_export(out: Path) -> bool:
    try:
        return "nonesuch_export" in json.loads((out / RECORD).read_text())
    except (OSError, ValueError):
        return False
