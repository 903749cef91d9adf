"""Agreement of scorers: how alike two scores rank the same images, with bootstrap intervals.

Spearman's rho and Kendall's tau-b, both for ties. Resampling repeats images, so a resample is a weight for
each image: all resamples are computed at once, exactly, without sorting anything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import Where, identifier
from nonesuch.catalogs.search.stats import catalog_columns
from nonesuch.foundation.errors import InputError

Numbers = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]

IMAGES = 1000  # in a group, drawn by a hash of the recipe id; an interval is about 0.06 to either side
_FEWEST = 10  # images from which a correlation is reported
_RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two scores agree over all images, or over those of one value of a column."""

    first: str
    second: str
    within: str | None  # the column whose value the images share
    value: str | None
    images: int  # that have both scores
    spearman: float | None  # rho, -1 to 1; None where a score is the same for all
    spearman_low: float | None
    spearman_high: float | None
    kendall: float | None  # tau-b, -1 to 1
    kendall_low: float | None
    kendall_high: float | None


def agreement(
    catalog: Catalog,
    *,
    scores: Sequence[str] | None = None,
    within: str | None = None,
    where: Where = None,
    images: int = IMAGES,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Agreement]:
    """One row for each pair of scores, and with `within` for each value of that column too.

    scores  by default the catalog's that differ between images; any numeric column can be one, also stars
    images  at most so many of all, and of each value; the time grows with their square

    The intervals are percentiles of bootstrap resamples (Efron, Annals of Statistics 7, 1979). Raises
    InputError for fewer than two scores and columns that are not there.
    """
    if not 0 < confidence < 1 or images < _FEWEST:
        raise InputError(
            "agreement needs a confidence between 0 and 1 and at least 10 images", where="agreement"
        )
    names = list(catalog.scores) if scores is None else catalog_columns(catalog, scores, "score")
    names = list(dict.fromkeys(names))
    facet = None if within is None else catalog_columns(catalog, [within], "within")[0]
    rng = np.random.default_rng(seed)
    table = _drawn(catalog, names, None, where, images)
    if scores is None:
        names = [name for name in names if len(np.unique(_known(table, name))) > 1]
    if len(names) < 2:
        raise InputError(
            f"agreement needs two scores that differ between images; there are {len(names)}",
            where="agreement",
        )
    rows = [_agree(table, *pair, None, None, confidence, rng) for pair in combinations(names, 2)]
    if facet is not None:
        table = _drawn(catalog, names, facet, where, images)
        values = pc.cast(table["within"], pa.string())
        for value in sorted(set(values.to_pylist()) - {None}):
            group = table.filter(pc.fill_null(pc.equal(values, value), False))
            rows += [_agree(group, *pair, facet, value, confidence, rng) for pair in combinations(names, 2)]
    return rows


def rank_correlations(x: Numbers, y: Numbers, weights: Weights) -> tuple[Numbers, Numbers]:
    """Spearman's rho and Kendall's tau-b of x and y [N] under each row of `weights` [B, N]: two of [B].

    A weight says how often an image counts. NaN where one of the two has only one value.
    """
    ranks_x, ranks_y = _weighted_ranks(x, weights), _weighted_ranks(y, weights)
    signs_x = np.sign(np.subtract.outer(x, x)).astype(np.float32)
    signs_y = np.sign(np.subtract.outer(y, y)).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = _paired(weights, ranks_x, ranks_x) * _paired(weights, ranks_y, ranks_y)
        rho = _paired(weights, ranks_x, ranks_y) / np.sqrt(spread)
        untied = _over_pairs(weights, np.abs(signs_x)) * _over_pairs(weights, np.abs(signs_y))
        tau = _over_pairs(weights, signs_x * signs_y) / np.sqrt(untied)
    return rho, tau


def _drawn(catalog: Catalog, names: Sequence[str], facet: str | None, where: Where, most: int) -> pa.Table:
    condition = catalog.condition(where)
    columns = ", ".join(f"CAST({identifier(name)} AS DOUBLE) AS s{i}" for i, name in enumerate(names))
    value = "NULL" if facet is None else identifier(facet)
    sql = (
        f"SELECT {value} AS within, {columns} FROM {{catalog}} WHERE {condition} AND status <> 'failed' "
        f"QUALIFY row_number() OVER (PARTITION BY within ORDER BY md5_number_lower(recipe_id)) <= {int(most)}"
    )
    table: pa.Table = catalog.engine.read(lambda session: session.sql(sql))
    return table.rename_columns(["within", *names])


def _known(table: pa.Table, name: str) -> Numbers:
    values = np.asarray(table[name].to_numpy(), np.float64)
    return values[np.isfinite(values)]


def _agree(
    table: pa.Table,
    first: str,
    second: str,
    within: str | None,
    value: str | None,
    confidence: float,
    rng: np.random.Generator,
) -> Agreement:
    x, y = (np.asarray(table[name].to_numpy(), np.float64) for name in (first, second))
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < _FEWEST:
        return Agreement(first, second, within, value, len(x), None, None, None, None, None, None)
    resamples = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), _RESAMPLES)
    weights = np.vstack([np.ones(len(x)), resamples]).astype(np.float32)
    numbers: list[float | None] = []
    for found in rank_correlations(x, y, weights):
        again = found[1:][np.isfinite(found[1:])]
        if not np.isfinite(found[0]) or not len(again):
            numbers += [None, None, None]
            continue
        low, high = np.quantile(again, [0.5 - confidence / 2, 0.5 + confidence / 2])
        numbers += [float(found[0]), float(low), float(high)]
    return Agreement(first, second, within, value, len(x), *numbers)


def _weighted_ranks(values: Numbers, weights: Weights) -> Numbers:
    # The middle rank of each value [B, N], less the mean rank, when each image counts its weight.
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(place.max() + 1))
    of_value = np.add.reduceat(weights[:, order].astype(np.float64), starts, axis=1)
    middle = np.cumsum(of_value, axis=1) - of_value / 2
    return np.asarray(middle[:, place] - weights.sum(axis=1, dtype=np.float64, keepdims=True) / 2)


def _paired(weights: Weights, a: Numbers, b: Numbers) -> Numbers:
    return np.asarray(np.einsum("bn,bn,bn->b", weights, a, b))


def _over_pairs(weights: Weights, matrix: Weights) -> Numbers:
    # Whole numbers below 2**24 in each sum: exact in single precision.
    return np.asarray(np.einsum("bn,bn->b", weights @ matrix, weights, dtype=np.float64))
