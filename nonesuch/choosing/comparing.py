"""A comparison of generators for people: rows of a table, one page with the images, an X/Y grid."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nonesuch.catalogs.picks.side_by_side import Comparison, Contender, Duel, Mean, grid_rows
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where
from nonesuch.foundation.naming import shown_names

_CAPTIONS = ("aesthetic", "alignment")


def contender_row(one: Contender) -> dict[str, Any]:
    """One contender as a row of a table."""
    place = one.preferred
    return {
        "contender": one.name,
        "images": one.images,
        "failed": one.failed,
        "prompts": one.prompts,
        **{score: _interval(mean) for score, mean in one.scores.items()},
        "preferred": ""
        if place is None
        else f"{place.strength:+.2f}"
        + ("" if place.low is None else f" ({place.low:+.2f} to {place.high:+.2f})"),
        "won": "" if place is None else f"{place.wins} of {place.wins + place.losses}",
        "s/image": "" if one.seconds is None else f"{one.seconds:.2f}",
        "$/image": "" if one.cost is None else f"{one.cost:.4f}",
        "$ paid": f"{one.paid:.2f}" if one.paid else "",
    }


def duel_row(one: Duel) -> dict[str, Any]:
    """Two contenders by one score as a row of a table."""
    sure = one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)
    return {
        "score": one.score,
        "contender": one.one,
        "against": one.other,
        "prompts": one.prompts,
        "difference": f"{one.difference:+.3f}"
        + ("" if one.low is None else f" ({one.low:+.3f} to {one.high:+.3f})"),
        "better on": f"{one.better:.0%}",
        "told apart": "yes" if sure else "no",
    }


def write_page(catalog: Catalog, found: Comparison, out: Path, *, where: Where, prompts: int) -> Path:
    """The comparison as one self-contained HTML file: tables, and the grid of images."""
    from nonesuch.catalogs.sheets.html import write_html

    rows, found = _named(grid_rows(catalog, by=found.by, where=where, prompts=prompts), found)
    captions = [name for name in _CAPTIONS if rows and name in rows[0]]
    intro = [_table("Contenders", [contender_row(one) for one in found.contenders])]
    if found.duels:
        intro.append(_table("Paired by prompt", [duel_row(one) for one in found.duels]))
    intro.append(f"<p>{html.escape(footnote(found))}</p>\n")
    write_html(
        rows, catalog.folder, out, captions=captions, grid=("prompt", "contender"), intro="".join(intro),
        title=f"{len(found.contenders)} generators compared by {found.by}",
    )  # fmt: skip
    return out


def write_grid(catalog: Catalog, found: Comparison, out: Path, *, where: Where, prompts: int) -> list[Path]:
    """The grid of images: one column per contender, one row per prompt."""
    from nonesuch.catalogs.sheets.contact_sheet import write_sheet

    rows, _ = _named(grid_rows(catalog, by=found.by, where=where, prompts=prompts), found)
    return list(write_sheet(rows, catalog.folder, out, facets=[], grid=("prompt", "contender")))


def _named(rows: list[dict[str, Any]], found: Comparison) -> tuple[list[dict[str, Any]], Comparison]:
    """Rows and comparison in which contenders that are folders of this machine appear by name only, safe to share."""
    names = shown_names(one.name for one in found.contenders)
    shown = replace(
        found,
        contenders=tuple(replace(one, name=names[one.name]) for one in found.contenders),
        duels=tuple(replace(duel, one=names[duel.one], other=names[duel.other]) for duel in found.duels),
    )
    return [row | {"contender": names.get(row["contender"], row["contender"])} for row in rows], shown


def footnote(found: Comparison) -> str:
    """What the numbers mean, in a sentence or two."""
    told = (
        "Intervals are 95 % over prompts; each contender's mean over a prompt is one sample. "
        f"People compared contenders {found.comparisons} times; strengths are Bradley-Terry log odds."
    )
    if found.groups > 1:
        told += " Some were never compared with one another: their strengths are not comparable."
    if not found.settled:
        told += " One never lost or never won: its distance to the others is a guess."
    return told


def _interval(mean: Mean) -> str:
    return f"{mean.mean:.3f}" + ("" if mean.low is None else f" ({mean.low:.3f} to {mean.high:.3f})")


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) + "</tr>\n"
        for row in rows
    )
    return (
        f'<h2>{html.escape(title)}</h2>\n<div class="grid"><table class="numbers">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )
