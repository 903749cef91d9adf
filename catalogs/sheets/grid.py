"""The X/Y grid of two facets: one image per pair of values, on as many tiles as necessary."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from nonesuch.catalogs.sheets.captions import MAX_SIDE, caption_lines, mappings, write_captions
from nonesuch.catalogs.sheets.typeset import (
    GAP,
    HOLE,
    INK,
    MARGIN,
    PAPER,
    Look,
    font_for,
    paste,
    shown,
    title_height,
    write,
    write_title,
)
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Cells:
    """The first row of each pair of values; values are sorted, numbers before text."""

    across: Sequence[Any]
    down: Sequence[Any]
    rows: Mapping[tuple[Any, Any], Mapping[str, Any]]  # by (across, down)


def grid_cells(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> Cells:
    """Which row each cell shows. Raises InputError for columns that the rows don't have."""
    for name in (x, y):
        if not rows or name not in rows[0]:
            raise InputError(
                f"the rows have no column {name!r}", hint="Name two columns of the query's result."
            )
    first: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault((row[x], row[y]), row)
    across = sorted({key[0] for key in first}, key=_sort_key)
    down = sorted({key[1] for key in first}, key=_sort_key)
    return Cells(across, down, first)


def grid_pages(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    *,
    x: str,
    y: str,
    thumb: int = 160,
    captions: Sequence[str] = (),
    title: str = "",
    limit: int | None = None,
) -> Iterator[Image.Image]:
    """The grid of the columns `x` (across) and `y` (down) in tiles, RGB, no side of which passes MAX_SIDE.

    Each cell shows the first row of its pair: order the rows by a score to see the best of each. Pairs without
    an image stay grey. Tiles follow one another across, then down, each with its own heads; one is in memory at
    a time, and `limit` ends them early. Raises InputError for unknown columns.
    """
    look = Look(thumb=thumb)
    listed = mappings(rows)
    cells = grid_cells(listed, x, y)
    lines = caption_lines(listed, captions)
    cell = thumb + (look.text // 2 + len(lines) * look.line if lines else 0)
    head = (title_height(look) if title else 0) + look.line * 2
    left = min(220, 16 + max(int(font_for(look.text, str(v)).getlength(shown(v))) for v in cells.down))
    columns = max(1, (MAX_SIDE - 2 * MARGIN - left + GAP) // (thumb + GAP))
    lines_on_tile = max(1, (MAX_SIDE - 2 * MARGIN - head + GAP) // (cell + GAP))
    tiles = [
        (cells.across[right : right + columns], cells.down[below : below + lines_on_tile])
        for below in range(0, len(cells.down), lines_on_tile)
        for right in range(0, len(cells.across), columns)
    ]
    for number, (across, down) in enumerate(tiles[:limit], start=1):
        width = 2 * MARGIN + left + len(across) * (thumb + GAP) - GAP
        height = 2 * MARGIN + head + len(down) * (cell + GAP) - GAP
        canvas = Image.new("RGB", (width, height), PAPER)
        if title:
            write_title(canvas, title if len(tiles) == 1 else f"{title} ({number} of {len(tiles)})", look)
        for place, value in enumerate(across):
            at = (MARGIN + left + place * (thumb + GAP), MARGIN + head - look.line * 2)
            write(canvas, at, shown(value), look.text, INK, thumb, centre=True)
        for line, value in enumerate(down):
            cell_y = MARGIN + head + line * (cell + GAP)
            write(canvas, (MARGIN, cell_y + thumb // 2 - look.text), shown(value), look.text, INK, left - 12)
            for place, other in enumerate(across):
                at = (MARGIN + left + place * (thumb + GAP), cell_y)
                found = cells.rows.get((other, value))
                if found is None:
                    ImageDraw.Draw(canvas).rectangle((*at, at[0] + thumb - 1, at[1] + thumb - 1), HOLE)
                    continue
                paste(canvas, at, found, image_root, look)
                write_captions(canvas, (at[0], at[1] + thumb + look.text // 2), found, lines, look)
        yield canvas


def xy_grid(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    *,
    x: str,
    y: str,
    thumb: int = 160,
    captions: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """grid_pages as a single image. Raises InputError when it would pass MAX_SIDE."""
    pages = list(grid_pages(rows, image_root, x=x, y=y, thumb=thumb, captions=captions, title=title, limit=2))
    if len(pages) > 1:
        raise InputError(
            "the grid is too large for one image", hint="Use smaller images, fewer values, or grid_pages."
        )
    return pages[0]


def _sort_key(value: Any) -> tuple[bool, Any]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True, "\U0010ffff"  # after every word
    return isinstance(value, str), value
