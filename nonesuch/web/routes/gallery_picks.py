"""`POST /picks`: picks, stars, tags and notes. Only from the gallery's own pages: each request carries their token."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from nonesuch.web.gallery.pick_requests import Said, act, read_fields, state_json
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.sessions import HEADER
from nonesuch.web.routes.gallery import room_of

router = APIRouter(include_in_schema=False)


@router.post("/picks")
async def picks(request: Request) -> Response:
    """Apply it; respond with the images' new states, or redirect a plain form back to its page."""
    room = room_of(request)
    fields = await read_fields(request)
    room.sessions.check(request, request.headers.get(HEADER) or fields.get("token", ""))
    said, states = await room.threads.ask(_act, room, fields)
    back = fields.get("back", "")
    if "application/json" not in request.headers.get("accept", "") and _own_page(back):
        return RedirectResponse(back, 303)
    return JSONResponse({"said": said.text, "states": states})


def _act(room: Room, fields: Mapping[str, str]) -> tuple[Said, dict[str, object]]:
    log = room.gallery.log
    said = act(log, fields)
    now = log.states(said.ids)
    return said, {one: state_json(now.get(one)) for one in said.ids}


def _own_page(path: str) -> bool:
    """Whether that is a page of the gallery, so that no response redirects elsewhere."""
    plain = path.isprintable() and path.isascii() and "\\" not in path and len(path) < 20_000
    return plain and path.startswith(("/gallery", "/image/", "/compare", "/grid"))
