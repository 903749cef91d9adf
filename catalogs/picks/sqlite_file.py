"""The SQLite file of the log of picks: making it, opening it, and what its errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from nonesuch.catalogs.storage.locks import catalog_lock
from nonesuch.catalogs.storage.mirror import ORIGIN
from nonesuch.catalogs.storage.parts import catalog_folder
from nonesuch.foundation.errors import CatalogError, StorageError
from nonesuch.foundation.files import storage_error
from nonesuch.foundation.urls import check_local

FILE = "picks.sqlite"
VERSION = 1  # raised when the table changes
_MARK = 0x6E6F6E65  # "none": SQLite's application id, which tells the file from other databases
_WAIT = 30.0  # seconds that a writer waits for others
_SCHEMA = f"""
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  who TEXT NOT NULL,
  act INTEGER NOT NULL,
  action TEXT NOT NULL CHECK
    (action IN ('pick', 'reject', 'clear', 'stars', 'tag', 'untag', 'note', 'compare', 'undo')),
  recipe_id TEXT NOT NULL,
  stars INTEGER CHECK (stars BETWEEN 1 AND 5),
  text TEXT,
  loser TEXT,
  undoes INTEGER REFERENCES events (id)
) STRICT;
CREATE INDEX of_image ON events (recipe_id);
CREATE INDEX of_person ON events (who, act, action);
CREATE INDEX taken_back ON events (undoes) WHERE undoes IS NOT NULL;
CREATE TRIGGER never_changed BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
PRAGMA application_id = {_MARK};
PRAGMA user_version = {VERSION};
"""


def make_log(path: Path) -> None:
    """Make an empty log at `path` unless one is there, readable by nobody else. Raises InputError for a URL's mirror."""
    origin = path.parent / ORIGIN
    if origin.is_file():
        check_local(origin.read_text("utf-8"))
    # Made aside and renamed, so that no other process ever sees a log without its table.
    with catalog_lock(catalog_folder(path.parent), exclusive=True):
        if path.exists():
            return
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".picks.", suffix=".sqlite")  # mode 0600
        os.close(handle)
        try:
            with closing(sqlite3.connect(name, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            os.replace(name, path)
        finally:
            if os.path.exists(name):
                os.unlink(name)


def connect_log(path: Path) -> sqlite3.Connection:
    """A connection to an existing log, for every thread, in autocommit mode.

    Raises CatalogError when the file is something else or of another version.
    """
    read_only = not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    # Without the right to make the files of the write-ahead log, the database is read as it lies there.
    settled = read_only and not path.with_name(f"{path.name}-wal").exists()
    address = (
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}{'&immutable=1' if settled else ''}"
    )
    connection = sqlite3.connect(
        address, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False
    )
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if mark != _MARK:
            raise CatalogError("is not a log of picks", where=str(path), hint="Move the file away.")
        if version != VERSION:
            raise CatalogError(
                f"is a log of picks of version {version}; this nonesuch reads version {VERSION}",
                where=str(path),
                hint="Use the version of nonesuch that wrote it, or a later one.",
            )
    except BaseException:
        connection.close()
        raise
    return connection


def told(error: sqlite3.Error, path: Path) -> CatalogError | StorageError:
    """The error that tells a person what an error of SQLite on `path` means."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    where = str(path)
    if code == sqlite3.SQLITE_FULL:
        return storage_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageError(
            "can't be written", where=where, hint="Change the permissions of file and folder."
        )
    if code == sqlite3.SQLITE_BUSY:
        return StorageError("is held by another writer", where=where, hint="Try again when it has ended.")
    return CatalogError(f"can't be read as a log of picks ({error})", where=where, hint="Move the file away.")
