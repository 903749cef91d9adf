"""`/compare`: two to four images side by side, to see the differences and choose the better one."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import QueryParams
from starlette.responses import RedirectResponse, Response

from nonesuch.catalogs.picks.side_by_side import blind_pair
from nonesuch.foundation.errors import InputError
from nonesuch.web.facts import plain
from nonesuch.web.gallery.pick_requests import state_json
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.shown import differences
from nonesuch.web.gallery.view import checked_recipe, query
from nonesuch.web.routes.gallery import checked_query, page, room_of, view_of

router = APIRouter(include_in_schema=False)

MOST = 4  # images side by side
_DRAWN_FROM = 120  # first images of a view, from which a pair is drawn


@router.get("/compare")
async def compare_page(request: Request) -> Response:
    room, params = room_of(request), checked_query(request)
    ids = [one for text in params.getlist("ids") for one in text.split(",") if one]
    if not ids:
        address = await room.ask(params, blind if params.get("blind") else _pair, params)
        return RedirectResponse(address, 303)
    values = await room.ask(params, _whole, ids, params)
    response: HTMLResponse = page(request, "gallery_compare.html", **values)
    return response


def _pair(room: Room, params: QueryParams) -> str:
    """The address of a comparison of two images of a view, drawn at random from its first ones."""
    gallery, view = room.gallery, view_of(room, params)
    shown = [card.recipe_id for card in gallery.page(view, size=_DRAWN_FROM).cards if card.file]
    if len(shown) < 2:
        raise InputError("there are not two images to compare", hint="Remove a filter.")
    one, other = secrets.SystemRandom().sample(shown, 2)
    return f"/compare{query(view, gallery.columns, ids=f'{one},{other}', draw='1')}"


def blind(room: Room, params: QueryParams) -> str:
    """The address of a comparison of one prompt by two contenders, without their names."""
    gallery, view = room.gallery, view_of(room, params)
    by = params["blind"]
    one, other = blind_pair(gallery.catalog, gallery.log.pairs(), by=by)
    return f"/compare{query(view, gallery.columns, ids=f'{one},{other}', draw='1', blind=by)}"


def _whole(room: Room, ids: list[str], params: QueryParams) -> dict[str, Any]:
    wanted = list(dict.fromkeys(checked_recipe(one) for one in ids))
    if not 2 <= len(wanted) <= MOST:
        raise InputError(f"{len(wanted)} images to compare", where="ids", hint=f"Choose 2 to {MOST}.")
    gallery, view = room.gallery, view_of(room, params)
    rows = gallery.rows(wanted)
    if len(rows) < len(wanted):
        raise InputError("the catalog does not have all of these images", where="ids")
    said = gallery.log.states(wanted)
    link = query(view, gallery.columns)
    blind = params.get("blind") or ""
    again = query(view, gallery.columns, blind=blind) if blind else link
    return {
        "rows": [
            {
                "recipe_id": row["recipe_id"],
                "prompt": plain(row["prompt"] or ""),
                "width": row["width"] or 0,
                "height": row["height"] or 0,
                "file": row["file"],
                "others": ",".join(one for one in wanted if one != row["recipe_id"]),
                "state": state_json(said.get(row["recipe_id"])),
            }
            for row in rows
        ],
        "differences": [] if blind else differences(rows, gallery.columns),
        "link": link,
        "back": f"/gallery{link}",
        "another": f"/compare{again}",
        "blind": blind,
        "blindly": f"/compare{query(view, gallery.columns, blind='model')}",
        "drawn": params.get("draw") == "1",
    }
