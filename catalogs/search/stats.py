"""Statistics of a sweep: the mean scores per facet value, alone and with another, and how certain they are.

A row of the result speaks of one score and one facet value, over all images or within one value of a
second facet. `lift` is its mean minus the mean of the other values of the same facet there, with Welch's
confidence interval, so that "which artist lifts which subject" is one filter away.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where, identifier, unknown_column
from nonesuch.catalogs.sheets.typeset import (
    GAP,
    INK,
    MARGIN,
    PAPER,
    Look,
    font_for,
    shown,
    title_height,
    write,
    write_title,
)
from nonesuch.foundation.errors import InputError

if TYPE_CHECKING:
    import pandas

Numbers = npt.NDArray[np.float64]
_MAX_FACETS = 12  # 132 ordered pairs in one statement


def facet_stats(
    catalog: Catalog,
    *,
    facets: Sequence[str] | None = None,
    scores: Sequence[str] | None = None,
    where: Where = None,
    pairs: bool = True,
    confidence: float = 0.95,
) -> pandas.DataFrame:
    """One row for each score, facet value and, with `pairs`, each value of every other facet.

    Columns: score, facet, value, within, within_value (both null over all images), images, failed,
    share_failed, mean, low, high (Student's interval of the mean), sd, lift, lift_low, lift_high (see the
    module), best (highest score), best_recipe. Intervals hold for each row by itself; with many rows some
    will miss by chance. Null where there are too few images.

    facets, scores  by default all of the catalog's; a column such as steps or scheduler can be a facet
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence of {confidence}", where="stats", hint="Use a share such as 0.95.")
    names = _known(catalog, facets, catalog.facets, "facet")
    measured = _known(catalog, scores, catalog.scores, "score")
    if not names or not measured or len(names) > _MAX_FACETS:
        raise InputError(
            f"statistics need facets and scores; there are {len(names)} and {len(measured)}",
            where="stats",
            hint=f"Name up to {_MAX_FACETS} facet columns and at least one score.",
        )
    condition = catalog.condition(where)
    table = catalog.engine.read(lambda session: session.sql(_sql(names, measured, condition, pairs)))
    return _frame(table.to_pandas(), names, measured, pairs, confidence)


def heat_map(
    stats: pandas.DataFrame,
    *,
    score: str,
    rows: str,
    columns: str,
    value: str = "mean",
    title: str = "",
) -> Image.Image:
    """A chart of one number of `facet_stats` for each pair of two facets' values, RGB.

    `value` is the column to show, for example mean, lift, images or share_failed. Raises InputError when
    the statistics do not hold that pair.
    """
    cells = stats[(stats["score"] == score) & (stats["facet"] == rows) & (stats["within"] == columns)]
    if cells.empty or value not in stats.columns:
        raise InputError(
            f"the statistics have no {value} of {score!r} for {rows!r} and {columns!r}",
            hint="Compute them with pairs over both facets.",
        )
    down = sorted(cells["value"].unique())
    across = sorted(cells["within_value"].unique())
    found = {(r, c): v for r, c, v in zip(cells["value"], cells["within_value"], cells[value], strict=True)}
    known = [v for v in found.values() if v is not None and np.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    look = Look(thumb=96)
    width, height = 96, 40
    left = min(260, 16 + max(int(font_for(look.text, v).getlength(v)) for v in down))
    head = title_height(look) if title else 0
    canvas = Image.new(
        "RGB",
        (
            2 * MARGIN + left + len(across) * (width + 2),
            2 * MARGIN + head + 2 * look.line + len(down) * (height + 2),
        ),
        PAPER,
    )
    if title:
        write_title(canvas, title, look)
    draw = ImageDraw.Draw(canvas)
    top = MARGIN + head + look.line + GAP // 2
    for number, name in enumerate(across):
        place = (MARGIN + left + number * (width + 2) + 2, MARGIN + head)
        write(canvas, place, name, look.text, INK, width - 4, centre=True)
    for line, name in enumerate(down):
        y = top + line * (height + 2)
        write(canvas, (MARGIN, y + height // 2 - look.text // 2 - 2), name, look.text, INK, left - 12)
        for number, other in enumerate(across):
            x = MARGIN + left + number * (width + 2)
            cell = found.get((name, other))
            if cell is None or not np.isfinite(cell):
                draw.rectangle((x, y, x + width - 1, y + height - 1), "#f2f2f2")
                continue
            share = (cell - low) / (high - low) if high > low else 0.5
            colour = _colour(share)
            draw.rectangle((x, y, x + width - 1, y + height - 1), colour)
            ink = "#ffffff" if sum(colour) < 380 else INK
            text_place = (x, y + height // 2 - look.text // 2 - 2)
            write(canvas, text_place, shown(float(cell)), look.text, ink, width, centre=True)
    return canvas


def _sql(names: Sequence[str], scores: Sequence[str], condition: str, pairs: bool) -> str:
    values = ", ".join(f"CAST({identifier(name)} AS VARCHAR) AS f{i}" for i, name in enumerate(names))
    numbers = ", ".join(f"CAST({identifier(name)} AS DOUBLE) AS s{i}" for i, name in enumerate(scores))
    sets = ["()", *(f"(f{i})" for i in range(len(names)))]
    if pairs:
        sets += [f"(f{i}, f{j})" for i in range(len(names)) for j in range(i + 1, len(names))]
    measures = ", ".join(
        f"count(s{i}) AS n{i}, avg(s{i}) AS m{i}, coalesce(var_pop(s{i}), 0) AS v{i}, max(s{i}) AS b{i}, "
        f"arg_max(recipe_id, s{i}) AS r{i}"
        for i in range(len(scores))
    )
    keys = ", ".join(f"f{i}" for i in range(len(names)))
    return (
        f"SELECT {keys}, grouping({keys}) AS which, count(*) FILTER (status <> 'failed') AS images, "
        f"count(*) FILTER (status = 'failed') AS failed, {measures} "
        f"FROM (SELECT recipe_id, status, {values}, {numbers} FROM {{catalog}} WHERE {condition}) "
        f"GROUP BY GROUPING SETS ({', '.join(sets)})"
    )


def _frame(
    raw: pandas.DataFrame, names: Sequence[str], scores: Sequence[str], pairs: bool, confidence: float
) -> pandas.DataFrame:
    import pandas as pd

    last = len(names) - 1
    every = (1 << len(names)) - 1

    def grouped(*places: int) -> pandas.DataFrame:
        # GROUPING gives each key one bit, the first key the highest, set where it is not grouped by
        return raw[raw["which"] == every & ~sum(1 << (last - place) for place in places)]

    pieces: list[pandas.DataFrame] = []
    for number, score in enumerate(scores):
        for place, facet in enumerate(names):
            one = grouped(place).dropna(subset=[f"f{place}"])
            whole = grouped().iloc[np.zeros(len(one), int)]
            pieces.append(_rows(score, number, one, whole, facet, one[f"f{place}"], None, None, confidence))
        for place, other in permutations(range(len(names)), 2) if pairs else ():
            both = grouped(place, other).dropna(subset=[f"f{place}", f"f{other}"])
            around = grouped(other).set_index(f"f{other}").loc[both[f"f{other}"]]
            pieces.append(
                _rows(
                    score, number, both, around, names[place], both[f"f{place}"],
                    names[other], both[f"f{other}"], confidence,
                )
            )  # fmt: skip
    result = pd.concat([piece for piece in pieces if len(piece)] or pieces[:1], ignore_index=True)
    return result.sort_values(
        ["score", "within", "facet", "within_value", "mean"],
        ascending=[True, True, True, True, False],
        na_position="first",
        ignore_index=True,
    )


def _rows(
    score: str,
    number: int,
    part: pandas.DataFrame,
    whole: pandas.DataFrame,
    facet: str,
    values: Any,
    within: str | None,
    within_values: Any,
    confidence: float,
) -> pandas.DataFrame:
    import pandas as pd

    n, mean, var = (part[f"{name}{number}"].to_numpy(float, na_value=np.nan) for name in "nmv")
    all_n, all_mean, all_var = (whole[f"{name}{number}"].to_numpy(float, na_value=np.nan) for name in "nmv")
    with np.errstate(invalid="ignore", divide="ignore"):
        rest_n = all_n - n
        rest_mean = (all_n * all_mean - n * mean) / rest_n
        squares = all_n * (all_var + all_mean**2) - n * (var + mean**2)
        rest_var = np.maximum(squares / rest_n - rest_mean**2, 0)
        own = var / (n - 1)  # squared standard error of the mean, from the population variance
        other = rest_var / (rest_n - 1)
        half = _quantile(confidence, n - 1) * np.sqrt(own)
        lift = mean - rest_mean
        freedom = (own + other) ** 2 / (own**2 / (n - 1) + other**2 / (rest_n - 1))
        lift_half = _quantile(confidence, freedom) * np.sqrt(own + other)
        failed, images = part["failed"].to_numpy(float), part["images"].to_numpy(float)
        return pd.DataFrame(
            {
                "score": score,
                "facet": facet,
                "value": values.to_numpy(),
                "within": within,
                "within_value": None if within_values is None else within_values.to_numpy(),
                "images": part["images"].to_numpy(),
                "failed": part["failed"].to_numpy(),
                "share_failed": failed / (failed + images),
                "mean": mean,
                "low": mean - half,
                "high": mean + half,
                "sd": np.sqrt(var * n / (n - 1)),
                "lift": lift,
                "lift_low": lift - lift_half,
                "lift_high": lift + lift_half,
                "best": part[f"b{number}"].to_numpy(float, na_value=np.nan),
                "best_recipe": part[f"r{number}"].to_numpy(),
            }
        )


def _quantile(confidence: float, freedom: Numbers) -> Numbers:
    from scipy.special import stdtrit  # importing scipy.stats takes over a second

    found: Numbers = stdtrit(np.where(freedom > 0, freedom, np.nan), (1 + confidence) / 2)
    return found


def _known(catalog: Catalog, asked: Sequence[str] | None, default: list[str], what: str) -> list[str]:
    return default if asked is None else catalog_columns(catalog, asked, what)


def catalog_columns(catalog: Catalog, asked: Sequence[str], what: str) -> list[str]:
    """The named columns in the catalog's spelling. Raises InputError for one that is not there."""
    known = {name.lower(): name for name in catalog.fields.names}
    for name in asked:
        if name.lower() not in known:
            raise unknown_column(name, catalog.fields.names, where=what)
    return [known[name.lower()] for name in asked]


# Dark blue through green to yellow, equally bright steps, readable without colour vision: eight points
# along a path like viridis (van der Walt and Smith, 2015).
_SCALE = np.array(
    [
        (68, 1, 84), (70, 50, 127), (54, 92, 141), (39, 127, 142),
        (31, 161, 135), (74, 194, 109), (159, 218, 58), (253, 231, 37),
    ],
    float,
)  # fmt: skip


def _colour(share: float) -> tuple[int, int, int]:
    place = min(max(share, 0.0), 1.0) * (len(_SCALE) - 1)
    low = min(int(place), len(_SCALE) - 2)
    mixed = _SCALE[low] * (low + 1 - place) + _SCALE[low + 1] * (place - low)
    return int(mixed[0]), int(mixed[1]), int(mixed[2])
