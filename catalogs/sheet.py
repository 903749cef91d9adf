"""Contact sheets: many images on one page with captions, and the X/Y grid of two facets.

Pages are cut so that no side passes MAX_SIDE, which image formats and viewers still take.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from catalogs.typeset import (
    GAP,
    HOLE,
    INK,
    MARGIN,
    PAPER,
    SOFT,
    Look,
    font_for,
    missing,
    paste,
    shown,
    title_height,
    write,
    write_title,
)
from foundation.errors import InputError
from foundation.files import atomic_write

if TYPE_CHECKING:
    import pandas

MAX_SIDE = 16_000  # pixels of a page; WebP ends at 16,383, JPEG at 65,535


def contact_sheet(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    *,
    columns: int = 6,
    thumb: int = 192,
    captions: Sequence[str] = (),
    title: str = "",
) -> Image.Image:
    """The images of `rows` on one page, RGB, in the order given.

    image_root  the output folder, which each row's `file` is relative to
    captions    columns to print below each image: text as it is, numbers with their name

    An image that is missing or broken leaves a grey field that says so. Raises InputError when the page
    would pass MAX_SIDE (use sheet_pages) or when there are no rows.
    """
    pages = list(
        sheet_pages(rows, image_root, columns=columns, thumb=thumb, captions=captions, title=title, limit=2)
    )
    if len(pages) > 1:
        raise InputError("too many images for one page", hint="Ask for fewer, or write several pages.")
    return pages[0]


def sheet_pages(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    *,
    columns: int = 6,
    thumb: int = 192,
    captions: Sequence[str] = (),
    title: str = "",
    limit: int | None = None,
) -> Iterator[Image.Image]:
    """contact_sheet on as many pages as it takes, one in memory at a time; `limit` ends it early."""
    look = Look(thumb=thumb, columns=columns)
    listed = _mappings(rows)
    if not listed:
        raise InputError("there are no images to put on a sheet", hint="Check the query's conditions.")
    lines = _caption_lines(listed, captions)
    cell = thumb + (look.text // 2 + len(lines) * look.line if lines else 0)
    head = title_height(look) if title else 0
    width = 2 * MARGIN + columns * (thumb + GAP) - GAP
    if width > MAX_SIDE:
        raise InputError(f"a sheet {width} pixels wide", hint="Use fewer columns or smaller images.")
    rows_on_page = max(1, (MAX_SIDE - 2 * MARGIN - head + GAP) // (cell + GAP))
    step = rows_on_page * columns
    count = math.ceil(len(listed) / step)
    for page in range(min(count, limit or count)):
        shown = listed[page * step : (page + 1) * step]
        height = 2 * MARGIN + head + math.ceil(len(shown) / columns) * (cell + GAP) - GAP
        canvas = Image.new("RGB", (width, height), PAPER)
        if title:
            write_title(canvas, title if count == 1 else f"{title} ({page + 1} of {count})", look)
        for place, row in enumerate(shown):
            x = MARGIN + place % columns * (thumb + GAP)
            y = MARGIN + head + place // columns * (cell + GAP)
            paste(canvas, (x, y), row, image_root, look)
            _captions(canvas, (x, y + thumb + look.text // 2), row, lines, look)
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
    """One image for each pair of values of the columns `x` (across) and `y` (down), RGB.

    The first row of each pair is shown: order the rows by a score to see the best of each. Values keep
    the order in which they first appear, sorted; pairs without an image stay grey. Raises InputError
    for unknown columns and for grids past MAX_SIDE.
    """
    look = Look(thumb=thumb)
    listed = _mappings(rows)
    for name in (x, y):
        if not listed or name not in listed[0]:
            raise InputError(
                f"the rows have no column {name!r}", hint="Name two columns of the query's result."
            )
    first: dict[tuple[Any, Any], Mapping[str, Any]] = {}
    for row in listed:
        first.setdefault((row[x], row[y]), row)
    across = sorted({key[0] for key in first}, key=_sort_key)
    down = sorted({key[1] for key in first}, key=_sort_key)
    lines = _caption_lines(listed, captions)
    cell = thumb + (look.text // 2 + len(lines) * look.line if lines else 0)
    head = title_height(look) if title else 0
    left = min(220, 16 + max(int(font_for(look.text, str(v)).getlength(shown(v))) for v in down))
    top = look.line * 2
    width = 2 * MARGIN + left + len(across) * (thumb + GAP) - GAP
    height = 2 * MARGIN + head + top + len(down) * (cell + GAP) - GAP
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"a grid of {len(across)} x {len(down)} images is {width} x {height} pixels",
            hint="Use smaller images or filter the values.",
        )
    canvas = Image.new("RGB", (width, height), PAPER)
    if title:
        write_title(canvas, title, look)
    for column, value in enumerate(across):
        place = (MARGIN + left + column * (thumb + GAP), MARGIN + head)
        write(canvas, place, shown(value), look.text, INK, thumb, centre=True)
    for line, value in enumerate(down):
        cell_y = MARGIN + head + top + line * (cell + GAP)
        write(canvas, (MARGIN, cell_y + thumb // 2 - look.text), shown(value), look.text, INK, left - 12)
        for column, other in enumerate(across):
            cell_x = MARGIN + left + column * (thumb + GAP)
            found = first.get((other, value))
            if found is None:
                ImageDraw.Draw(canvas).rectangle(
                    (cell_x, cell_y, cell_x + thumb - 1, cell_y + thumb - 1), HOLE
                )
                continue
            paste(canvas, (cell_x, cell_y), found, image_root, look)
            _captions(canvas, (cell_x, cell_y + thumb + look.text // 2), found, lines, look)
    return canvas


def write_sheet(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    out: Path,
    *,
    facets: Sequence[str] = (),
    grid: tuple[str, str] | None = None,
    title: str = "",
) -> list[Path]:
    """Write a contact sheet as PNG, or with `grid` = (rows, columns) the grid of two facets; returns the files.

    A sheet of several pages becomes out.png, out-2.png, … Captions are the facets that are not the
    grid's axes, and the aesthetic and alignment scores where there are any.
    """
    if out.suffix.lower() != ".png":
        raise InputError("a sheet is written as PNG", where=str(out), hint="Give a name that ends in .png.")
    listed = _mappings(rows)
    known = listed[0] if listed else {}
    scores = [name for name in ("aesthetic", "alignment") if name in known]
    captions = [name for name in [*facets, *scores] if name in known and name not in (grid or ())]
    if grid is not None:
        pages = iter([xy_grid(listed, image_root, x=grid[1], y=grid[0], captions=captions, title=title)])
    else:
        pages = sheet_pages(listed, image_root, captions=captions, title=title)
    written = []
    for number, page in enumerate(pages, start=1):
        path = out if number == 1 else out.with_name(f"{out.stem}-{number}.png")
        packed = io.BytesIO()
        page.save(packed, "PNG")
        atomic_write(path, packed.getvalue())
        written.append(path)
    return written


def _mappings(rows: Any) -> list[Mapping[str, Any]]:
    if hasattr(rows, "to_dict"):
        records: list[Mapping[str, Any]] = rows.to_dict("records")
        return records
    return list(rows)


def _caption_lines(rows: Sequence[Mapping[str, Any]], captions: Sequence[str]) -> list[list[str]]:
    # Words share the first line, numbers the second.
    for name in captions:
        if name not in rows[0]:
            raise InputError(f"the rows have no column {name!r}", where="captions")
    words = [name for name in captions if any(isinstance(row[name], str) for row in rows[:50])]
    numbers = [name for name in captions if name not in words]
    return [names for names in (words, numbers) if names]


def _captions(
    canvas: Image.Image,
    place: tuple[int, int],
    row: Mapping[str, Any],
    lines: list[list[str]],
    look: Look,
) -> None:
    for number, names in enumerate(lines):
        values = [(name, row[name]) for name in names if not missing(row[name])]
        if any(isinstance(value, str) for _, value in values):
            text, ink = " · ".join(shown(value) for _, value in values), INK
        else:
            text, ink = " · ".join(f"{name} {shown(value)}" for name, value in values), SOFT
        write(canvas, (place[0], place[1] + number * look.line), text, look.text, ink, look.thumb)


def _sort_key(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
