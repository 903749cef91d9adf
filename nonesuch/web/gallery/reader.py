"""The gallery's queries to the catalog: pages, neighbours, ranked lists and single images, with their caches.

Opened once; a part that is added or removed changes the stamp under which answers are cached. Every method may be
called from several threads and raises InputError for invalid queries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nonesuch.catalogs.picks.log import PickLog, open_picks
from nonesuch.catalogs.picks.taste_model import model_file
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.embeddings import embedding_of, most_alike, near_duplicates_of
from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.fetching import Places, fetch
from nonesuch.catalogs.search.lookup import by_recipe
from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.filter_columns import Columns, Scalar, columns_of, key_sql
from nonesuch.web.gallery.kept import Kept
from nonesuch.web.gallery.like_encoder import Encoding
from nonesuch.web.gallery.paging import CHUNK, Chunk, Key, Place, decode, encode, find
from nonesuch.web.gallery.threads import watched
from nonesuch.web.gallery.view import View, conditions, where
from nonesuch.web.upload_limits import Refused

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
PAGE = 60  # images of one page
RANKED = 600  # images of a list by likeness
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TWINS = 200  # near duplicates of one image at most
_SHOWN = ("recipe_id", "prompt", "status", "reason", "width", "height", "file")


@dataclass(frozen=True, slots=True)
class Card:
    """One image on a page."""

    recipe_id: str
    prompt: str
    status: str
    reason: str | None
    width: int  # px; 0 when unknown
    height: int
    file: str | None  # relative to the output folder
    value: Scalar | None  # the value it is ordered by: a column's value, likeness, or bits of difference
    key: Key | None  # its place in the order; None in a ranked list


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive images of a view."""

    cards: Sequence[Card]
    next: str | None  # the cursor of the next page; None at the end


class Gallery:
    """One open catalog; `path` is the output folder. Raises InputError when there is no catalog."""

    def __init__(self, path: Path, *, who: str | None = None) -> None:
        self.catalog = Catalog(path)
        self.log: PickLog = open_picks(self.catalog.folder, who, known=self.knows)
        self.files: Kept[str, str | None] = Kept(50_000)  # file of each recipe id that was shown
        self._columns: tuple[Any, bool, Columns] | None = None
        self._chunks: Kept[Any, Chunk] = Kept(32)
        self._ranked: Kept[Any, Sequence[Card]] = Kept(16)
        self._answers: Kept[Any, Any] = Kept(128)
        self.encoding = Encoding(self.catalog)

    @property
    def folder(self) -> Path:
        """The output folder."""
        return self.catalog.folder

    @property
    def columns(self) -> Columns:
        """What the catalog offers now."""
        schema, trained = self.catalog.schema, model_file(self.folder).exists()
        if self._columns is None or self._columns[0] is not schema or self._columns[1] != trained:
            fields = self.catalog.fields
            if not trained and "taste" not in schema.names:
                fields = fields.remove(fields.get_field_index("taste"))
            self._columns = (schema, trained, columns_of(schema, fields))
        return self._columns[2]

    def knows(self, recipe_id: str) -> bool:
        """Whether the catalog has that image."""
        return self.files.get(recipe_id) is not None or self.row(recipe_id) is not None

    def row(self, recipe_id: str) -> dict[str, Any] | None:
        """Every column of one image but the embedding; None when the catalog does not have it."""
        rows = by_recipe(self.catalog, recipe_id)
        if not rows:
            return None
        # a recipe that two sweeps drew has two rows; the one with an image is shown
        row = min(rows, key=lambda one: one["file"] is None)
        self.files.put(recipe_id, row["file"])
        return row

    def rows(self, recipe_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of those images that the catalog has."""
        return [row for one in recipe_ids if (row := self.row(one)) is not None]

    def page(self, view: View, after: str | None = None, size: int = PAGE) -> Page:
        """The first images of a view, or those after the cursor `after`."""
        columns = self.columns
        if view.ranked:
            cards = self.ranked(view)
            start = 0 if after is None else _rank(after, len(cards))
            end = start + size
            return Page(cards[start:end], str(end) if end < len(cards) else None)
        key = None if after is None else decode(after, columns.kinds[view.order])
        cards = self.behind(view, key, size + 1)
        last = cards[size - 1].key if len(cards) > size else None
        return Page(cards[:size], None if last is None else encode(last))

    def behind(self, view: View, key: Key | None, count: int, *, backwards: bool = False) -> list[Card]:
        """The next `count` images after a key in the view's own order, or before it, nearest first."""
        columns, condition = self.columns, where(conditions(view, self.columns))

        def work(session: Session) -> list[Card]:
            about = (self.stamp(session, view), condition, view.order, view.down)
            need = count + 1  # one may be the key's own
            places = self._kept_places(about, key, need, backwards)
            if places is None:
                limit = need if backwards else CHUNK
                chunk = find(session, view, columns, condition, key, backwards=backwards, limit=limit)
                places = chunk.places[:need]
                if not backwards:
                    self._chunks.put((about, key is None), chunk)
            cards = self._cards(session, places)
            if cards and key is not None and _passed(cards[0], key, backwards):
                cards = cards[1:]
            return cards[:count]

        cards = self.read(work)
        for card in cards:
            self.files.put(card.recipe_id, card.file)
        return cards

    def _kept_places(self, about: Any, key: Key | None, need: int, backwards: bool) -> Sequence[Place] | None:
        """The places at and after a key, or at and before it, from the cache; None when the cache is not enough."""
        for first in (True, False) if key is not None else (True,):
            chunk = self._chunks.get((about, first))
            at = None if chunk is None else 0 if key is None else chunk.at(key)
            if chunk is None or at is None:
                continue
            if backwards and (at + 1 >= need or first):
                return chunk.places[max(0, at + 1 - need) : at + 1][::-1]
            if not backwards and (at + need <= len(chunk.places) or chunk.last):
                return chunk.places[at : at + need]
        return None

    def ranked(self, view: View) -> Sequence[Card]:
        """The list of a view whose order is likeness, the most alike first."""
        condition = where(conditions(view, self.columns))
        stamp = self.read(lambda session: self.stamp(session, view))
        about = (stamp, condition, view.like, view.near, view.twins)
        kept = self._ranked.get(about)
        if kept is not None:
            return kept
        if view.twins:
            cards = self._twins(view.twins, condition)
        else:
            vector = embedding_of(self.catalog, view.near) if view.near else self.encoding.vector(view.like)
            table = most_alike(
                self.catalog, vector, top=RANKED + 1, where=condition, columns=list(_SHOWN), as_arrow=True
            )
            rows = [row for row in table.to_pylist() if row["recipe_id"] != view.near]
            cards = [_card(row, row["likeness"], None) for row in rows[:RANKED]]
        for card in cards:
            self.files.put(card.recipe_id, card.file)
        self._ranked.put(about, cards)
        return cards

    def key_of(self, view: View, row: dict[str, Any]) -> Key:
        """An image's place in a view's order."""
        recipe_id, plan = str(row["recipe_id"]), -1 if row["plan_index"] is None else int(row["plan_index"])
        kind = self.columns.kinds[view.order]
        if view.order in row:
            value = row[view.order]
            if value is not None and kind == "time":
                value = (value - _EPOCH) // timedelta(microseconds=1)
            return Key(int(value) if kind == "bool" and value is not None else value, plan, recipe_id)
        column = key_sql(view.order, kind)  # of a column stored beside the parts
        found = self.read(
            lambda session: session.sql(
                f"SELECT {column} AS value FROM {{catalog}} WHERE recipe_id = '{recipe_id}' LIMIT 1"
            )
        )["value"].to_pylist()
        return Key(found[0] if found else None, plan, recipe_id)

    def neighbours(self, view: View, row: dict[str, Any]) -> tuple[str | None, str | None]:
        """The ids of the images before and after one in a view."""
        if view.ranked:
            ids = [card.recipe_id for card in self.ranked(view)]
            if row["recipe_id"] not in ids:
                return None, ids[0] if ids else None
            at = ids.index(row["recipe_id"])
            return ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None
        key = self.key_of(view, row)
        before, behind = self.behind(view, key, 1, backwards=True), self.behind(view, key, 1)
        return before[0].recipe_id if before else None, behind[0].recipe_id if behind else None

    def answer(self, about: Any, view: View | None, work: Callable[[Session], T]) -> T:
        """What `work` returns for one view of the catalog, cached until the catalog changes."""

        def kept(session: Session) -> T:
            name = (about, self.stamp(session, view))
            found: T | None = self._answers.get(name)
            if found is None:
                found = work(session)
                self._answers.put(name, found)
            return found

        return self.read(kept)

    def keep(self, about: Any, view: View | None, make: Callable[[], T]) -> T:
        """What `make` returns, cached until the catalog changes, for answers that read the catalog themselves."""
        name = (about, self.read(lambda session: self.stamp(session, view)))
        found: T | None = self._answers.get(name)
        if found is None:
            found = make()
            self._answers.put(name, found)
        return found

    def read(self, work: Callable[[Session], T]) -> T:
        """Engine.read, whose queries can be cancelled when nobody waits for them any more."""

        def watchable(session: Session) -> T:
            watched(session)
            return work(session)

        return self.catalog.engine.read(watchable)

    def stamp(self, session: Session, view: View | None) -> Any:
        """What an answer in this session depends on: the parts, and the picks if the view filters by them."""
        stats = [os.stat(file) for file in session.files]
        said = self.log.last_event() if view is not None and view.asks_picks else None
        return hash(tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in stats)), said

    def _cards(self, session: Session, places: Sequence[Place]) -> list[Card]:
        if not places:
            return []
        where_they_are = Places([place.file for place in places], [place.number for place in places])
        table: pa.Table = fetch(session, where_they_are, list(_SHOWN), as_stored=False)
        return [
            _card(row, place.value, Key(place.value, place.plan, row["recipe_id"]))
            for row, place in zip(table.to_pylist(), places, strict=True)
        ]

    def _twins(self, recipe_id: str, condition: str) -> list[Card]:
        found = near_duplicates_of(self.catalog, recipe_id, top=TWINS)
        if not found:
            return []
        listed = ", ".join(f"'{row['recipe_id']}'" for row in found)
        allowed = self.read(
            lambda session: session.sql(
                f"SELECT recipe_id FROM {{catalog}} WHERE recipe_id IN ({listed}) AND {condition}"
            )
        )["recipe_id"].to_pylist()
        return [_card(row, row["distance"], None) for row in found if row["recipe_id"] in set(allowed)]


def _passed(card: Card, key: Key, backwards: bool) -> bool:
    """Whether a card with the key's value and place in the plan does not come after the key."""
    if card.key is None or (repr(card.key.value), card.key.plan) != (repr(key.value), key.plan):
        return False
    return card.recipe_id >= key.recipe_id if backwards else card.recipe_id <= key.recipe_id


def _rank(after: str, most: int) -> int:
    if not after.isascii() or not after.isdigit() or int(after[:9]) > most:
        raise InputError("this address does not name a place in the list", where="after")
    return int(after[:9])


def _card(row: dict[str, Any], value: Scalar | None, key: Key | None) -> Card:
    return Card(
        recipe_id=row["recipe_id"],
        prompt=row["prompt"] or "",
        status=row["status"],
        reason=row["reason"],
        width=row["width"] or 0,
        height=row["height"] or 0,
        file=row["file"],
        value=value,
        key=key,
    )


def found_or_404(row: dict[str, Any] | None) -> dict[str, Any]:
    """The row. Raises Refused 404 when there is none."""
    if row is None:
        raise Refused(404, "the catalog has no image with this id")
    return row
