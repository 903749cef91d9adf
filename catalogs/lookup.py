"""Finding the rows of one image: by recipe id, watermark, digest or perceptual hash.

Each function returns plain mappings, column name to Python value, without the embedding.
"""

from __future__ import annotations

import re
from typing import Any

from catalogs.query import Catalog
from foundation.errors import InputError

Row = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]+")


def by_recipe(catalog: Catalog, prefix: str) -> list[Row]:
    """The rows whose recipe id begins with those hex digits. Raises InputError for fewer than 4 or no hex."""
    wanted = _hex(prefix, "recipe id")
    if len(wanted) < 4:
        raise InputError(f"{prefix!r} is too short for a recipe id", hint="Give at least 4 hex digits.")
    if len(wanted) == 64:
        return _rows(catalog, f"recipe_id = '{wanted}'")
    return _rows(catalog, f"recipe_id >= '{wanted}' AND recipe_id < '{wanted}g'")


def by_watermark(catalog: Catalog, payload: int) -> list[Row]:
    """The rows whose image carries that 64-bit watermark payload; none for 0, which marks nothing."""
    if not 0 < payload < 2**64:
        return []
    return _rows(catalog, f"watermark_id = {payload}::UBIGINT")


def by_digest(catalog: Catalog, sha256: str) -> list[Row]:
    """The rows of the file with that SHA-256, 64 hex digits."""
    return _rows(catalog, f"sha256 = '{_hex(sha256, 'digest')}'")


def by_phash(catalog: Catalog, phash: int, *, max_distance: int = 8, top: int = 20) -> list[Row]:
    """The rows whose phash differs in at most `max_distance` bits, nearest first, with `distance`."""
    if not 0 < phash < 2**64:
        return []
    away = f"bit_count(xor(phash, {phash}::UBIGINT))"
    found = _rows(catalog, f"phash <> 0 AND {away} <= {int(max_distance)}", order=f"{away} ASC", top=top)
    return [{**row, "distance": (row["phash"] ^ phash).bit_count()} for row in found]


def _rows(catalog: Catalog, where: str, *, order: str | None = None, top: int = 1000) -> list[Row]:
    rows: list[Row] = catalog.query(where, order=order, top=top, as_arrow=True).to_pylist()
    return rows


def _hex(text: str, what: str) -> str:
    wanted = text.strip().lower()
    if not _HEX.fullmatch(wanted) or len(wanted) > 64:
        raise InputError(f"{text!r} is not a {what}", hint="Give hex digits, at most 64.")
    return wanted
