"""The X/Y grid: the values of one facet against those of another, an image in each cell, coloured by a score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nonesuch.catalogs.search.expressions import identifier
from nonesuch.catalogs.search.stats import facet_stats
from nonesuch.foundation.errors import InputError
from nonesuch.web.gallery.filter_columns import whole
from nonesuch.web.gallery.panel import overview
from nonesuch.web.gallery.reader import Gallery
from nonesuch.web.gallery.view import View, conditions, where

ROWS, COLUMNS = 30, 12  # values of one tile
MOST_VALUES = 2000  # values of a facet that can be an axis
HEATS = 10  # colours are numbered from 0 to this
Heat = Literal["mean", "lift", "best"]
Number = float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What a grid's address asks for, besides the view."""

    down: str  # facet whose values are the rows
    across: str  # facet whose values are the columns
    score: str  # "" when there are no scores
    seed: int | None  # of the image in each cell; None: the best one by the score
    heat: Heat
    by_name: bool  # values in the order of their names, not of their means
    row: int = 0  # first value of the tile
    column: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """One value of an axis."""

    value: str
    mean: Number  # of the score over all its images


@dataclass(frozen=True, slots=True)
class Cell:
    """One row's value with one column's."""

    recipe_id: str | None  # of the image that is shown
    images: int
    failed: int
    mean: Number
    low: Number  # ends of the mean's 95 % interval
    high: Number
    lift: Number  # mean minus that of the other rows in this column
    lift_low: Number
    lift_high: Number
    best: Number
    level: int | None  # colour; None when there is nothing to colour


@dataclass(frozen=True, slots=True)
class Cross:
    """One tile of an X/Y grid."""

    rows: Sequence[Head]
    columns: Sequence[Head]
    cells: Mapping[tuple[str, str], Cell]
    all_rows: int  # values of the whole axis
    all_columns: int
    low: Number  # the values of the first and the last colour
    high: Number


def axes(gallery: Gallery) -> list[str]:
    """The columns that can be an axis: those with more than one value, but not too many."""
    about = overview(gallery).distinct
    return [name for name in gallery.columns.facets if 1 < about[name] <= MOST_VALUES]


def choice(items: Mapping[str, str], gallery: Gallery) -> Choice:
    """What the query string asks for. Raises InputError for columns that can't be axes or scores."""
    columns, known = gallery.columns, axes(gallery)
    default = [name for name in known if name in columns.axes] + known
    if len(dict.fromkeys(default)) < 2:
        raise InputError("an X/Y grid needs two facets with more than one value each")
    across_default, down_default = list(dict.fromkeys(default))[:2]
    down = columns.facet(items["rows"]) if items.get("rows") else down_default
    across = columns.facet(items["columns"]) if items.get("columns") else across_default
    if down == across:
        across = next(name for name in default if name != down)
    if not {down, across} <= set(known):
        raise InputError(f"{down} and {across} can't be the axes", hint=f"Use {', '.join(known)}.")
    score = columns.score(items["score"]) if items.get("score") else (columns.scores or ("",))[0]
    heat = items.get("heat", "mean")
    if heat not in ("mean", "lift", "best"):
        raise InputError(f"{heat[:40]!r} is not a colouring", where="heat", hint="Use mean, lift or best.")
    return Choice(
        down=down,
        across=across,
        score=score,
        seed=whole(items["seed"], "seed") if items.get("seed") else None,
        heat=heat,  # type: ignore[arg-type]  # compared with every value above
        by_name=items.get("sort") == "name",
        row=max(0, whole(items.get("r") or "0", "r")),
        column=max(0, whole(items.get("c") or "0", "c")),
    )


def cross(gallery: Gallery, view: View, asked: Choice) -> Cross:
    """The requested tile of the grid, over the images of a view."""
    found = {**conditions(view, gallery.columns), "[file]": "file IS NOT NULL"}
    condition = where(found)
    if asked.score:
        about = ("cross", condition, asked.down, asked.across, asked.score)
        stats = gallery.keep(about, view, lambda: _stats(gallery, asked, condition))
    else:
        stats = _counted(gallery, asked, condition)
    heads = {name: _heads(stats, name, asked.by_name) for name in (asked.down, asked.across)}
    rows = heads[asked.down][asked.row : asked.row + ROWS]
    columns = heads[asked.across][asked.column : asked.column + COLUMNS]
    pairs = [r for r in stats if r["facet"] == asked.down and r["within"] == asked.across]
    values = [v for r in pairs if (v := r[asked.heat]) is not None]
    low, high = (min(values), max(values)) if values else (None, None)
    shown = {(r["value"], r["within_value"]): r for r in pairs}
    tile = {
        (one.value, other.value): shown[one.value, other.value]
        for one in rows
        for other in columns
        if (one.value, other.value) in shown
    }
    chosen = (
        _chosen(gallery, asked, condition, tile)
        if asked.seed is not None or not asked.score
        else {place: r["best_recipe"] for place, r in tile.items()}
    )
    return Cross(
        rows=rows,
        columns=columns,
        cells={
            place: _cell(r, chosen.get(place), _level(r[asked.heat], low, high)) for place, r in tile.items()
        },
        all_rows=len(heads[asked.down]),
        all_columns=len(heads[asked.across]),
        low=low,
        high=high,
    )


def _cell(row: Mapping[str, Any], recipe_id: str | None, level: int | None) -> Cell:
    return Cell(
        recipe_id=recipe_id,
        images=row["images"],
        failed=row["failed"],
        mean=row["mean"],
        low=row["low"],
        high=row["high"],
        lift=row["lift"],
        lift_low=row["lift_low"],
        lift_high=row["lift_high"],
        best=row["best"],
        level=level,
    )


def _stats(gallery: Gallery, asked: Choice, condition: str) -> list[dict[str, Any]]:
    frame = facet_stats(
        gallery.catalog, facets=[asked.down, asked.across], scores=[asked.score], where=condition
    )
    frame = frame.astype(object).where(frame.notna(), None)
    rows: list[dict[str, Any]] = frame.to_dict("records")
    return rows


def _counted(gallery: Gallery, asked: Choice, condition: str) -> list[dict[str, Any]]:
    """The same rows for a catalog without scores: only counts."""
    down, across = (f"CAST({identifier(name)} AS VARCHAR)" for name in (asked.down, asked.across))
    table = gallery.read(
        lambda session: session.sql(
            f"SELECT {down} AS r, {across} AS c, count(*) FILTER (status <> 'failed') AS images, "
            f"count(*) FILTER (status = 'failed') AS failed FROM {{catalog}} "
            f"WHERE {condition} AND r IS NOT NULL AND c IS NOT NULL GROUP BY ALL"
        )
    ).to_pylist()
    nothing = dict.fromkeys(
        (
            "mean",
            "low",
            "high",
            "lift",
            "lift_low",
            "lift_high",
            "best",
            "best_recipe",
            "within",
            "within_value",
        )
    )
    heads = [
        {**nothing, "facet": name, "value": value}
        for name, key in ((asked.down, "r"), (asked.across, "c"))
        for value in sorted({row[key] for row in table})
    ]
    pairs = [
        {**nothing, "facet": asked.down, "within": asked.across, "value": row["r"], "within_value": row["c"],
         "images": row["images"], "failed": row["failed"]}
        for row in table
    ]  # fmt: skip
    return [*heads, *pairs]


def _heads(stats: Iterable[Mapping[str, Any]], facet: str, by_name: bool) -> list[Head]:
    heads = [Head(r["value"], r["mean"]) for r in stats if r["facet"] == facet and r["within"] is None]
    if by_name:
        return sorted(heads, key=lambda head: _natural(head.value))
    return sorted(heads, key=lambda head: (head.mean is None, -(head.mean or 0), _natural(head.value)))


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers by size, before words by letter."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value.casefold()


def _chosen(
    gallery: Gallery, asked: Choice, condition: str, tile: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The first image of each cell in the plan's order, of the seed that was asked for."""
    places = list(tile)
    if not places:
        return {}
    down, across = identifier(asked.down), identifier(asked.across)
    of_seed = f" AND seed = {asked.seed}" if asked.seed is not None else ""
    columns = gallery.columns
    listed = [
        ", ".join(columns.value_sql(name, value) for value in dict.fromkeys(place[at] for place in places))
        for at, name in enumerate((asked.down, asked.across))
    ]
    rows = gallery.read(
        lambda session: session.sql(
            f"SELECT CAST({down} AS VARCHAR) AS r, CAST({across} AS VARCHAR) AS c, "
            f"arg_min(recipe_id, plan_index) AS id FROM {{catalog}} WHERE {condition}{of_seed} "
            f"AND {down} IN ({listed[0]}) AND {across} IN ({listed[1]}) GROUP BY ALL"
        )
    ).to_pylist()
    return {(row["r"], row["c"]): row["id"] for row in rows if row["id"] is not None}


def _level(value: Number, low: Number, high: Number) -> int | None:
    if value is None or low is None or high is None:
        return None
    return round(HEATS * (value - low) / (high - low)) if high > low else HEATS // 2
