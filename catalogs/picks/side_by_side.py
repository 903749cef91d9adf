"""Generators side by side: scores paired by prompt, time and cost, and which one people prefer.

A contender is one value of a column, by default the model (of imported images without one, the program that made
them). Prompts count as the same when they differ only in case and in white space around them. Images of one prompt are
not independent samples, so every interval is over prompts: each contender's mean score of a prompt is one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nonesuch.catalogs.picks.bradley_terry import Ranked, ranking
from nonesuch.catalogs.picks.events import Pair
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import Where, identifier, literal, plain_column, unknown_column
from nonesuch.foundation.errors import InputError

Numbers = npt.NDArray[np.float64]
MOST = 24  # contenders in one comparison
_USUAL = ("aesthetic", "alignment")
_IN_STATEMENT = 5000  # recipe ids in one statement
_DRAWN = 200  # shared prompts from which a blind pair is drawn


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over prompts."""

    mean: float
    low: float | None  # Student's interval; None for a single prompt
    high: float | None
    prompts: int


@dataclass(frozen=True, slots=True)
class Contender:
    """One generator."""

    name: str
    images: int  # drawn, flagged ones included
    failed: int
    flagged: int
    prompts: int  # different ones, with an image
    scores: Mapping[str, Mean]
    seconds: float | None  # mean time to draw an image
    cost: float | None  # US dollars, mean of the images that say what they cost
    paid: float  # US dollars for all of them, failed ones included
    preferred: Ranked | None  # its place among contenders by people's comparisons; None when it was in none


@dataclass(frozen=True, slots=True)
class Duel:
    """Two contenders by one score, over the prompts that both drew."""

    score: str
    one: str
    other: str
    prompts: int  # that they share
    difference: float  # mean over prompts of one's mean score less the other's
    low: float | None  # Student's interval of the paired differences; None for a single prompt
    high: float | None
    better: float  # share of the prompts at which `one` scores higher; a tie counts half


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `nonesuch compare` tells."""

    by: str
    contenders: tuple[Contender, ...]  # the preferred ones first, then by the first score
    duels: tuple[Duel, ...]
    comparisons: int  # people's, between two contenders
    groups: int  # more than 1: contenders that nobody compared, directly or through others
    settled: bool  # False: one never lost or never won, so how far it is ahead or behind is a guess


def compare(
    catalog: Catalog,
    pairs: Sequence[Pair] = (),
    *,
    by: str = "model",
    where: Where = None,
    scores: Sequence[str] | None = None,
) -> Comparison:
    """The contenders of a catalog, side by side; `pairs` are people's comparisons of its images.

    scores  columns; by default aesthetic and alignment where the catalog has them, else all scores

    Raises InputError for unknown columns, fewer than two contenders, and more than MOST.
    """
    who, measured = contender_sql(catalog, by), _scores(catalog, scores)
    table = catalog.engine.read(lambda session: session.sql(_means_sql(catalog, who, measured, where)))
    rows = table.to_pylist()
    names = sorted({row["who"] for row in rows})
    if not 2 <= len(names) <= MOST:
        raise InputError(
            f"{len(names)} contenders by {by!r}: {', '.join(names[:5]) or 'none'}",
            where="by",
            hint=f"A comparison has 2 to {MOST}; name another column or narrow it with --where.",
        )
    of = {name: [row for row in rows if row["who"] == name] for name in names}
    ranked = ranking(fought) if (fought := _fought(catalog, pairs, who, where)) else None
    places = {} if ranked is None else {one.recipe_id: one for one in ranked.images}
    found = [_contender(name, of[name], measured, places.get(name)) for name in names]
    first = measured[0] if measured else None

    def order(one: Contender) -> tuple[Any, ...]:
        strength = one.preferred.strength if one.preferred else None
        score = one.scores[first].mean if first in one.scores else 0.0  # type: ignore[index]
        return strength is None, -(strength or 0.0), -score, one.name

    found.sort(key=order)
    return Comparison(
        by=by,
        contenders=tuple(found),
        duels=tuple(
            duel
            for place, score in enumerate(measured)
            for one, other in combinations([c.name for c in found], 2)
            if (duel := _duel(score, place, one, other, of)) is not None
        ),
        comparisons=len(fought),
        groups=0 if ranked is None else ranked.groups,
        settled=ranked is None or ranked.settled,
    )


def contender_sql(catalog: Catalog, by: str) -> str:
    """The SQL expression of a row's contender. Raises InputError for an unknown column."""
    column = plain_column(by, catalog.fields.names)
    if column is None:
        raise unknown_column(by, catalog.fields.names, where="by")
    told = f"nullif(CAST({identifier(column)} AS VARCHAR), '')"
    return (
        f"coalesce({told}, CAST(backend AS VARCHAR), 'unknown')"
        if column == "model"
        else f"coalesce({told}, 'none')"
    )


def blind_pair(
    catalog: Catalog,
    pairs: Sequence[Pair],
    *,
    by: str = "model",
    where: Where = None,
    seed: int | None = None,
) -> tuple[str, str]:
    """Two recipe ids of one prompt by two contenders, in an order drawn by chance.

    The two contenders that were compared least so far come first; prompt and images are drawn by chance. Raises
    InputError when no prompt was drawn by two contenders.
    """
    who, chance = contender_sql(catalog, by), Random(seed)
    condition = f"({catalog.condition(where)}) AND status <> 'failed' AND file IS NOT NULL"
    salt = chance.getrandbits(60)

    def work(session: Session) -> pa.Table:
        return session.sql(
            f"""WITH shown AS (SELECT recipe_id, {_PROMPT} AS words, {who} AS who,
              md5_number_lower(recipe_id || ':{salt}') AS drawn FROM {{catalog}} WHERE {condition}),
            shared AS (SELECT words FROM shown GROUP BY words HAVING count(DISTINCT who) > 1
              ORDER BY md5_number_lower(words || ':{salt}') LIMIT {_DRAWN})
            SELECT recipe_id, words, who FROM shown JOIN shared USING (words)
            QUALIFY row_number() OVER (PARTITION BY words, who ORDER BY drawn) = 1 ORDER BY words, who"""
        )

    by_prompt: dict[str, dict[str, str]] = {}
    for row in catalog.engine.read(work).to_pylist():
        by_prompt.setdefault(row["words"], {})[row["who"]] = row["recipe_id"]
    met: dict[frozenset[str], int] = {}
    for winner, loser in _fought(catalog, pairs, who, where):
        met[frozenset((winner, loser))] = met.get(frozenset((winner, loser)), 0) + 1
    couples = [
        (met.get(frozenset(couple), 0), chance.random(), prompt, couple)
        for prompt, drawn in by_prompt.items()
        for couple in combinations(sorted(drawn), 2)
    ]
    if not couples:
        raise InputError(
            "no prompt was drawn by two contenders",
            where=by,
            hint="Draw the same prompts with several models: facets: {model: [embedded, …]}.",
        )
    _, _, prompt, couple = min(couples)
    ids = [by_prompt[prompt][name] for name in couple]
    chance.shuffle(ids)
    return ids[0], ids[1]


def grid_rows(
    catalog: Catalog,
    *,
    by: str = "model",
    where: Where = None,
    order: str | None = None,
    prompts: int = 20,
) -> list[dict[str, Any]]:
    """Rows for an X/Y grid, contenders across and prompts down: each has a `contender` beside its columns.

    The prompts that most contenders drew come first; of each cell's images the best by `order`, by default by the
    first usual score, stands first.
    """
    who, condition = contender_sql(catalog, by), catalog.condition(where)
    best = order or next(iter(_scores(catalog, None)), None)
    ranked = (
        f"CAST({identifier(plain_column(best, catalog.fields.names) or best)} AS DOUBLE) DESC NULLS LAST, "
        if best
        else ""
    )
    wanted = [
        name
        for name in ("model", "seed", "aesthetic", "alignment", "cost", "draw_seconds")
        if name in catalog.schema.names
    ]
    listed = ", ".join(identifier(name) for name in ["recipe_id", "file", "reason", "sha256", *wanted])
    sql = f"""WITH shown AS (SELECT {listed}, trim(prompt) AS prompt, {_PROMPT} AS words, {who} AS contender, plan_index,
        status FROM {{catalog}} WHERE ({condition})),
      chosen AS (SELECT words, count(DISTINCT contender) AS many, min(plan_index) AS first FROM shown
        WHERE file IS NOT NULL GROUP BY words ORDER BY many DESC, first, words LIMIT {int(prompts)})
      SELECT shown.* EXCLUDE (words, status), first(prompt) OVER (PARTITION BY words ORDER BY plan_index) AS prompt_shown
      FROM shown JOIN chosen USING (words)
      QUALIFY row_number() OVER (PARTITION BY words, contender ORDER BY status = 'failed', {ranked} plan_index) = 1
      ORDER BY many DESC, chosen.first, words, contender"""
    rows: list[dict[str, Any]] = catalog.engine.read(lambda session: session.sql(sql)).to_pylist()
    return [{**row, "prompt": row.pop("prompt_shown")} for row in rows]


_PROMPT = "lower(trim(coalesce(prompt, '')))"


def _scores(catalog: Catalog, asked: Sequence[str] | None) -> list[str]:
    if asked:
        found = [plain_column(name, catalog.fields.names) for name in asked]
        for name, column in zip(asked, found, strict=True):
            if column is None:
                raise unknown_column(name, catalog.fields.names, where="score")
        return [column for column in found if column is not None]
    return [name for name in _USUAL if name in catalog.scores] or catalog.scores


def _means_sql(catalog: Catalog, who: str, scores: Sequence[str], where: Where) -> str:
    drawn = "FILTER (status <> 'failed')"
    means = "".join(
        f", avg(CAST({identifier(score)} AS DOUBLE)) {drawn} AS score_{place}"
        for place, score in enumerate(scores)
    )
    known = set(catalog.schema.names)
    cost = "cost" if "cost" in known else "CAST(NULL AS DOUBLE)"
    return (
        f"SELECT {who} AS who, {_PROMPT} AS words, count(*) {drawn} AS images, "
        f"count(*) FILTER (status = 'failed') AS failed, count(*) FILTER (status = 'flagged') AS flagged, "
        f"sum(CAST(draw_seconds AS DOUBLE)) {drawn} AS seconds, count(draw_seconds) {drawn} AS timed, "
        f"sum({cost}) AS paid, count({cost}) {drawn} AS priced, sum({cost}) {drawn} AS spent{means} "
        f"FROM {{catalog}} WHERE ({catalog.condition(where)}) GROUP BY ALL"
    )


def _contender(
    name: str, rows: Sequence[Mapping[str, Any]], scores: Sequence[str], preferred: Ranked | None
) -> Contender:
    def total(key: str) -> float:
        return sum(row[key] or 0 for row in rows)

    timed, priced = total("timed"), total("priced")
    return Contender(
        name=name,
        images=int(total("images")),
        failed=int(total("failed")),
        flagged=int(total("flagged")),
        prompts=sum(row["images"] > 0 for row in rows),
        scores={
            score: _mean(values)
            for place, score in enumerate(scores)
            if (values := [row[f"score_{place}"] for row in rows if row[f"score_{place}"] is not None])
        },
        seconds=total("seconds") / timed if timed else None,
        cost=total("spent") / priced if priced else None,
        paid=round(total("paid"), 6),
        preferred=preferred,
    )


def _duel(
    score: str, place: int, one: str, other: str, of: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Duel | None:
    """Two contenders by one score; None when they share no prompt."""
    means = [
        {row["words"]: row[f"score_{place}"] for row in of[name] if row[f"score_{place}"] is not None}
        for name in (one, other)
    ]
    shared = sorted(means[0].keys() & means[1].keys())
    if not shared:
        return None
    apart = np.array([means[0][words] - means[1][words] for words in shared])
    difference, low, high = student(apart)
    better = float((np.sign(apart) + 1).mean() / 2)
    return Duel(score, one, other, len(shared), difference, low, high, better)


def _mean(values: Sequence[float]) -> Mean:
    mean, low, high = student(np.asarray(values, np.float64))
    return Mean(mean, low, high, len(values))


def student(values: Numbers, confidence: float = 0.95) -> tuple[float, float | None, float | None]:
    """Mean and Student's interval of it [N]; no interval for a single value."""
    from scipy.special import stdtrit

    mean = float(values.mean())
    if len(values) < 2:
        return mean, None, None
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _fought(catalog: Catalog, pairs: Sequence[Pair], who: str, where: Where) -> list[tuple[str, str]]:
    """(winner, loser) contenders of the comparisons between two of them, on one prompt."""
    ids = sorted({name for pair in pairs for name in (pair.winner, pair.loser)})
    facts: dict[str, tuple[str, str]] = {}
    condition = catalog.condition(where)
    for start in range(0, len(ids), _IN_STATEMENT):
        listed = ", ".join(literal(name) for name in ids[start : start + _IN_STATEMENT])
        sql = f"SELECT recipe_id, {who} AS who, {_PROMPT} AS words FROM {{catalog}} WHERE ({condition}) AND recipe_id IN ({listed})"
        found = catalog.engine.read(lambda session, sql=sql: session.sql(sql)).to_pylist()  # type: ignore[misc]
        facts |= {row["recipe_id"]: (row["who"], row["words"]) for row in found}
    fought = [
        (facts[pair.winner], facts[pair.loser])
        for pair in pairs
        if pair.winner in facts and pair.loser in facts
    ]
    return [(won[0], lost[0]) for won, lost in fought if won[0] != lost[0] and won[1] == lost[1]]
