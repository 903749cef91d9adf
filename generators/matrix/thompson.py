"""Thompson sampling over a sweep's combinations: later images go where the scores so far say the best ones are.

A combination is an arm, a seed one pull of it. An arm's mean score is modelled as the sum of one effect for each of
its facet values and one of the combination itself, all Gaussian; so a value that does well with one partner is
tried with others, and a combination that is better than its values promise is kept. Each image of a round goes to
the arm that is best in one draw from the posterior.

Sources: W. R. Thompson, Biometrika 25 (1933), "On the likelihood that one unknown probability exceeds another…";
for a linear model S. Agrawal and N. Goyal, "Thompson Sampling for Contextual Bandits with Linear Payoffs",
ICML 2013; drawing in rounds: S. Scott, "A modern Bayesian look at the multi-armed bandit", 2010.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# Shares of the scores' variance that facet values and combinations may have; the rest is the seeds'. The pair under
# which the scores are likeliest is taken (empirical Bayes).
_SHARES: Final = tuple(
    (values, own) for values in (0.05, 0.2, 0.4, 0.6, 0.8) for own in (0.02, 0.1, 0.25, 0.4) if values + own < 0.95
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """The scores so far."""

    arms: Places  # [N] which arm each image belongs to
    scores: Numbers  # [N] high is good


def choose(positions: Places, seen: Seen, left: Places, count: int, rng: np.random.Generator) -> Places:
    """The arms that get the next `count` images, or all that are left: arm numbers [≤ count], in order of choice.

    positions  [A, F] each arm's value of each facet, from 0
    left       [A] images that each arm can still get
    """
    left = left.copy()
    count = min(count, int(left.sum()))
    posterior = _Posterior(positions, seen)
    chosen = np.empty(count, np.int64)
    for place in range(count):
        worth = np.where(left > 0, posterior.sample(rng), -np.inf)
        arm = int(np.argmax(worth))
        left[arm] -= 1
        chosen[place] = arm
    return chosen


def generator(seed: int, turn: int) -> np.random.Generator:
    """The random numbers of one round: the same on every machine and in every run."""
    digest = hashlib.sha256(f"nonesuch/adaptive/1:{seed}:{turn}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


class _Posterior:
    """What the scores say of every arm's mean; scores are standardised inside."""

    def __init__(self, positions: Places, seen: Seen) -> None:
        lengths = positions.max(axis=0, initial=0) + 1
        self._features = positions + np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._size = int(lengths.sum())
        scores = seen.scores
        if len(scores):
            spread = float(scores.std())
            scores = (scores - scores.mean()) / (spread if spread > 0 else 1.0)
        arms = len(positions)
        self._n = np.bincount(seen.arms, minlength=arms).astype(float)
        total = np.bincount(seen.arms, weights=scores, minlength=arms)
        self._mean = np.divide(total, self._n, out=np.zeros(arms), where=self._n > 0)
        self._within = float(((scores - self._mean[seen.arms]) ** 2).sum()) if len(scores) else 0.0
        fits = [self._fit(values, own) for values, own in (_SHARES if len(scores) else _SHARES[-1:])]
        _, self._centre, self._factor, self._own, noise = max(fits, key=lambda fit: fit[0])
        self._shrink = self._n * self._own / (self._n * self._own + noise)

    def sample(self, rng: np.random.Generator) -> Numbers:
        """One draw of every arm's mean, [A]: the effects of the values, then the combination's own given them."""
        drawn = rng.standard_normal(self._size)
        effects = self._centre + np.linalg.solve(self._factor.T, drawn)
        base: Numbers = effects[self._features].sum(axis=1)
        own = self._shrink * (self._mean - base)
        spread = np.sqrt(self._own * (1 - self._shrink))
        worth: Numbers = base + own + spread * rng.standard_normal(len(base))
        return worth

    def _fit(self, values: float, own: float) -> tuple[float, Numbers, Numbers, float, float]:
        """(log evidence, mean of the effects, Cholesky factor of their precision, own variance, noise variance)."""
        noise = 1.0 - values - own
        prior = values / self._features.shape[1]
        met = self._n > 0
        weight = 1.0 / (own + noise / self._n[met])
        rows, means = self._features[met], self._mean[met]
        precision = np.eye(self._size) / prior
        for column in rows.T:
            for other in rows.T:
                np.add.at(precision, (column, other), weight)
        towards = np.zeros(self._size)
        for column in rows.T:
            np.add.at(towards, column, weight * means)
        factor = np.linalg.cholesky(precision)
        half = np.linalg.solve(factor, towards)
        centre = np.linalg.solve(factor.T, half)
        evidence = (
            0.5 * np.log(weight).sum()
            - np.log(np.diag(factor)).sum()
            - 0.5 * self._size * np.log(prior)
            - 0.5 * ((weight * means**2).sum() - half @ half)
            - 0.5 * (self._n.sum() - met.sum()) * np.log(noise)
            - 0.5 * self._within / noise
        )
        return float(evidence), centre, factor, own, noise


def gather(positions: Sequence[Sequence[int]]) -> Places:
    """Arms' positions as an array [A, F]; one column of zeros where the sweep has no facets."""
    found = np.array(positions, np.int64).reshape(len(positions), -1)
    return found if found.shape[1] else np.zeros((len(positions), 1), np.int64)
