"""Finding the rows of one image: by recipe id, watermark, digest, manifest id or perceptual hash.

Each function returns plain mappings, column name to Python value, without the embedding. Merged parts are
asked through their indexes, the others are scanned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.engine import Session, parquet_source
from nonesuch.catalogs.search.expressions import Where
from nonesuch.catalogs.search.fetching import Places, fetch, matching_numbers
from nonesuch.catalogs.search.hashes import NAMES, distances
from nonesuch.catalogs.storage.indexes import MANIFEST_ID, raw_hashes, sorted_keys
from nonesuch.foundation.errors import InputError

Row = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]+")
_MOST = 1000  # rows that one look-up returns at most


def by_recipe(catalog: Catalog, prefix: str, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows whose recipe id begins with those hex digits. Raises InputError for fewer than 4 or no hex.

    Here and below, `columns` names what is wanted of a row, by default all but the embedding: fewer are faster.
    """
    wanted = _hex(prefix, "recipe id")
    if len(wanted) < 4:
        raise InputError(f"{prefix!r} is too short for a recipe id", hint="Give at least 4 hex digits.")
    where = f"recipe_id >= '{wanted}' AND recipe_id < '{wanted}g'"
    return _by_key(
        catalog, "recipe_id", *_key_range(wanted), where, lambda v: str(v).startswith(wanted), columns
    )


def by_watermark(catalog: Catalog, payload: int, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows whose image carries that 64-bit watermark payload; none for 0, which marks nothing."""
    if not 0 < payload < 2**64:
        return []
    where = f"watermark_id = {payload}::UBIGINT"
    return _by_key(catalog, "watermark_id", payload, payload, where, lambda value: value == payload, columns)


def by_digest(catalog: Catalog, sha256: str, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows of the file with that SHA-256, 64 hex digits."""
    wanted = _hex(sha256, "digest")
    if len(wanted) != 64:
        raise InputError(f"{sha256!r} is not a digest", hint="Give all 64 hex digits.")
    where = f"sha256 = '{wanted}'"
    return _by_key(catalog, "sha256", *_key_range(wanted), where, lambda value: value == wanted, columns)


def by_manifest(catalog: Catalog, manifest_id: str) -> list[Row]:
    """The rows whose active manifest has that id."""
    if not re.fullmatch(MANIFEST_ID, manifest_id):
        return []  # no manifest of a catalog is called so
    key = int(manifest_id[9:27].replace("-", ""), 16)
    where = f"manifest_id = '{manifest_id}'"
    return _by_key(catalog, "manifest_id", key, key, where, lambda value: value == manifest_id)


def by_phash(
    catalog: Catalog,
    phash: int,
    *,
    max_distance: int = 8,
    top: int = 20,
    columns: Sequence[str] | None = None,
    where: Where = None,
) -> list[Row]:
    """The rows whose phash differs in at most `max_distance` bits, nearest first, with `distance`.

    where   only among the rows that meet this condition, or all of several
    """
    if not 0 < phash < 2**64:
        return []
    condition = None if where is None else catalog.condition(where)

    def work(session: Session) -> list[Row]:
        files: list[str] = []
        numbers: list[int] = []
        away: list[int] = []
        for part in session.files[1:]:
            hashes = catalog.indexes.get(part, "phash", raw_hashes)
            if hashes is not None:
                bits = distances(hashes, phash)
                near = np.flatnonzero((bits <= max_distance) & (hashes != 0))
                files += [part] * len(near)
                numbers += near.tolist()
                away += bits[near].tolist()
        loose = catalog.indexes.without(session.files[1:], "phash", raw_hashes)
        if loose:
            bits_sql = f"bit_count(xor(phash, {phash}::UBIGINT))"
            found = session.sql(
                f"SELECT filename, file_row_number, {bits_sql} AS away FROM "
                f"{parquet_source([session.files[0], *loose])} "
                f"WHERE phash <> 0 AND {bits_sql} <= {int(max_distance)}"
            )
            files += found["filename"].to_pylist()
            numbers += found["file_row_number"].to_pylist()
            away += found["away"].to_pylist()
        chosen: Iterable[int] = range(len(files))
        if condition is not None:
            meeting = {
                part: set(rows.tolist()) for part, rows in matching_numbers(session, condition).items()
            }
            chosen = [i for i in chosen if numbers[i] in meeting.get(files[i], ())]
        best = sorted(chosen, key=lambda i: (away[i], files[i], numbers[i]))[:top]
        places = Places([files[i] for i in best], [numbers[i] for i in best])
        rows = _plain(catalog, session, places, columns)
        return [{**row, "distance": away[i]} for row, i in zip(rows, best, strict=True)]

    return catalog.engine.read(work)


def _by_key(
    catalog: Catalog,
    column: str,
    low: int,
    high: int,
    where: str,
    fits: Callable[[Any], bool],
    columns: Sequence[str] | None = None,
) -> list[Row]:
    def keys(part: Path) -> Any:
        return sorted_keys(part, column)

    def work(session: Session) -> list[Row]:
        files: list[str] = []
        numbers: list[int] = []
        for part in session.files[1:]:
            index = catalog.indexes.get(part, column, keys)
            if index is not None:
                found = index.find(low, high)[:_MOST].tolist()
                files += [part] * len(found)
                numbers += found
        loose = catalog.indexes.without(session.files[1:], column, keys)
        if loose:
            source = parquet_source([session.files[0], *loose])
            scanned = session.sql(
                f"SELECT filename, file_row_number FROM {source} WHERE {where} LIMIT {_MOST}"
            )
            files += scanned["filename"].to_pylist()
            numbers += scanned["file_row_number"].to_pylist()
        if not files:
            return []
        places = Places(files[:_MOST], numbers[:_MOST])
        rows = _plain(catalog, session, places, None if columns is None else [*columns, column])
        return [row for row in rows if fits(row[column])]  # an index holds only 64 bits of a key

    return catalog.engine.read(work)


def _plain(
    catalog: Catalog, session: Session, places: Places, columns: Sequence[str] | None = None
) -> list[Row]:
    wanted = list(dict.fromkeys(catalog.column_names(columns)))
    rows: list[Row] = fetch(session, places, wanted, as_stored=False).to_pylist()
    numbers = [name for name in ("watermark_id", *NAMES) if rows and name in rows[0]]
    return [row | {name: row[name] or 0 for name in numbers} for row in rows]


def _key_range(digits: str) -> tuple[int, int]:
    head = digits[:16]
    return int(head.ljust(16, "0"), 16), int(head.ljust(16, "f"), 16)


def _hex(text: str, what: str) -> str:
    wanted = text.strip().lower()
    if not _HEX.fullmatch(wanted) or len(wanted) > 64:
        raise InputError(f"{text!r} is not a {what}", hint="Give hex digits, at most 64.")
    return wanted
