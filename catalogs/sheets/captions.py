"""Captions of sheets: their lines, their lengths, and the longest side of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from nonesuch.catalogs.sheets.typeset import (
    INK,
    SOFT,
    Look,
    missing,
    shown,
    write,
)
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    pass


MAX_SIDE = 16_000  # pixels of a page; WebP ends at 16,383, JPEG at 65,535


def mappings(rows: Any) -> list[Mapping[str, Any]]:
    """The rows of a data frame or a sequence as mappings."""
    if hasattr(rows, "to_dict"):
        records: list[Mapping[str, Any]] = rows.to_dict("records")
        return records
    return list(rows)


def caption_lines(rows: Sequence[Mapping[str, Any]], captions: Sequence[str]) -> list[list[str]]:
    """The columns of each caption line. Raises InputError for a column that the rows don't have."""
    for name in captions:
        if name not in rows[0]:
            raise InputError(f"the rows have no column {name!r}", where="captions")
    # Words share the first line, numbers the second.
    words = [name for name in captions if any(isinstance(row[name], str) for row in rows[:50])]
    numbers = [name for name in captions if name not in words]
    return [names for names in (words, numbers) if names]


def write_captions(
    canvas: Image.Image,
    place: tuple[int, int],
    row: Mapping[str, Any],
    lines: list[list[str]],
    look: Look,
) -> None:
    """Write a row's caption lines below its image."""
    for number, names in enumerate(lines):
        values = [(name, row[name]) for name in names if not missing(row[name])]
        if any(isinstance(value, str) for _, value in values):
            text, ink = " · ".join(shown(value) for _, value in values), INK
        else:
            text, ink = " · ".join(f"{name} {shown(value)}" for name, value in values), SOFT
        write(canvas, (place[0], place[1] + number * look.line), text, look.text, ink, look.thumb)
