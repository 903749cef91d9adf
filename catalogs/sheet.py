"""Contact sheets: many images on one page with captions, and the X/Y grid of two facets.

Pages are cut so that no side passes MAX_SIDE, which image formats and viewers still take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from foundation.errors import InputError
from foundation.images import decode_rgb, read_limited

if TYPE_CHECKING:
    import pandas

MAX_SIDE = 16_000  # pixels of a page; WebP ends at 16,383, JPEG at 65,535
_PAPER, _INK, _SOFT, _HOLE = "#ffffff", "#1b1b1b", "#6a6a6a", "#ececec"
_GAP, _MARGIN = 12, 24  # pixels between cells and around the page
_LINE = 1.3  # line height over text size


@dataclass(frozen=True, slots=True)
class Look:
    """Sizes of a sheet in pixels."""

    thumb: int = 192  # longer side of an image
    columns: int = 6  # images in a row
    text: int = 13  # caption size

    def __post_init__(self) -> None:
        if not 16 <= self.thumb <= 2048 or not 1 <= self.columns <= 200 or not 6 <= self.text <= 96:
            raise InputError(
                f"a sheet of {self.columns} columns, {self.thumb}-pixel images and {self.text}-pixel text",
                hint="Columns go from 1 to 200, images from 16 to 2048 pixels, text from 6 to 96.",
            )

    @property
    def line(self) -> int:
        """Height of one caption line."""
        return math.ceil(self.text * _LINE)


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
    head = _title_height(look) if title else 0
    width = 2 * _MARGIN + columns * (thumb + _GAP) - _GAP
    if width > MAX_SIDE:
        raise InputError(f"a sheet {width} pixels wide", hint="Use fewer columns or smaller images.")
    rows_on_page = max(1, (MAX_SIDE - 2 * _MARGIN - head + _GAP) // (cell + _GAP))
    step = rows_on_page * columns
    count = math.ceil(len(listed) / step)
    for page in range(min(count, limit or count)):
        shown = listed[page * step : (page + 1) * step]
        height = 2 * _MARGIN + head + math.ceil(len(shown) / columns) * (cell + _GAP) - _GAP
        canvas = Image.new("RGB", (width, height), _PAPER)
        if title:
            _title(canvas, title if count == 1 else f"{title} ({page + 1} of {count})", look)
        for place, row in enumerate(shown):
            x = _MARGIN + place % columns * (thumb + _GAP)
            y = _MARGIN + head + place // columns * (cell + _GAP)
            _paste(canvas, (x, y), row, image_root, look)
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
    head = _title_height(look) if title else 0
    left = min(220, 16 + max(int(_font(look.text, str(v)).getlength(_text(v))) for v in down))
    top = look.line * 2
    width = 2 * _MARGIN + left + len(across) * (thumb + _GAP) - _GAP
    height = 2 * _MARGIN + head + top + len(down) * (cell + _GAP) - _GAP
    if max(width, height) > MAX_SIDE:
        raise InputError(
            f"a grid of {len(across)} x {len(down)} images is {width} x {height} pixels",
            hint="Use smaller images or filter the values.",
        )
    canvas = Image.new("RGB", (width, height), _PAPER)
    if title:
        _title(canvas, title, look)
    for column, value in enumerate(across):
        place = (_MARGIN + left + column * (thumb + _GAP), _MARGIN + head)
        _write(canvas, place, _text(value), look.text, _INK, thumb, centre=True)
    for line, value in enumerate(down):
        cell_y = _MARGIN + head + top + line * (cell + _GAP)
        _write(canvas, (_MARGIN, cell_y + thumb // 2 - look.text), _text(value), look.text, _INK, left - 12)
        for column, other in enumerate(across):
            cell_x = _MARGIN + left + column * (thumb + _GAP)
            found = first.get((other, value))
            if found is None:
                ImageDraw.Draw(canvas).rectangle(
                    (cell_x, cell_y, cell_x + thumb - 1, cell_y + thumb - 1), _HOLE
                )
                continue
            _paste(canvas, (cell_x, cell_y), found, image_root, look)
            _captions(canvas, (cell_x, cell_y + thumb + look.text // 2), found, lines, look)
    return canvas


def thumbnail(file: Path, size: int) -> Image.Image:
    """The picture shrunk to fit size x size, RGB; never enlarged. Raises InputError as foundation.images does."""
    image = Image.fromarray(decode_rgb(read_limited(file), where=str(file)))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def _mappings(rows: Any) -> list[Mapping[str, Any]]:
    if hasattr(rows, "to_dict"):
        records: list[Mapping[str, Any]] = rows.to_dict("records")
        return records
    return list(rows)


def _paste(
    canvas: Image.Image, place: tuple[int, int], row: Mapping[str, Any], root: Path, look: Look
) -> None:
    x, y = place
    try:
        file = row.get("file")
        if not isinstance(file, str) or not file:
            raise InputError("no image")
        image = thumbnail(_inside(root, file), look.thumb)
    except InputError as error:
        ImageDraw.Draw(canvas).rectangle((x, y, x + look.thumb - 1, y + look.thumb - 1), _HOLE)
        reason = row.get("reason")
        says = reason if isinstance(reason, str) else error.message
        _write(canvas, (x, y + look.thumb // 2 - look.text), says, look.text, _SOFT, look.thumb, centre=True)
        return
    if max(image.size) < look.thumb:  # small pictures keep hard pixels when they are enlarged
        factor = look.thumb / max(image.size)
        image = image.resize(
            (max(1, round(image.width * factor)), max(1, round(image.height * factor))),
            Image.Resampling.NEAREST if factor == int(factor) else Image.Resampling.BICUBIC,
        )
    canvas.paste(image, (x + (look.thumb - image.width) // 2, y + (look.thumb - image.height) // 2))


def _inside(root: Path, file: str) -> Path:
    path = (root / file).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError("lies outside the output folder", where=file)
    return path


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
        values = [(name, row[name]) for name in names if not _missing(row[name])]
        if any(isinstance(value, str) for _, value in values):
            text, ink = " · ".join(_text(value) for _, value in values), _INK
        else:
            text, ink = " · ".join(f"{name} {_text(value)}" for name, value in values), _SOFT
        _write(canvas, (place[0], place[1] + number * look.line), text, look.text, ink, look.thumb)


def _title_height(look: Look) -> int:
    return math.ceil(look.text * 1.6 * _LINE) + _GAP


def _title(canvas: Image.Image, text: str, look: Look) -> None:
    size = math.ceil(look.text * 1.6)
    _write(canvas, (_MARGIN, _MARGIN), text, size, _INK, canvas.width - 2 * _MARGIN)


def _write(
    canvas: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    ink: str,
    width: int,
    *,
    centre: bool = False,
) -> None:
    line = " ".join(text.split())
    font = _font(size, line)
    if font.getlength(line) > width:
        low, high = 0, len(line)
        while low < high:  # the longest beginning that fits with an ellipsis
            middle = (low + high + 1) // 2
            low, high = (middle, high) if font.getlength(line[:middle] + "…") <= width else (low, middle - 1)
        line = line[:low].rstrip() + "…"
    x = place[0] + (max(0, width - int(font.getlength(line))) // 2 if centre else 0)
    ImageDraw.Draw(canvas).text((x, place[1]), line, fill=ink, font=font)


def _font(size: int, text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's own font is everywhere and covers Latin; other scripts need one of the system's.
    if not all((letter < "\u0180" and letter not in "×÷") or letter in "…–—’“”" for letter in text):
        names = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf")
        for name in names if max(text) < "\u2e80" else names[::-1]:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value) == "nan"


def _text(value: Any) -> str:
    if isinstance(value, float):
        plain = value == 0 or 0.01 <= abs(value) < 1000
        return f"{value:.2f}".rstrip("0").rstrip(".") if plain else f"{value:.3g}"
    return str(value)


def _sort_key(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value
