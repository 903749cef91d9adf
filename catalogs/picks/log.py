"""The log of picks: people's picks, stars and notes on a catalog's images, in OUT/picks.sqlite beside the catalog.

Append-only: events are added and never changed, an undo is one more event. Several processes may write at
once. Nothing of it goes into the image files, whose bytes are signed.
"""

from __future__ import annotations

import getpass
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from json import dumps
from pathlib import Path

from nonesuch.catalogs.picks.events import (
    Action,
    Event,
    Pair,
    PickState,
    checked_id,
    checked_note,
    checked_stars,
    checked_tag,
    checked_who,
    fold,
    live,
)
from nonesuch.catalogs.picks.sqlite_file import FILE, connect_log, make_log, told
from nonesuch.catalogs.storage.parts import catalog_folder
from nonesuch.foundation.errors import InputError, StorageError
from nonesuch.foundation.files import storage_error

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = "id, at, who, act, action, recipe_id, stars, text, loser, undoes"
# An event counts when no undo names it that is not undone itself; nothing lies deeper, see `redo`.
_COUNTS = """NOT EXISTS (SELECT 1 FROM events AS undo WHERE undo.undoes = event.id AND NOT EXISTS
  (SELECT 1 FROM events AS redo WHERE redo.undoes = undo.id))"""
_LAST_ACT = "SELECT act FROM events AS event WHERE who = :who AND {} ORDER BY act DESC LIMIT 1"
_Row = tuple[str, int | None, str | None, str | None, int | None]  # recipe_id, stars, text, loser, undoes


def picks_file(root: Path) -> Path:
    """Where the log of an output folder, or of the catalog folder in it, lies; it need not exist."""
    return catalog_folder(Path(root)).parent / FILE


def open_picks(root: Path, who: str | None = None, *, known: Callable[[str], bool] | None = None) -> PickLog:
    """The log of picks of an output folder; the file is made by the first event, not by opening.

    who    whose events are appended; by default the name of the operating system's user
    known  tells whether the catalog has a recipe id; without it every well-formed id is taken

    Raises InputError for a name that can't be one.
    """
    return PickLog(picks_file(root), checked_who(_user() if who is None else who), known)


class PickLog:
    """One person's hand on the log, which all of them share. May be used from several threads.

    Every method raises InputError for what can't be said, CatalogError when the file is not a log of
    picks that this version reads, and StorageError when it can't be written.
    """

    def __init__(self, path: Path, who: str, known: Callable[[str], bool] | None) -> None:
        self.path = path
        self.who = who
        self._known = known
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        self._states: dict[str, PickState] = {}
        self._folded = 0  # the last event that is in _states

    def pick(self, ids: str | Iterable[str]) -> list[Event]:
        """Pick one image, or several in one act."""
        return self._say("pick", ids)

    def reject(self, ids: str | Iterable[str]) -> list[Event]:
        """Reject one image, or several in one act."""
        return self._say("reject", ids)

    def clear(self, ids: str | Iterable[str]) -> list[Event]:
        """Take verdict and stars away; tags and note stay."""
        return self._say("clear", ids)

    def stars(self, ids: str | Iterable[str], stars: int) -> list[Event]:
        """Give 1 to 5 stars."""
        return self._say("stars", ids, stars=checked_stars(stars))

    def tag(self, ids: str | Iterable[str], name: str) -> list[Event]:
        """Put a tag on."""
        return self._say("tag", ids, text=checked_tag(name))

    def untag(self, ids: str | Iterable[str], name: str) -> list[Event]:
        """Take a tag away."""
        return self._say("untag", ids, text=checked_tag(name))

    def note(self, ids: str | Iterable[str], text: str) -> list[Event]:
        """Write the note, in place of an older one; an empty one takes it away."""
        return self._say("note", ids, text=checked_note(text))

    def compare(self, winner: str, loser: str) -> Event:
        """Say that `winner` is the better one of two."""
        if winner == loser:
            raise InputError("an image can't be compared with itself", where=winner[:16])
        self._check([loser])
        return self._say("compare", winner, loser=loser)[0]

    def undo(self) -> Event | None:
        """Take this person's last act that counts back; None when there is none.

        Again and again it goes further back. Returns the first event it appended, whose `recipe_id` is the
        image and `undoes` the event; an act on several images is taken back whole.
        """
        return self._take_back(f"action <> 'undo' AND {_COUNTS}")

    def redo(self) -> Event | None:
        """Take this person's last undo back; None when there is none since the last act of another kind."""
        since = _LAST_ACT.format("action <> 'undo'")
        # The undo of an undo is itself no step to go back to: undo goes back to what it brought back.
        of_undo = "(SELECT action FROM events AS old WHERE old.id = event.undoes) = 'undo'"
        return self._take_back(f"action = 'undo' AND NOT {of_undo} AND act > ({since}) AND {_COUNTS}")

    def states(self, ids: Iterable[str] | None = None, *, who: str | None = None) -> dict[str, PickState]:
        """What is said of those images, or of all; images of which nothing is said are left out.

        who  counts only that person's events
        """
        with self._lock:
            if ids is not None or who is not None:
                return _added_up(self._about(None if ids is None else list(ids), who))
            newer = self.events(since=self._folded)
            if newer:
                touched = {event.recipe_id for event in newer}
                fresh = _added_up(self._about(list(touched)) if self._folded else newer)
                for recipe_id in touched - set(fresh):
                    self._states.pop(recipe_id, None)
                self._states |= fresh
                self._folded = newer[-1].id
            return dict(self._states)

    def events(self, since: int = 0) -> list[Event]:
        """The events after the one of that id, in order, undone ones and undos among them."""
        return self._read(f"SELECT {_COLUMNS} FROM events WHERE id > ? ORDER BY id", (since,))

    def last_event(self) -> int:
        """The id of the newest event, 0 when there is none: another number means that something was said."""
        with self._lock, self._telling():
            connection = self._open()
            row = connection and connection.execute("SELECT max(id) FROM events").fetchone()
            return int(row[0] or 0) if row else 0

    def pairs(self) -> list[Pair]:
        """The comparisons that count, in order."""
        sql = f"SELECT {_COLUMNS} FROM events WHERE action IN ('compare', 'undo') ORDER BY id"
        return [
            Pair(event.recipe_id, event.loser or "", event.who, event.when) for event in live(self._read(sql))
        ]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = self._inode = None

    def _say(
        self,
        action: Action,
        ids: str | Iterable[str],
        *,
        stars: int | None = None,
        text: str | None = None,
        loser: str | None = None,
    ) -> list[Event]:
        wanted = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        self._check(wanted)
        if not wanted:
            return []
        with self._writing() as connection:
            return self._append(connection, action, [(i, stars, text, loser, None) for i in wanted])

    def _check(self, ids: Iterable[str]) -> None:
        for recipe_id in ids:
            checked_id(recipe_id)
            if self._known is not None and not self._known(recipe_id):
                raise InputError("the catalog has no image with this recipe id", where=recipe_id)

    def _take_back(self, which: str) -> Event | None:
        with self._writing() as connection:
            found = connection.execute(
                f"SELECT recipe_id, id FROM events WHERE who = :who AND act = ({_LAST_ACT.format(which)}) ORDER BY id",
                {"who": self.who},
            ).fetchall()
            rows: list[_Row] = [(recipe_id, None, None, None, event) for recipe_id, event in found]
            return self._append(connection, "undo", rows)[0] if rows else None

    def _append(self, connection: sqlite3.Connection, action: Action, rows: list[_Row]) -> list[Event]:
        now = datetime.now(UTC)
        at = (now - _EPOCH) // timedelta(microseconds=1)
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        act = int(last) + 1
        events = [Event(act + place, now, self.who, act, action, *row) for place, row in enumerate(rows)]
        connection.executemany(
            f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(e.id, at, e.who, e.act, e.action, *row) for e, row in zip(events, rows, strict=True)],
        )
        return events

    def _about(self, ids: list[str] | None, who: str | None = None) -> list[Event]:
        conditions, values = ["true"], list[str | int]()
        if ids is not None:
            conditions.append("recipe_id IN (SELECT value FROM json_each(?))")
            values.append(dumps(ids))
        if who is not None:
            conditions.append("who = ?")
            values.append(who)
        sql = f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} ORDER BY id"
        return self._read(sql, tuple(values))

    def _read(self, sql: str, values: tuple[str | int, ...] = ()) -> list[Event]:
        with self._lock, self._telling():
            connection = self._open()
            rows = connection.execute(sql, values).fetchall() if connection else []
        return [Event(event, _EPOCH + timedelta(microseconds=at), *rest) for event, at, *rest in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._telling():
            connection = self._open() or self._made()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _open(self) -> sqlite3.Connection | None:
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            self._forget()
            return None
        inode = (stat.st_dev, stat.st_ino)
        if self._connection is None or self._inode != inode:
            self._forget()  # the file was put in another one's place
            self._connection, self._inode = connect_log(self.path), inode
        return self._connection

    def _made(self) -> sqlite3.Connection:
        make_log(self.path)
        connection = self._open()
        if connection is None:
            raise StorageError("vanished while it was made", where=str(self.path))
        return connection

    def _forget(self) -> None:
        self.close()
        self._states, self._folded = {}, 0

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise told(error, self.path) from error
        except OSError as error:
            raise storage_error(error, self.path) from error


def _added_up(events: list[Event]) -> dict[str, PickState]:
    by_image: dict[str, list[Event]] = {}
    for event in live(events):
        by_image.setdefault(event.recipe_id, []).append(event)
    states = {recipe_id: fold(said) for recipe_id, said in by_image.items()}
    return {recipe_id: state for recipe_id, state in states.items() if state is not None}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return f"user {os.getuid()}"
