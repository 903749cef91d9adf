"""The filters beside the images: how many images each value has, and how each score is distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import identifier
from nonesuch.web.gallery.filter_columns import Columns
from nonesuch.web.gallery.reader import Gallery
from nonesuch.web.gallery.view import View, conditions, where

BINS = 28  # bars of a histogram
MOST_VALUES = 80  # listed of one facet
TYPED = 2000  # number of distinct values above which a facet is typed instead of listed
_SAMPLED = 200_000  # rows from which histograms are drawn from a sample


@dataclass(frozen=True, slots=True)
class Spread:
    """How one score is distributed over all images."""

    low: float
    high: float
    bars: tuple[int, ...]  # heights of BINS bars from low to high, 0 to 100


@dataclass(frozen=True, slots=True)
class Overview:
    """Facts about the whole catalog."""

    rows: int
    distinct: Mapping[str, int]  # approximate number of values of each facet
    spreads: Mapping[str, Spread]  # for the scores that have values


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a facet."""

    text: str
    images: int  # in the view, without this facet's own filter
    on: bool  # whether the filter includes it


@dataclass(frozen=True, slots=True)
class FacetList:
    """One facet as it is offered."""

    name: str
    values: Sequence[Value]
    more: int  # values that are not listed
    typed: bool  # too many values for a list


@dataclass(frozen=True, slots=True)
class Panel:
    """The filters of a view."""

    count: int  # images in the view
    facets: Sequence[FacetList]


def overview(gallery: Gallery) -> Overview:
    """The summary of the whole catalog, cached until it changes."""
    columns = gallery.columns
    return gallery.answer(("overview", columns.facets, columns.scores), None, lambda s: _overview(s, columns))


def panel(gallery: Gallery, view: View) -> Panel:
    """The filters of a view with their counts, cached until the catalog changes."""
    columns, about = gallery.columns, overview(gallery)
    found = conditions(view, columns)
    chosen = dict(view.facets)
    names = [name for name in columns.facets if about.distinct[name] > 1 or name in chosen]
    listed = [name for name in names if about.distinct[name] <= TYPED]
    counts: Mapping[str | None, dict[str, int]] = gallery.answer(
        ("panel", *found.items(), *listed), view, lambda s: _counts(s, found, listed)
    )
    facets = []
    for name in names:
        on = chosen.get(name, ())
        values = sorted(counts.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
        shown = [Value(text, images, text in on) for text, images in values]
        kept = [v for place, v in enumerate(shown) if v.on or place < MOST_VALUES]
        missing = [Value(text, 0, True) for text in on if text not in counts.get(name, {})]
        facets.append(FacetList(name, [*missing, *kept], len(shown) - len(kept), name not in listed))
    return Panel(counts[None][""], facets)


def tidied(view: View, about: Overview) -> View:
    """The view without range ends at or beyond the ends of a score, which exclude nothing.

    A form sends every slider, moved or not.
    """
    kept = []
    for name, least, most in view.ranges:
        spread = about.spreads.get(name)
        if spread is not None:
            slack = 1e-6 * (spread.high - spread.low)
            least = None if least is not None and least <= spread.low + slack else least
            most = None if most is not None and most >= spread.high - slack else most
        if least is not None or most is not None:
            kept.append((name, least, most))
    return replace(view, ranges=tuple(kept))


def _counts(
    session: Session, found: dict[str, str], names: Sequence[str]
) -> Mapping[str | None, dict[str, int]]:
    """Images by value for each facet, without its own filter, and under None all images of the view."""
    plain = [name for name in names if name not in found]
    columns = ", ".join(f"{identifier(name)} AS f{i}" for i, name in enumerate(plain))
    keys = [f"f{i}" for i in range(len(plain))]
    sets = ", ".join(["()", *(f"({key})" for key in keys)])
    shown = "".join(f"CAST({key} AS VARCHAR) AS {key}, " for key in keys)
    which = f"grouping({', '.join(keys)})" if keys else "0"
    table = session.sql(
        f"SELECT {shown}{which} AS which, count(*) AS n FROM "
        f"(SELECT {columns or '1 AS one'} FROM {{catalog}} WHERE {where(found)}) GROUP BY GROUPING SETS ({sets})"
    )
    every = (1 << len(plain)) - 1
    counts: dict[str | None, dict[str, int]] = {name: {} for name in [None, *names]}
    for row in table.to_pylist():
        if row["which"] == every:
            counts[None][""] = row["n"]
            continue
        # GROUPING gives each key one bit, the first key the highest, set when it is not grouped by
        place = len(plain) - 1 - (every & ~row["which"]).bit_length() + 1
        if row[f"f{place}"] is not None:
            counts[plain[place]][row[f"f{place}"]] = row["n"]
    for name in names:
        if name in found:
            one = session.sql(
                f"SELECT CAST({identifier(name)} AS VARCHAR) AS value, count(*) AS n FROM {{catalog}} "
                f"WHERE {where(found, but=name)} GROUP BY ALL"
            )
            counts[name] = {r["value"]: r["n"] for r in one.to_pylist() if r["value"] is not None}
    return counts


def _overview(session: Session, columns: Columns) -> Overview:
    distinct = "".join(
        f", approx_count_distinct({identifier(name)}) AS d{i}" for i, name in enumerate(columns.facets)
    )
    ends = "".join(
        f", min({_finite(name)}) AS low{i}, max({_finite(name)}) AS high{i}"
        for i, name in enumerate(columns.scores)
    )
    row: dict[str, Any] = session.sql(f"SELECT count(*) AS n{distinct}{ends} FROM {{catalog}}").to_pylist()[0]
    known = {
        name: (float(row[f"low{i}"]), float(row[f"high{i}"]))
        for i, name in enumerate(columns.scores)
        if row[f"low{i}"] is not None
    }
    return Overview(
        rows=row["n"],
        distinct={name: row[f"d{i}"] for i, name in enumerate(columns.facets)},
        spreads={name: Spread(*known[name], bars) for name, bars in _bars(session, known, row["n"]).items()},
    )


def _bars(session: Session, ends: Mapping[str, tuple[float, float]], rows: int) -> dict[str, tuple[int, ...]]:
    if not ends:
        return {}
    bins = [
        f"histogram(CAST(least({BINS - 1}, floor((CAST({_finite(name)} AS DOUBLE) - {low!r}) * {BINS} / "
        f"{(high - low) or 1.0!r})) AS INTEGER)) AS b{i}"
        for i, (name, (low, high)) in enumerate(ends.items())
    ]
    sample = f" USING SAMPLE {100 * _SAMPLED / rows:.3f} PERCENT (system)" if rows > _SAMPLED else ""
    row = session.sql(f"SELECT {', '.join(bins)} FROM {{catalog}}{sample}").to_pylist()[0]
    found = {}
    for i, name in enumerate(ends):
        counts = dict(row[f"b{i}"] or ())
        most = max(counts.values(), default=1)
        # square roots, so that rare values stay visible beside common ones
        found[name] = tuple(round(100 * (counts.get(bar, 0) / most) ** 0.5) for bar in range(BINS))
    return found


def _finite(name: str) -> str:
    """The score, null when it is not a number."""
    return f"CASE WHEN isfinite(CAST({identifier(name)} AS DOUBLE)) THEN {identifier(name)} END"
