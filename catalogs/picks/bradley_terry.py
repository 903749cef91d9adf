"""A ranking from comparisons of two: Bradley-Terry strengths with their intervals.

Bradley and Terry, Biometrika 39 (1952): i beats j with probability p_i / (p_i + p_j). Fitted by the
minorization-maximization steps of Hunter, Annals of Statistics 32 (2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MOST_WITH_INTERVALS = 3000  # images; the covariance has the square of that many numbers
# Each image also has one drawn comparison with an image of strength 0. Without it the strength of what
# never lost, or never won, is infinite.
_DRAWN = 0.5
_STEPS = 20_000
_CLOSE = 1e-9  # change of a log strength at which the fit has settled


@dataclass(frozen=True, slots=True)
class Ranked:
    """One image in the ranking."""

    rank: int  # from 1, within its group
    recipe_id: str
    strength: float  # log p, 0 on the mean of its group; a difference of 1.1 is odds of 3 to 1
    low: float | None  # interval of the strength; None for more than MOST_WITH_INTERVALS images
    high: float | None
    wins: int
    losses: int
    group: (
        int  # from 0, the largest first: only images of one group were compared, directly or through others
    )


@dataclass(frozen=True, slots=True)
class Ranking:
    """All images that were compared, group by group, the strongest first."""

    images: tuple[Ranked, ...]
    comparisons: int
    groups: int  # more than 1: strengths of different groups can't be compared
    settled: bool  # False: a member of a group never lost to the rest or never won, so the prior bounds the strengths


def ranking(pairs: Sequence[tuple[str, str]], *, confidence: float = 0.95) -> Ranking:
    """The ranking by (winner, loser) pairs of recipe ids, repeated ones counted each time.

    Intervals come from the curvature of the likelihood at its peak (the inverse Hessian). Raises
    InputError when no images were compared or the confidence is no share.
    """
    if not pairs:
        raise InputError("no images were compared", where="ranking", hint="Compare with `nonesuch prefer`.")
    if not 0 < confidence < 1:
        raise InputError(f"a confidence of {confidence}", where="ranking", hint="Use a share such as 0.95.")
    names = sorted({name for pair in pairs for name in pair})
    place = {name: number for number, name in enumerate(names)}
    winners = np.array([place[winner] for winner, _ in pairs])
    losers = np.array([place[loser] for _, loser in pairs])
    groups, group = _components(winners, losers, len(names), "weak")
    strong, _ = _components(winners, losers, len(names), "strong")
    strengths = log_strengths(winners, losers, len(names))
    spread = _spread(strengths, winners, losers, group) if len(names) <= MOST_WITH_INTERVALS else None
    strengths = strengths - (np.bincount(group, strengths) / np.bincount(group))[group]
    width = _normal_quantile(0.5 + confidence / 2)
    order = np.lexsort((np.arange(len(names)), -strengths, group))
    wins = np.bincount(winners, minlength=len(names))
    losses = np.bincount(losers, minlength=len(names))
    first = np.searchsorted(group[order], np.arange(groups))
    images = tuple(
        Ranked(
            rank=rank - int(first[group[i]]) + 1,
            recipe_id=names[i],
            strength=float(strengths[i]),
            low=None if spread is None else float(strengths[i] - width * spread[i]),
            high=None if spread is None else float(strengths[i] + width * spread[i]),
            wins=int(wins[i]),
            losses=int(losses[i]),
            group=int(group[i]),
        )
        for rank, i in enumerate(order)
    )
    return Ranking(images, len(pairs), groups, strong == groups)


def log_strengths(winners: Indices, losers: Indices, count: int) -> Numbers:
    """Log strengths [count] against an image of strength 0, from indices of winners and losers [N]."""
    once, times = np.unique(np.sort(np.column_stack([winners, losers]), axis=1), axis=0, return_counts=True)
    left, right = once[:, 0], once[:, 1]
    won = np.bincount(winners, minlength=count) + _DRAWN
    strengths = np.ones(count)
    for _ in range(_STEPS):
        share = times / (strengths[left] + strengths[right])
        met = np.bincount(left, share, count) + np.bincount(right, share, count)
        following = won / (met + 2 * _DRAWN / (strengths + 1))
        change = np.abs(np.log(following / strengths)).max()
        strengths = following
        if change < _CLOSE:
            break
    return np.log(strengths)


def _spread(strengths: Numbers, winners: Indices, losers: Indices, group: Indices) -> Numbers:
    # Standard error of each strength less the mean of its group.
    count = len(strengths)
    chance = 1 / (1 + np.exp(strengths[losers] - strengths[winners]))
    weight = chance * (1 - chance)
    hessian = np.zeros((count, count))
    np.add.at(hessian, (winners, losers), -weight)
    hessian += hessian.T
    against = 1 / (1 + np.exp(-strengths))
    np.fill_diagonal(hessian, -hessian.sum(axis=1) + 2 * _DRAWN * against * (1 - against))
    member = np.equal.outer(group, group) / np.bincount(group)[group]
    centred = np.eye(count) - member
    return np.asarray(np.sqrt(np.einsum("ij,ji->i", centred @ np.linalg.inv(hessian), centred.T)))


def _components(winners: Indices, losers: Indices, count: int, kind: str) -> tuple[int, Indices]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    graph = csr_array((np.ones(len(winners)), (winners, losers)), shape=(count, count))
    found, label = connected_components(graph, directed=True, connection=kind)
    by_size = np.argsort(-np.bincount(label), kind="stable")
    number = np.empty(found, np.int64)
    number[by_size] = np.arange(found)
    return int(found), number[label]


def _normal_quantile(share: float) -> float:
    from scipy.special import ndtri

    quantile: Any = ndtri(share)
    return float(quantile)
