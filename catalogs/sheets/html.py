"""Contact sheets and X/Y grids as one HTML file that needs nothing else: thumbnails inside, no scripts."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nonesuch.catalogs.image_files import image_file
from nonesuch.catalogs.sheets.captions import caption_lines
from nonesuch.catalogs.sheets.grid import grid_cells
from nonesuch.catalogs.sheets.typeset import missing, shown, thumbnail
from nonesuch.catalogs.storage.parts import replacing
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.naming import without_folders

THUMB = 256  # longer side of an image, pixels
_QUALITY = 82  # of WebP
_DETAILS = (
    "prompt",
    "negative_prompt",
    "model",
    "seed",
    "steps",
    "guidance_scale",
    "scheduler",
    "file",
    "recipe_id",
)
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ --paper: #fff; --ink: #1b1b1b; --soft: #6a6a6a; --hole: #ececec; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #161616; --ink: #ececec; --soft: #a3a3a3; --hole: #2b2b2b; }}
}}
body {{ margin: 1.5rem; background: var(--paper); color: var(--ink); font: 14px/1.4 system-ui, sans-serif; }}
h1 {{ font-size: 1.3rem; }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); }}
figure {{ margin: 0; overflow-wrap: anywhere; }}
img, .none {{ display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain; background: var(--hole); }}
.none {{ display: grid; place-items: center; text-align: center; color: var(--soft); }}
.numbers, summary, dt {{ color: var(--soft); }}
dl {{ margin: 0; }} dd {{ margin: 0 0 .4rem; }}
.grid {{ overflow-x: auto; }} table {{ border-collapse: separate; border-spacing: .6rem; }}
tbody td {{ width: 11rem; min-width: 8rem; vertical-align: top; }} th {{ text-align: left; }}
</style>
</head>
<body>
"""


def write_html(
    rows: Sequence[Mapping[str, Any]],
    image_root: Path,
    out: Path,
    *,
    captions: Sequence[str] = (),
    grid: tuple[str, str] | None = None,
    title: str = "",
    intro: str = "",
) -> None:
    """Write the rows' images, or with `grid` = (rows, columns) the first of each pair of values, to `out`.

    `intro` is HTML that stands above them; what it shows must be escaped already.
    Light and dark as the reader's system is. Text from the catalog is escaped, and the page forbids itself
    scripts and requests. An image that is missing or broken leaves a field that says so. One image is in
    memory at a time. Raises InputError for unknown columns and when there are no rows.
    """
    if not rows:
        raise InputError("there are no images to put on a sheet", hint="Check the query's conditions.")
    lines = caption_lines(rows, captions)
    pieces = _sheet(rows, image_root, lines) if grid is None else _grid(rows, image_root, lines, grid)
    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        name = title or f"{len(rows):,} images"
        file.write(_HEAD.format(title=html.escape(name)))
        file.write(f"<h1>{html.escape(name)}</h1>\n{intro}")
        for piece in pieces:
            file.write(piece)
        file.write("</body>\n</html>\n")


def _sheet(rows: Sequence[Mapping[str, Any]], root: Path, lines: list[list[str]]) -> Iterator[str]:
    yield "<main>\n"
    for row in rows:
        yield _figure(row, root, lines)
    yield "</main>\n"


def _grid(
    rows: Sequence[Mapping[str, Any]], root: Path, lines: list[list[str]], grid: tuple[str, str]
) -> Iterator[str]:
    cells = grid_cells(rows, grid[1], grid[0])
    yield f'<div class="grid"><table>\n<caption>{_text(grid[0])} × {_text(grid[1])}</caption>\n<thead><tr><td></td>'
    for value in cells.across:
        yield f'<th scope="col">{_text(value)}</th>'
    yield "</tr></thead>\n<tbody>\n"
    for value in cells.down:
        yield f'<tr><th scope="row">{_text(value)}</th>'
        for other in cells.across:
            found = cells.rows.get((other, value))
            yield "<td></td>" if found is None else f"<td>{_figure(found, root, lines)}</td>"
        yield "</tr>\n"
    yield "</tbody>\n</table></div>\n"


def _figure(row: Mapping[str, Any], root: Path, lines: list[list[str]]) -> str:
    told = []
    for names in lines:
        values = [(name, row[name]) for name in names if not missing(row[name])]
        if any(isinstance(value, str) for _, value in values):
            told.append(f"<div>{' · '.join(_text(value) for _, value in values)}</div>")
        elif values:
            listed = " · ".join(f"{_text(name)} {_text(value)}" for name, value in values)
            told.append(f'<div class="numbers">{listed}</div>')
    details = "".join(
        f"<dt>{name.replace('_', ' ')}</dt><dd>{_text(row[name])}</dd>"
        for name in _DETAILS
        if name in row and not missing(row[name]) and row[name] != ""
    )
    more = f"<details><summary>recipe</summary><dl>{details}</dl></details>" if details else ""
    return f"<figure>{inline_picture(row, root)}<figcaption>{''.join(told)}{more}</figcaption></figure>\n"


def inline_picture(row: Mapping[str, Any], root: Path) -> str:
    """A row's image as HTML that needs nothing else, at most THUMB px; a field that says why where there is none."""
    try:
        image = thumbnail(image_file(root, row), THUMB)
    except InputError as error:
        reason = row.get("reason")
        return f'<div class="none">{_text(without_folders(reason if isinstance(reason, str) else error.message))}</div>'
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=_QUALITY, method=4)
    data = base64.b64encode(packed.getvalue()).decode()
    text = _text(row.get("prompt") or "")
    return (
        f'<img src="data:image/webp;base64,{data}" alt="{text}" width="{image.width}" height="{image.height}" '
        'loading="lazy">'
    )


def _text(value: Any) -> str:
    return html.escape(shown(value), quote=True)
