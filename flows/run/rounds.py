"""Which recipes a run draws, round by round: all that are pending, or with `adaptive` what the scores suggest.

A round depends on the sweep file, the scores of the rounds before it and its number alone. So a run that continues
after a stop first walks through the rounds that the catalog has, comes to the one that was broken off, and draws
what it lacks: the same catalog gives the same set.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.expressions import checked_expression, identifier, literal, plain_column
from nonesuch.catalogs.storage.parts import read_schema
from nonesuch.flows.run.job import Job, pending
from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.space import sample_ranks
from nonesuch.generators.matrix.thompson import Seen, choose, gather, generator
from nonesuch.generators.recipe import Recipe

MOST_ARMS = 200_000  # combinations; each is considered for each image


def rounds(job: Job, published: npt.NDArray[np.uint64]) -> Iterator[Iterable[Recipe]]:
    """The recipes to draw, in rounds; the next round is asked for when the last one is in the catalog.

    `published`: sorted first-64-bit ids of what the catalog had at the start. Raises InputError when `adaptive`
    names a score that can't be computed, or when there are too many combinations.
    """
    if job.sweep.adaptive is None:
        yield pending(job.matrix, published)
        return
    yield from _Rounds(job, published).walk()


@dataclass(slots=True)
class _Scores:
    """The sweep's rows: the score of each, by the first 64 bits of its id; NaN where it is blank, unsafe or failed."""

    by_key: dict[int, float] = field(default_factory=dict)
    before: list[tuple[tuple[str, ...], float]] = field(default_factory=list)  # of other seeds: facet values


class _Rounds:
    def __init__(self, job: Job, published: npt.NDArray[np.uint64]) -> None:
        arms = job.matrix.combination_count
        if arms > MOST_ARMS:
            raise InputError(
                f"adaptive takes up to {MOST_ARMS:,} combinations; there are {arms:,}",
                where=job.sweep.source.where(("adaptive",)),
                hint="Leave combinations out with exclude or only, or leave adaptive out and take a sample.",
            )
        if job.sweep.adaptive is None:
            raise ValueError("the sweep is not adaptive")
        self._job = job
        self._asked = job.sweep.adaptive
        self._published = published  # sorted
        self._drawn_now: set[int] = set()  # keys that this run has drawn
        self._positions = gather(job.matrix.combinations())
        self._seeds = len(job.sweep.seed_values)
        self._drawn = np.zeros(arms, np.int64)  # seeds of each arm that rounds have taken
        self._taken: defaultdict[int, set[int]] = defaultdict(
            set
        )  # those of the first round, which takes any
        self._scores: _Scores | None = None  # as the catalog was at the last look; None: it has grown since
        self._arms: list[int] = []
        self._keys: list[int] = []

    def walk(self) -> Iterator[list[Recipe]]:
        turn = 0
        while cells := self._first() if turn == 0 else self._next(turn):
            recipes = [self._job.matrix.recipe(arm, seed) for arm, seed in cells]
            keys = [recipe.watermark_id for recipe in recipes]
            fresh = {key: recipe for key, recipe in zip(keys, recipes, strict=True) if not self._has(key)}
            if fresh:
                yield sorted(fresh.values(), key=lambda recipe: recipe.plan_index)
                self._drawn_now |= fresh.keys()
                self._scores = None
            self._arms += [arm for arm, _ in cells]
            self._keys += keys
            turn += 1

    def _has(self, key: int) -> bool:
        """Whether the catalog has a recipe."""
        if key in self._drawn_now:
            return True
        place = int(np.searchsorted(self._published, np.uint64(key)))
        return place < len(self._published) and int(self._published[place]) == key

    def _first(self) -> list[tuple[int, int]]:
        """Cells from all over the matrix."""
        cells = len(self._positions) * self._seeds
        size = min(self._asked.first, cells)
        found = [divmod(rank, self._seeds) for rank in sample_ranks(cells, size, self._asked.seed)]
        for arm, seed in found:
            self._taken[arm].add(seed)
            self._drawn[arm] += 1
        return found

    def _next(self, turn: int) -> list[tuple[int, int]]:
        """The cells that the scores of all rounds before suggest."""
        left = self._seeds - self._drawn
        if not left.any():
            return []
        chosen = choose(
            self._positions, self._seen(), left, self._asked.round, generator(self._asked.seed, turn)
        )
        return [(int(arm), self._free_seed(int(arm))) for arm in chosen]

    def _free_seed(self, arm: int) -> int:
        """The first seed of an arm that no round has taken."""
        seed = next(seed for seed in range(self._seeds) if seed not in self._taken[arm])
        self._taken[arm].add(seed)
        self._drawn[arm] += 1
        return seed

    def _seen(self) -> Seen:
        self._scores = scores = self._scores or _read(self._job, self._asked.order)
        found = [(self._arm_of[values], score) for values, score in scores.before if values in self._arm_of]
        for arm, key in zip(self._arms, self._keys, strict=True):
            if key in scores.by_key:
                found.append((arm, scores.by_key[key]))
        arms = np.array([arm for arm, _ in found], np.int64)
        worth = np.array([score for _, score in found], np.float64)
        good = worth[np.isfinite(worth)]
        # What is blank, unsafe or could not be drawn must draw no further images to its combination.
        return Seen(arms, np.where(np.isfinite(worth), worth, good.min() if len(good) else 0.0))

    @cached_property
    def _arm_of(self) -> dict[tuple[str, ...], int]:
        """The arm of each combination of facet values, by name, in the facets' order."""
        sweep, axes = self._job.sweep, self._job.matrix.axes
        found = {}
        for arm, positions in enumerate(self._positions):
            names = {
                facet: sweep.values[facet][position].name
                for axis, position in zip(axes, positions, strict=False)
                for facet in axis.facets
            }
            found[tuple(_plain(names[facet]) for facet in sweep.values)] = arm
        return found


def _read(job: Job, order: str) -> _Scores:
    if read_schema(job.out) is None:
        return _Scores()
    catalog = Catalog(job.out)
    names = catalog.fields.names
    column = plain_column(order, names)
    where = job.sweep.source.where(("adaptive", "order"))
    score = (
        identifier(column) if column else checked_expression(catalog.engine.parser, order, names, what=where)
    )
    facets = [name for name in job.sweep.values if name in names]
    listed = "".join(f", {identifier(name)}" for name in facets)
    table: pa.Table = catalog.engine.read(
        lambda session: session.sql(
            f"SELECT recipe_id, seed, status, CAST({score} AS DOUBLE) AS worth{listed} FROM {{catalog}} "
            f"WHERE sweep = {literal(job.sweep.name)} ORDER BY recipe_id"
        )
    )
    seeds = set(job.sweep.seed_values)
    whole = len(facets) == len(job.sweep.values)
    found = _Scores()
    for row in table.to_pylist():
        bad = row["status"] in ("flagged", "failed")
        if row["worth"] is None and not bad:
            continue
        worth = math.nan if bad else row["worth"]
        if row["seed"] in seeds:
            found.by_key[int(row["recipe_id"][:16], 16)] = worth
        elif whole:
            found.before.append((tuple(_plain(row[name]) for name in facets), worth))
    return found


def _plain(value: object) -> str:
    """A facet's value as text, numbers in one form: the sweep file's 5 is the catalog's 5.0."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)
