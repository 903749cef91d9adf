"""What an address shows: filters, search and order, read from a query string and written back to one.

Everything that decides what a page shows is here, so that an address can be saved and shared.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import urlencode

from nonesuch.catalogs.picks.events import checked_tag
from nonesuch.catalogs.search.expressions import identifier
from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.filter_columns import PLAN, Columns, number, scalar_sql, text_sql

T = TypeVar("T")
SHOWN: Final = ("images", "ok", "flagged", "failed", "removed", "all")  # images: ok or flagged
PICKS: Final = ("picked", "rejected", "open")  # open: neither picked nor rejected
SIZES: Final = ("s", "m", "l")
_SINGLE: Final = frozenset(
    ("order", "dir", "twins", "near", "like", "status", "q", "stars", "pick", "tag", "size")
)
MAX_TEXT: Final = 500  # characters of one value
MAX_VALUES: Final = 200  # values of one facet
_RECIPE_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class View:
    """A choice of images, in an order."""

    order: str  # column
    down: bool  # from high to low
    facets: tuple[tuple[str, tuple[str, ...]], ...] = ()  # facet and the values it may have
    ranges: tuple[tuple[str, float | None, float | None], ...] = ()  # score, least, most
    shown: str = "images"  # one of SHOWN
    words: str = ""  # that the prompt contains; "-word": that it does not
    like: str = ""  # text that images are to be like, which decides the order
    near: str = ""  # id of an image that they are to be like
    twins: str = ""  # id of an image of which they are to be near duplicates
    pick: str = ""  # one of PICKS
    stars: int = 0  # at least this many
    tag: str = ""
    size: str = "m"  # of the images on the page

    @property
    def ranked(self) -> bool:
        """Whether likeness decides the order."""
        return bool(self.like or self.near or self.twins)

    @property
    def asks_picks(self) -> bool:
        """Whether picks, stars or tags decide what is shown."""
        return bool(self.pick or self.stars or self.tag) or self.order == "stars"


def parse_view(items: Iterable[tuple[str, str]], columns: Columns) -> View:
    """The view of a query string's pairs; empty values and unknown names are ignored.

    Raises InputError for columns that the catalog does not have and invalid values.
    """
    facets: dict[str, list[str]] = {}
    ranges: dict[str, list[float | None]] = {}
    plain: dict[str, str] = {}
    for name, value in items:
        if len(value) > MAX_TEXT:
            raise InputError(f"is longer than {MAX_TEXT} characters", where=name[:80])
        value = value.strip()
        if not value:
            continue
        if name.startswith("f."):
            facet = columns.facet(name[2:])
            columns.value_sql(facet, value)
            facets.setdefault(facet, []).append(value)
        elif name.startswith(("min.", "max.")):
            score = columns.score(name[4:])
            ends = ranges.setdefault(score, [None, None])
            ends[name[1] == "a"] = _once(name, ends[name[1] == "a"], number(value, name))
        else:
            plain[name] = _once(name, plain.get(name) if name in _SINGLE else None, value)
    if any(len(values) > MAX_VALUES for values in facets.values()):
        raise InputError(f"more than {MAX_VALUES} values of one facet")
    order = columns.order(plain["order"]) if "order" in plain else default_order(columns)
    direction = _one_of(plain, "dir", ("up", "down"), "up" if columns.rises(order) else "down")
    twins, near, like = _image(plain, "twins"), _image(plain, "near"), plain.get("like", "")
    if (near or like) and not columns.embedding:
        raise InputError("this catalog has no embeddings, so likeness can't be searched", where="like")
    stars = plain.get("stars", "0")
    if stars not in ("0", "1", "2", "3", "4", "5"):
        raise InputError(f"{stars[:80]!r} is not a number of stars", where="stars", hint="Use 1 to 5.")
    return View(
        order=order,
        down=direction == "down",
        facets=tuple((name, tuple(dict.fromkeys(facets[name]))) for name in columns.facets if name in facets),
        ranges=tuple((name, ranges[name][0], ranges[name][1]) for name in columns.scores if name in ranges),
        shown=_one_of(plain, "status", SHOWN, "images"),
        words=plain.get("q", ""),
        like="" if near or twins else like,
        near="" if twins else near,
        twins=twins,
        pick=_one_of(plain, "pick", ("", *PICKS), ""),
        stars=int(stars),
        tag=checked_tag(plain["tag"]) if "tag" in plain else "",
        size=_one_of(plain, "size", SIZES, "m"),
    )


def _once(name: str, before: T | None, now: T) -> T:
    """A value that an address has once: if it had two, keeping the last would silently drop a filter."""
    if before is not None and before != now:
        raise InputError(f"{name!r} is given twice, with different values", hint="Give it once.")
    return now


def default_order(columns: Columns) -> str:
    """The first score, or the plan's order where nothing was scored."""
    return columns.scores[0] if columns.scores else PLAN


def pairs(view: View, columns: Columns) -> list[tuple[str, str]]:
    """The query string's pairs that parse_view reads as this view; defaults are left out."""
    found = [(f"f.{name}", value) for name, values in view.facets for value in values]
    for name, least, most in view.ranges:
        found += [
            (f"{end}.{name}", _short(value))
            for end, value in (("min", least), ("max", most))
            if value is not None
        ]
    if view.order != default_order(columns):
        found.append(("order", view.order))
    if view.down == columns.rises(view.order):
        found.append(("dir", "down" if view.down else "up"))
    found += [
        ("status", view.shown if view.shown != "images" else ""),
        ("q", view.words),
        ("like", view.like),
        ("near", view.near),
        ("twins", view.twins),
        ("pick", view.pick),
        ("stars", str(view.stars or "")),
        ("tag", view.tag),
        ("size", view.size if view.size != "m" else ""),
    ]
    return [(name, value) for name, value in found if value]


def query(view: View, columns: Columns, /, **more: str) -> str:
    """The query string of a view with its question mark, or nothing; `more` is added to it."""
    found = [*pairs(view, columns), *((name, value) for name, value in more.items() if value)]
    return f"?{urlencode(found)}" if found else ""


@dataclass(frozen=True, slots=True)
class Chip:
    """One active filter, and the view without it."""

    label: str
    without: View


def chips(view: View) -> list[Chip]:
    """The active filters, each with the view without it."""
    found = []
    for name, values in view.facets:
        for value in values:
            rest = tuple(other for other in values if other != value)
            kept = tuple((n, rest if n == name else v) for n, v in view.facets)
            found.append(Chip(f"{name}: {value}", replace(view, facets=tuple(f for f in kept if f[1]))))
    for name, least, most in view.ranges:
        ends = (f"{least:g} ≤ " if least is not None else "", f" ≤ {most:g}" if most is not None else "")
        kept_ranges = tuple(other for other in view.ranges if other[0] != name)
        found.append(Chip(f"{ends[0]}{name}{ends[1]}", replace(view, ranges=kept_ranges)))
    for label, on, without in (
        (f"prompt: {view.words}", view.words, replace(view, words="")),
        (f"like “{view.like}”", view.like, replace(view, like="")),
        (f"like image {view.near[:8]}", view.near, replace(view, near="")),
        (f"near duplicates of {view.twins[:8]}", view.twins, replace(view, twins="")),
        ("not judged yet" if view.pick == "open" else view.pick, view.pick, replace(view, pick="")),
        (f"★ {view.stars} or more", view.stars, replace(view, stars=0)),
        (f"tag: {view.tag}", view.tag, replace(view, tag="")),
        (f"status: {view.shown}", view.shown != "images", replace(view, shown="images")),
    ):
        if on:
            found.append(Chip(label, without))
    return found


def conditions(view: View, columns: Columns) -> dict[str, str]:
    """SQL conditions of a view by their subject: the facet's name, or a word in brackets."""
    found = {}
    for name, values in view.facets:
        listed = ", ".join(columns.value_sql(name, value) for value in values)
        found[name] = f"{identifier(name)} IN ({listed})"
    for name, least, most in view.ranges:
        kind = columns.kinds[name]
        ends = [
            f"{identifier(name)} {sign} {scalar_sql('float' if kind == 'int' else kind, value)}"
            for sign, value in ((">=", least), ("<=", most))
            if value is not None
        ]
        found[f"[{name}]"] = " AND ".join(ends)
    if view.shown != "all":
        found["[status]"] = (
            "status IN ('ok', 'flagged')" if view.shown == "images" else f"status = '{view.shown}'"
        )
    for place, (word, wanted) in enumerate(_words(view.words)):
        holds = f"contains(lower(prompt), {text_sql(word.lower())})"
        found[f"[word {place}]"] = holds if wanted else f"NOT {holds}"
    if columns.picks:
        if view.pick:
            found["[pick]"] = "pick IS NULL" if view.pick == "open" else f"pick = '{view.pick}'"
        if view.stars:
            found["[stars]"] = f"stars >= {view.stars}"
        if view.tag:
            found["[tag]"] = f"list_contains(tags, {text_sql(view.tag)})"
    return found


def where(found: dict[str, str], *, but: str | None = None) -> str:
    """One SQL condition of several, without the one about `but`."""
    return " AND ".join(f"({sql})" for about, sql in found.items() if about != but) or "true"


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")


def _words(text: str) -> list[tuple[str, bool]]:
    """Words and quoted phrases of a search, each with whether it is required or, after a minus, excluded."""
    try:
        parts = shlex.split(text.replace("'", "\\'"))
    except ValueError:  # an unclosed quotation mark
        parts = text.replace('"', " ").split()
    found = [(part[1:], False) if part[:1] == "-" and len(part) > 1 else (part, True) for part in parts]
    return [(word, wanted) for word, wanted in found if word][:20]


def _image(plain: dict[str, str], name: str) -> str:
    value = plain.get(name, "")
    return checked_recipe(value) if value else ""


def checked_recipe(recipe_id: str) -> str:
    """A whole recipe id. Raises InputError for anything else."""
    if not _RECIPE_ID.fullmatch(recipe_id):
        raise InputError(f"{recipe_id[:80]!r} is not a recipe id", hint="Give all of its 64 hex digits.")
    return recipe_id


def _one_of(plain: dict[str, str], name: str, known: Sequence[str], default: str) -> str:
    value = plain.get(name, default)
    if value not in known:
        raise InputError(
            f"{value[:80]!r} is not known", where=name, hint=f"Use {', '.join(filter(None, known))}."
        )
    return value
