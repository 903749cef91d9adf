"""Parts of sheets and charts: shrunk images, fonts, captions and their lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from nonesuch.catalogs.image_files import image_file
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import decode_rgb, read_limited
from nonesuch.foundation.naming import file_name

PAPER, INK, SOFT, HOLE = "#ffffff", "#1b1b1b", "#6a6a6a", "#ececec"
GAP, MARGIN = 12, 24  # pixels between cells and around the page
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


def thumbnail(file: Path, size: int) -> Image.Image:
    """The image shrunk to fit size x size, RGB; never enlarged. Raises InputError as nonesuch.foundation.images does."""
    image = Image.fromarray(decode_rgb(read_limited(file), where=str(file)))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def paste(
    canvas: Image.Image, place: tuple[int, int], row: Mapping[str, Any], root: Path, look: Look
) -> None:
    """Put the row's image into a square cell, or a grey field that says why there is none."""
    x, y = place
    try:
        image = thumbnail(image_file(root, row), look.thumb)
    except InputError as error:
        ImageDraw.Draw(canvas).rectangle((x, y, x + look.thumb - 1, y + look.thumb - 1), HOLE)
        reason = row.get("reason")
        says = reason if isinstance(reason, str) else error.message
        write(canvas, (x, y + look.thumb // 2 - look.text), says, look.text, SOFT, look.thumb, centre=True)
        return
    if max(image.size) < look.thumb:  # small images keep hard pixels when they are enlarged
        factor = look.thumb / max(image.size)
        image = image.resize(
            (max(1, round(image.width * factor)), max(1, round(image.height * factor))),
            Image.Resampling.NEAREST if factor == int(factor) else Image.Resampling.BICUBIC,
        )
    canvas.paste(image, (x + (look.thumb - image.width) // 2, y + (look.thumb - image.height) // 2))


def title_height(look: Look) -> int:
    """Pixels that a page's title takes."""
    return math.ceil(look.text * 1.6 * _LINE) + GAP


def write_title(canvas: Image.Image, text: str, look: Look) -> None:
    """Write the title at the top left."""
    size = math.ceil(look.text * 1.6)
    write(canvas, (MARGIN, MARGIN), text, size, INK, canvas.width - 2 * MARGIN)


def write(
    canvas: Image.Image,
    place: tuple[int, int],
    text: str,
    size: int,
    ink: str,
    width: int,
    *,
    centre: bool = False,
) -> None:
    """One line of text, shortened with an ellipsis to `width` pixels."""
    line = " ".join(text.split())
    font = font_for(size, line)
    if font.getlength(line) > width:
        low, high = 0, len(line)
        while low < high:  # the longest beginning that fits with an ellipsis
            middle = (low + high + 1) // 2
            low, high = (middle, high) if font.getlength(line[:middle] + "…") <= width else (low, middle - 1)
        line = line[:low].rstrip() + "…"
    x = place[0] + (max(0, width - int(font.getlength(line))) // 2 if centre else 0)
    ImageDraw.Draw(canvas).text((x, place[1]), line, fill=ink, font=font)


def font_for(size: int, text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font that has the letters of `text`."""
    # Pillow's own font is everywhere and covers Latin; other scripts need one of the system's.
    if not all((letter < "\u0180" and letter not in "×÷") or letter in "…–—’“”" for letter in text):
        names = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf")
        for name in names if max(text) < "\u2e80" else names[::-1]:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)


def missing(value: Any) -> bool:
    """Whether a value is null, as None or as NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or str(value) == "nan"


def shown(value: Any) -> str:
    """A value as a caption shows it: numbers with two decimals, or three digits when tiny or large; files by their name."""
    if isinstance(value, float):
        plain = value == 0 or 0.01 <= abs(value) < 1000
        return f"{value:.2f}".rstrip("0").rstrip(".") if plain else f"{value:.3g}"
    return file_name(str(value))
