"""Pages by key: a page begins after the last image of the previous one, wherever that image is by then.

An order is (column, place in the plan, recipe id). The id makes it total, but is slow to read for a million rows;
it is read for all only when the other two leave ties.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import literal
from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.filter_columns import PLAN, Columns, Kind, Scalar, key_sql, scalar_sql
from nonesuch.web.gallery.view import View, checked_recipe

CHUNK = 2000  # places that one statement finds, and that the pages after it are cut from
_PLAN = f"coalesce({PLAN}, -1)"
_MAX_CURSOR = 4000  # characters


@dataclass(frozen=True, slots=True)
class Key:
    """Where an image stands in an order."""

    value: Scalar | None  # of the order's column; None comes last
    plan: int
    recipe_id: str


@dataclass(frozen=True, slots=True)
class Place:
    """One row found: its key, the id only where ties made it necessary, and its location."""

    value: Scalar | None
    plan: int
    recipe_id: str | None
    file: str
    number: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive places of one order. Unless it is `exact`, no two have the same value and plan."""

    places: Sequence[Place]
    last: bool  # whether the order ends with it
    exact: bool  # whether ties were put in order by recipe id
    index: dict[tuple[str, int, str | None], int] = field(repr=False)  # position of each place

    def at(self, key: Key) -> int | None:
        """The position of the place with that key, None when it is not in this chunk."""
        return self.index.get(_token(key.value, key.plan, key.recipe_id if self.exact else None))


def encode(key: Key) -> str:
    """A key for an address."""
    text = json.dumps([key.value, key.plan, key.recipe_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str, kind: Kind) -> Key:
    """The key that encode wrote, of an order by a column of that kind. Raises InputError for anything else."""
    try:
        if len(text) > _MAX_CURSOR:
            raise ValueError
        padded = text + "=" * (-len(text) % 4)
        value, plan, recipe_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        checked_recipe(recipe_id)
        wanted: tuple[type, ...] = (str,) if kind == "text" else (int, float) if "float" in kind else (int,)
        if not (value is None or type(value) in wanted) or type(plan) is not int:
            raise ValueError
        if any(type(one) is int and not -(2**63) <= one < 2**63 for one in (value, plan)):
            raise ValueError
    except (ValueError, TypeError, binascii.Error, RecursionError) as error:
        raise InputError("this address does not name a place in the order", where="after") from error
    return Key(value, plan, recipe_id)


def find(
    session: Session,
    view: View,
    columns: Columns,
    where: str,
    key: Key | None,
    *,
    backwards: bool = False,
    limit: int = CHUNK,
) -> Chunk:
    """The first places after `key`, or with `backwards` those before it, nearest first.

    Unless the chunk is `exact`, an image with the key's value and plan may come first, also the key's own: ids
    were not read.
    """
    for exact in (False, True):
        places = _places(session, session.sql(_sql(view, columns, where, key, backwards, exact, limit + 1)))
        index = {_token(p.value, p.plan, p.recipe_id): at for at, p in enumerate(places[:limit])}
        tied = len({(token[0], token[1]) for token in index}) < min(len(places), limit)
        if exact or not (tied or _same(places[limit - 1 :])):
            break
    return Chunk(places[:limit], len(places) <= limit, exact, index)


def _sql(
    view: View, columns: Columns, where: str, key: Key | None, backwards: bool, exact: bool, limit: int
) -> str:
    kind = columns.kinds[view.order]
    column = key_sql(view.order, kind)
    falling = view.down != backwards
    order = [
        f"{column} {'DESC' if falling else 'ASC'} NULLS {'FIRST' if backwards else 'LAST'}",
        f"{_PLAN} {'DESC' if backwards else 'ASC'}",
    ]
    if exact:
        order.append(f"recipe_id {'DESC' if backwards else 'ASC'}")
    behind = "" if key is None else f" AND {_behind(column, kind, key, falling, backwards, exact)}"
    return (
        f"SELECT file_index, file_row_number, {column} AS value, {_PLAN} AS plan, "
        f"{'recipe_id' if exact else 'NULL'} AS id FROM {{catalog}} "
        f"WHERE {where}{behind} ORDER BY {', '.join(order)} LIMIT {int(limit)}"
    )


def _behind(column: str, kind: Kind, key: Key, falling: bool, backwards: bool, exact: bool) -> str:
    """Whether a row comes after the key; without `exact`, so does a row with the key's value and plan."""
    sign = "<" if backwards else ">"
    tie = f"{_PLAN} {sign}= {int(key.plan)}"
    if exact:
        same = f"{_PLAN} = {int(key.plan)} AND recipe_id {sign} {literal(key.recipe_id)}"
        tie = f"({_PLAN} {sign} {int(key.plan)} OR ({same}))"
    if key.value is None:
        return f"({column} IS NOT NULL OR {tie})" if backwards else f"({column} IS NULL AND {tie})"
    value = scalar_sql(kind, key.value)
    beyond = f"{column} {'<' if falling else '>'} {value} OR ({column} = {value} AND {tie})"
    return f"({beyond})" if backwards else f"({beyond} OR {column} IS NULL)"


def _places(session: Session, table: Any) -> list[Place]:
    columns = (table[name].to_pylist() for name in ("value", "plan", "id", "file_index", "file_row_number"))
    return [
        Place(value, int(plan), recipe_id, session.files[file], int(number))
        for value, plan, recipe_id, file, number in zip(*columns, strict=True)
    ]


def _token(value: Scalar | None, plan: int, recipe_id: str | None) -> tuple[str, int, str | None]:
    return repr(value), plan, recipe_id  # as text, NaN equals itself


def _same(pair: Sequence[Place]) -> bool:
    """Whether the last place of a chunk and the first one after it are tied."""
    return len({(repr(place.value), place.plan) for place in pair}) < len(pair)
