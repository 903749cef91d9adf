"""Picks, stars, tags and notes: from a request to the log of picks, and back as the page shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from nonesuch.catalogs.picks.events import Event, PickState
from nonesuch.catalogs.picks.log import PickLog
from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.view import checked_recipe
from nonesuch.web.upload_limits import Refused

MAX_BODY: Final = 16 << 10  # bytes
MAX_IMAGES: Final = 200  # of one act


@dataclass(frozen=True, slots=True)
class Said:
    """What was done, in words, and the images whose state may have changed."""

    text: str
    ids: tuple[str, ...]


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form or a flat JSON object. Raises Refused 400, 413 or 415."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Refused(413, f"more than {MAX_BODY >> 10} KiB")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            data = json.loads(bytes(body))
            if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
                raise Refused(400, "the JSON must be a flat object of strings")
            return data
        if kind == "application/x-www-form-urlencoded":
            return dict(parse_qsl(bytes(body).decode("utf-8"), keep_blank_values=True, max_num_fields=20))
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the request can't be read") from error
    raise Refused(415, "send a form or JSON")


def act(log: PickLog, fields: Mapping[str, str]) -> Said:
    """Apply the request: `do` is the action, `id` one recipe id or several with commas between, `value` the rest.

    A button of a plain form sends everything in `do`, as "pick:ID" or "stars:ID:4". Raises InputError.
    """
    action, _, rest = fields.get("do", "").partition(":")
    written, _, value = rest.partition(":")
    if action in ("undo", "redo"):
        event = log.undo() if action == "undo" else log.redo()
        return _taken_back(log, event, action)
    ids = [checked_recipe(one) for one in (written or fields.get("id", "")).split(",")]
    value = value or fields.get("value", "")
    if len(ids) > MAX_IMAGES:
        raise InputError(f"more than {MAX_IMAGES} images at once", where="id")
    which = "" if len(ids) == 1 else f" {len(ids)} images"
    match action:
        case "pick":
            log.pick(ids)
            said = f"Picked{which}"
        case "reject":
            log.reject(ids)
            said = f"Rejected{which}"
        case "clear":
            log.clear(ids)
            said = f"Pick or reject, and stars, removed{which and ' from' + which}"
        case "stars":
            log.stars(ids, int(value) if value.isascii() and value.isdigit() else 0)
            said = f"{value} star{'' if value == '1' else 's'}{which and ' for' + which}"
        case "tag":
            log.tag(ids, value)
            said = f"Tagged “{value.strip()}”{which and ':' + which}"
        case "untag":
            log.untag(ids, value)
            said = f"Tag “{value.strip()}” removed{which and ':' + which}"
        case "note":
            log.note(ids, value)
            said = "Noted" if value.strip() else "Note removed"
        case "prefer":
            others = [checked_recipe(one) for one in value.split(",")]
            for other in dict.fromkeys(others):
                log.compare(ids[0], other)
            said = f"Preferred to {len(set(others))} other{'' if len(set(others)) == 1 else 's'}"
            return Said(said, (ids[0], *others))
        case _:
            raise InputError(f"{action[:40]!r} can't be done to an image", where="do")
    return Said(said, tuple(ids))


def state_json(state: PickState | None) -> dict[str, Any]:
    """Verdict, stars, tags and note of one image, for the page's script."""
    if state is None:
        return {"verdict": None, "stars": 0, "tags": [], "note": "", "who": "", "when": ""}
    return {
        "verdict": state.verdict,
        "stars": state.stars or 0,
        "tags": list(state.tags),
        "note": state.note or "",
        "who": state.who,
        "when": f"{state.when:%Y-%m-%d %H:%M} UTC",
    }


def _taken_back(log: PickLog, event: Event | None, action: str) -> Said:
    if event is None:
        return Said(f"Nothing to {action}", ())
    same = [one.recipe_id for one in log.events(event.id - 1) if one.act == event.act]
    before = {one.id: one for one in log.events(max(0, (event.undoes or 1) - 1))}
    old = before.get(event.undoes or 0)
    while (
        old is not None and old.undoes is not None
    ):  # a redo names the undo; the page reports what came back
        old = {one.id: one for one in log.events(old.undoes - 1)}.get(old.undoes)
    what = {
        "pick": "pick",
        "reject": "rejection",
        "clear": "clearing",
        "stars": f"{old.stars if old else ''} stars",
        "tag": f"tag “{old.text if old else ''}”",
        "untag": f"removal of tag “{old.text if old else ''}”",
        "note": "note",
        "compare": "preference",
    }.get(old.action if old else "", "last action")
    losers = [old.loser] if old is not None and old.loser else []
    return Said(
        f"{'Undone' if action == 'undo' else 'Redone'}: {what}", tuple(dict.fromkeys([*same, *losers]))
    )
