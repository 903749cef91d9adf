"""`/image/ID`: one image with its recipe, scores, credential and verdict; its file, thumbnail and sweep file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.datastructures import QueryParams

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.verifying.verdict import Verdict
from nonesuch.web.facts import plain
from nonesuch.web.gallery.image_responses import file_name
from nonesuch.web.gallery.panel import overview
from nonesuch.web.gallery.pick_requests import state_json
from nonesuch.web.gallery.reader import Card, found_or_404
from nonesuch.web.gallery.room import Room
from nonesuch.web.gallery.shown import credential_lines, recipe_lines, score_lines
from nonesuch.web.gallery.sweepfile import SweepCopy, sweep_file
from nonesuch.web.gallery.view import View, checked_recipe, default_order, query
from nonesuch.web.routes.gallery import checked_query, page, room_of, states, view_of
from nonesuch.web.site import site_of
from nonesuch.web.uploads import Upload
from nonesuch.web.verdict_words import explain

router = APIRouter(include_in_schema=False)

FOREVER = "private, max-age=31536000, immutable"  # an id identifies its pixels
FEW = 12  # images of "more like this"


@router.get("/thumb/{recipe_id}")
async def thumb(request: Request, recipe_id: str) -> Response:
    room = room_of(request)
    image = await room.threads.ask(room.files.small, checked_recipe(recipe_id))
    return Response(image.data, media_type=image.mime, headers={"Cache-Control": FOREVER})


@router.get("/original/{recipe_id}")
async def original(request: Request, recipe_id: str) -> Response:
    """The signed file, byte for byte."""
    room = room_of(request)
    image = await room.threads.ask(room.files.original, checked_recipe(recipe_id))
    inline = request.query_params.get("download") is None and image.mime.startswith("image/")
    name = file_name(recipe_id, image.mime)
    headers = {
        "Cache-Control": FOREVER,
        "Content-Disposition": "inline" if inline else f'attachment; filename="{name}"',
    }
    return Response(image.data, media_type=image.mime, headers=headers)


@router.get("/image/{recipe_id}")
async def image_page(request: Request, recipe_id: str) -> HTMLResponse:
    room, params = room_of(request), checked_query(request)
    values = await room.ask(params, _whole, checked_recipe(recipe_id), params)
    return page(request, "gallery_image.html", **values)


@router.get("/image/{recipe_id}/sweep.yaml")
async def sweep_text(request: Request, recipe_id: str) -> PlainTextResponse:
    room = room_of(request)
    made = await room.threads.ask(_sweep_of, room, checked_recipe(recipe_id))
    headers = {"Content-Disposition": f'attachment; filename="again-{recipe_id[:12]}.yaml"'}
    return PlainTextResponse(made.text, media_type="application/yaml", headers=headers)


@router.get("/image/{recipe_id}/like")
async def like_part(request: Request, recipe_id: str) -> HTMLResponse:
    """The images most like this one and its near duplicates, which the page's script puts in their place."""
    room = room_of(request)
    values = await room.threads.ask(_alike, room, checked_recipe(recipe_id))
    return site_of(request).render("gallery_like.html", **values)


@router.get("/image/{recipe_id}/verdict")
async def verdict_page(request: Request, recipe_id: str) -> HTMLResponse:
    """The verdict on the file as it is now, by the workers that open uploads."""
    site, room = site_of(request), room_of(request)
    image = await room.threads.ask(room.files.original, checked_recipe(recipe_id))
    name = file_name(recipe_id, image.mime)
    verdict = await site.verdict_on(Upload(name, image.data))
    said = explain(verdict)
    if request.query_params.get("part") is not None:
        return site.render("gallery_verdict.html", said=said)
    result: dict[str, Any] = {"refused": None, "name": name, "said": said, "json": verdict_json(verdict)}
    return page(request, "gallery_verdict_page.html", result=result, recipe_id=recipe_id)


def verdict_json(verdict: Verdict) -> str:
    """The whole verdict as JSON text in which no character changes the direction of what follows."""
    import json

    text = json.dumps(verdict.to_json(), ensure_ascii=False, indent=2)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _whole(room: Room, recipe_id: str, params: QueryParams) -> dict[str, Any]:
    gallery, columns = room.gallery, room.gallery.columns
    view = view_of(room, params)
    row = found_or_404(gallery.row(recipe_id))
    link = query(view, columns)
    before, behind = gallery.neighbours(view, row)
    made = _sweep(room, row)
    said = gallery.log.states([recipe_id]).get(recipe_id)

    def alone(**only: str) -> str:
        return f"/gallery{query(View(default_order(columns), True, **only), columns)}"  # type: ignore[arg-type]

    return {
        "row": row,
        "prompt": plain(row["prompt"] or ""),
        "reason": plain(row["reason"] or ""),
        "state": state_json(said),
        "before": before and f"/image/{before}{link}",
        "behind": behind and f"/image/{behind}{link}",
        "ahead": [f"/original/{one}" for one in (behind, before) if one],
        "back": f"/gallery{link}",
        "recipe": recipe_lines(row, columns),
        "scores": score_lines(row, columns, overview(gallery)),
        "credential": credential_lines(row),
        "sweep": made,
        "more_like": alone(near=recipe_id) if columns.embedding and row["file"] else None,
        "twins": alone(twins=recipe_id) if row["phash"] else None,
        "parent": row.get("parent"),
    }


def _sweep_of(room: Room, recipe_id: str) -> SweepCopy:
    return _sweep(room, found_or_404(room.gallery.row(recipe_id)))


def _sweep(room: Room, row: dict[str, Any]) -> SweepCopy:
    start: Path | None = None
    if row.get("parent"):
        parent = room.gallery.row(row["parent"])
        if parent is not None and parent["file"] and parent["sha256"] == row["init_digest"]:
            start = (room.gallery.folder / parent["file"]).resolve()
    return sweep_file(row, start)


def _alike(room: Room, recipe_id: str) -> dict[str, Any]:
    gallery, columns = room.gallery, room.gallery.columns
    row = found_or_404(gallery.row(recipe_id))
    lists: list[tuple[str, str, list[Card], str]] = []
    order = default_order(columns)
    for title, view, can in (
        ("More like this", View(order, True, near=recipe_id), columns.embedding and row["file"]),
        ("Near duplicates", View(order, True, twins=recipe_id), row["phash"]),
    ):
        if not can:
            continue
        try:
            found = list(gallery.page(view, size=FEW).cards)
        except InputError:  # an image without an embedding among others that have one
            continue
        unit = "bits apart" if view.twins else "likeness"
        lists.append((title, f"/gallery{query(view, columns)}", found, unit))
    return {"lists": lists, "states": states(room, [card for one in lists for card in one[2]])}
