"""`/grid`: two facets against each other, an image in each cell, coloured by a score."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import QueryParams

from nonesuch.web.gallery.cross import COLUMNS, HEATS, ROWS, Choice, axes, choice, cross
from nonesuch.web.gallery.pick_requests import state_json
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.view import chips, pairs, query
from nonesuch.web.routes.gallery import checked_query, page, room_of, view_of

router = APIRouter(include_in_schema=False)


@router.get("/grid")
async def grid_page(request: Request) -> HTMLResponse:
    room, params = room_of(request), checked_query(request)
    values = await room.threads.ask(whole, room, params)
    return page(request, "gallery_grid.html", **values)


def whole(room: Room, params: QueryParams) -> dict[str, Any]:
    gallery, columns = room.gallery, room.gallery.columns
    view = replace(view_of(room, params), like="", near="", twins="")
    asked = choice(params, gallery)
    found = cross(gallery, view, asked)
    ids = [cell.recipe_id for cell in found.cells.values() if cell.recipe_id]
    said = gallery.log.states(ids)

    def at(**more: str) -> str:
        return f"/grid{query(view, columns, **{**_own(asked), **more})}"

    def inside(row: str, column: str) -> str:
        """The gallery of one cell."""
        kept = tuple((n, v) for n, v in view.facets if n not in (asked.down, asked.across))
        one = replace(view, facets=(*kept, (asked.down, (row,)), (asked.across, (column,))))
        if asked.score:
            one = replace(one, order=asked.score, down=True)
        return query(one, columns)

    return {
        "view": view,
        "asked": asked,
        "found": found,
        "axes": axes(gallery),
        "scores": columns.scores,
        "heats": HEATS,
        "hidden": pairs(view, columns),
        "chips": [
            (chip.label, f"/grid{query(chip.without, columns, **_own(asked))}") for chip in chips(view)
        ],
        "states": {one: state_json(said.get(one)) for one in ids},
        "inside": inside,
        "turned": at(rows=asked.across, columns=asked.down, r="", c=""),
        "back": f"/gallery{query(view, columns)}",
        "steps": _steps(asked, found.all_rows, found.all_columns, at),
        "last_row": min(asked.row + ROWS, found.all_rows),
        "last_column": min(asked.column + COLUMNS, found.all_columns),
    }


def _own(asked: Choice) -> dict[str, str]:
    """The pairs of the query string that are the grid's own."""
    return {
        "rows": asked.down,
        "columns": asked.across,
        "score": asked.score,
        "seed": "" if asked.seed is None else str(asked.seed),
        "heat": asked.heat if asked.heat != "mean" else "",
        "sort": "name" if asked.by_name else "",
        "r": str(asked.row or ""),
        "c": str(asked.column or ""),
    }


def _steps(asked: Choice, rows: int, columns: int, at: Any) -> list[tuple[str, str]]:
    """Links to the tiles around this one."""
    found = []
    if asked.row > 0:
        found.append(("Rows before", at(r=str(max(0, asked.row - ROWS)))))
    if asked.row + ROWS < rows:
        found.append(("Next rows", at(r=str(asked.row + ROWS))))
    if asked.column > 0:
        found.append(("Columns before", at(c=str(max(0, asked.column - COLUMNS)))))
    if asked.column + COLUMNS < columns:
        found.append(("Next columns", at(c=str(asked.column + COLUMNS))))
    return found
