"""`/gallery`: the grid of a view's images with its filters, whole or only its next images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import QueryParams
from starlette.responses import Response

from nonesuch.web.gallery.panel import overview, panel, tidied
from nonesuch.web.gallery.pick_requests import state_json
from nonesuch.web.gallery.reader import Card
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.view import PICKS, SHOWN, SIZES, View, chips, parse_view, query
from nonesuch.web.site import Site, site_of
from nonesuch.web.upload_limits import Refused

router = APIRouter(include_in_schema=False)

_PAGES = ("/gallery", "/image/", "/grid", "/compare")
_LONGEST_QUERY = 16_000  # characters


@router.get("/gallery")
async def gallery_page(request: Request) -> HTMLResponse:
    site, room = site_of(request), room_of(request)
    params = checked_query(request)
    if params.get("part") == "cards":
        return site.render("gallery_cards.html", **await room.ask(params, cards, params))
    values = await room.ask(params, _whole, params)
    return page(request, "gallery.html", **values)


def room_of(request: Request) -> Room:
    """The gallery that a request is for. Raises Refused 404 when the server has no catalog."""
    room = site_of(request).room
    if room is None:
        raise Refused(404, "this server has no catalog; start it with --catalog DIR")
    return room


def checked_query(request: Request) -> QueryParams:
    """The query string's values. Raises Refused 414 for a very long one."""
    if len(request.url.query) > _LONGEST_QUERY:
        raise Refused(414, "the address is too long")
    return request.query_params


def view_of(room: Room, params: QueryParams) -> View:
    """The view of a query string, without range ends that exclude nothing. Raises InputError."""
    view = parse_view(params.multi_items(), room.gallery.columns)
    return tidied(view, overview(room.gallery)) if view.ranges else view


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page with the token that its requests must bring, and the session that the token belongs to."""
    site, room = site_of(request), room_of(request)
    session = room.sessions.of(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    response = site.render(template, status, token=room.sessions.token(session), here_is=here, **values)
    room.sessions.keep(response, session)
    response.headers["Cache-Control"] = (
        "private, no-cache"  # going back shows the page as the visitor left it
    )
    return response


def told(request: Request, status: int, message: str, hint: str | None = None) -> Response | None:
    """A page that says why a browser's request was refused; None for programs and other pages."""
    wanted = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not wanted or not request.url.path.startswith(_PAGES):
        return None
    site: Site = request.app.state.site
    return site.render("gallery_refused.html", status, message=message, hint=hint)


def cards(room: Room, params: QueryParams) -> dict[str, Any]:
    """What the template gallery_cards.html shows: images of a view after a cursor."""
    gallery, view = room.gallery, view_of(room, params)
    found = gallery.page(view, params.get("after") or None)
    link = query(view, gallery.columns)
    after = None if found.next is None else f"/gallery{query(view, gallery.columns, after=found.next)}"
    return {
        "cards": found.cards,
        "states": states(room, found.cards),
        "link": link,
        "next": after,
        "kind": "likeness" if view.ranked else gallery.columns.kinds[view.order],
        "measured": measured(view),
        "back": f"/gallery{link}",
    }


def states(room: Room, shown: Sequence[Card]) -> dict[str, dict[str, Any]]:
    """Verdict, stars and tags of each card's image."""
    said = room.gallery.log.states([card.recipe_id for card in shown])
    return {card.recipe_id: state_json(said.get(card.recipe_id)) for card in shown}


def measured(view: View) -> str:
    """The name of the number on each image."""
    if view.twins:
        return "bits of difference"
    return "likeness" if view.ranked else view.order.replace("_", " ")


def _whole(room: Room, params: QueryParams) -> dict[str, Any]:
    gallery, columns = room.gallery, room.gallery.columns
    view = view_of(room, params)
    beside = panel(gallery, view)
    count = len(gallery.ranked(view)) if view.ranked else beside.count

    def at(other: View, path: str = "/gallery", **more: str) -> str:
        return path + query(other, columns, **more)

    return {
        **cards(room, params),
        "view": view,
        "columns": columns,
        "panel": beside,
        "spreads": overview(gallery).spreads,
        "count": count,
        "chips": [(chip.label, at(chip.without)) for chip in chips(view)],
        "ranges": {name: (least, most) for name, least, most in view.ranges},
        "sizes": [(size, at(replace(view, size=size))) for size in SIZES],
        "shown": SHOWN,
        "picks": PICKS,
        "grid": at(view, "/grid"),
        "pairs": at(view, "/compare"),
        "late": bool(params.get("after")),
    }
