"""Contact sheets: many images on one page with captions.

Pages are cut so that no side passes MAX_SIDE, which image formats and viewers still take.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from nonesuch.catalogs.sheets.captions import MAX_SIDE, caption_lines, mappings, write_captions
from nonesuch.catalogs.sheets.typeset import (
    GAP,
    MARGIN,
    PAPER,
    Look,
    paste,
    title_height,
    write_title,
)
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.files import atomic_write

if TYPE_CHECKING:
    import pandas


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
    listed = mappings(rows)
    if not listed:
        raise InputError("there are no images to put on a sheet", hint="Check the query's conditions.")
    lines = caption_lines(listed, captions)
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
            write_captions(canvas, (x, y + thumb + look.text // 2), row, lines, look)
        yield canvas


def write_sheet(
    rows: pandas.DataFrame | Sequence[Mapping[str, Any]],
    image_root: Path,
    out: Path,
    *,
    facets: Sequence[str] = (),
    grid: tuple[str, str] | None = None,
    title: str = "",
) -> list[Path]:
    """Write a contact sheet, or with `grid` = (rows, columns) the grid of two facets; returns the files.

    A name that ends in .html makes one self-contained file; .png makes as many pages as no side passes
    MAX_SIDE: out.png when one is enough, else out-1.png, out-2.png, … Captions are the facets that are not
    the grid's axes, and the aesthetic and alignment scores where there are any.
    """
    suffix = out.suffix.lower()
    if suffix not in (".png", ".html"):
        raise InputError(
            "a sheet is written as PNG or HTML",
            where=str(out),
            hint="Give a name that ends in .png or .html.",
        )
    listed = mappings(rows)
    known = listed[0] if listed else {}
    scores = [name for name in ("aesthetic", "alignment") if name in known]
    captions = [name for name in [*facets, *scores] if name in known and name not in (grid or ())]
    if suffix == ".html":
        from nonesuch.catalogs.sheets.html import write_html

        write_html(listed, image_root, out, captions=captions, grid=grid, title=title)
        return [out]
    if grid is not None:
        from nonesuch.catalogs.sheets.grid import grid_pages

        pages = grid_pages(listed, image_root, x=grid[1], y=grid[0], captions=captions, title=title)
    else:
        pages = sheet_pages(listed, image_root, captions=captions, title=title)
    return _write_pages(pages, out)


def _write_pages(pages: Iterator[Image.Image], out: Path) -> list[Path]:
    written: list[Path] = []
    for number, page in enumerate(pages, start=1):
        if number == 2:  # the first one is known not to be alone only now
            written[0] = out.rename(out.with_name(f"{out.stem}-1{out.suffix}"))
        path = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
        packed = io.BytesIO()
        page.save(packed, "PNG")
        atomic_write(path, packed.getvalue())
        written.append(path)
    return written
