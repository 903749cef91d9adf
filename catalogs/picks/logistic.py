"""Logistic regression with a ridge, its strength chosen by cross-validation, and how well it ranks.

scikit-learn would be a large dependency for thirty lines: the fit is Newton's method, iteratively reweighted
least squares (Hastie, Tibshirani and Friedman, The Elements of Statistical Learning, 4.4.1 and 18.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

RIDGES: tuple[float, ...] = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # from stiff to loose
_STEPS = 50
_CLOSE = 1e-6  # largest change of a prediction's logit at which the fit has settled
_STEEPEST = 30.0  # logits beyond it are as good as certain


@dataclass(frozen=True, slots=True)
class Bin:
    """Images whose predictions are alike, for comparing what was predicted with what was said."""

    images: int
    predicted: float  # mean probability, 0 to 1
    observed: float  # share of liked images
    low: float  # Wilson's interval of the share
    high: float


def fit(features: Numbers, liked: Flags, ridge: float, start: Numbers | None = None) -> Numbers:
    """Weights [D + 1], the intercept last, of features [N, D] that minimize log loss + ridge / 2 * |weights|².

    The intercept is not held back. `start`, an earlier solution [D + 1], saves steps.
    """
    wide = np.column_stack([features, np.ones(len(features))])
    penalty = np.full(wide.shape[1], ridge)
    penalty[-1] = 1e-6
    weights = np.zeros(wide.shape[1]) if start is None else start.copy()
    loss = _penalized(wide, liked, weights, penalty)
    for _ in range(_STEPS):
        chance = probability(wide @ weights)
        slope = wide.T @ (chance - liked) + penalty * weights
        root = wide * np.sqrt(chance * (1 - chance))[:, None]
        curvature = root.T @ root + np.diag(penalty)
        step = np.linalg.solve(curvature, slope)
        reach = 1.0
        while (following := _penalized(wide, liked, weights - reach * step, penalty)) > loss and reach > 1e-4:
            reach /= 2
        weights, loss = weights - reach * step, following
        if np.abs(wide @ step).max() * reach < _CLOSE:
            break
    return weights


def fit_path(features: Numbers, liked: Flags, ridges: Sequence[float] = RIDGES) -> Iterator[Numbers]:
    """`fit` for one ridge after another, from stiff to loose, each started from the one before; weights [D + 1].

    With fewer images than features the work is done in the space that the images span, where the solution lies.
    """
    rotation = None
    if len(features) < features.shape[1]:
        left, sizes, rotation = np.linalg.svd(features, full_matrices=False)
        features = left * sizes
    weights: Numbers | None = None
    for ridge in ridges:
        weights = fit(features, liked, ridge, weights)
        yield weights if rotation is None else np.append(rotation.T @ weights[:-1], weights[-1])


def best_ridge(features: Numbers, liked: Flags, groups: Indices, folds: int, seed: int) -> int:
    """The place in RIDGES of the least log loss in cross-validation over whole groups; the stiffest of equals.

    Looser ones are not tried once two in a row were worse.
    """
    masks = [held for held in group_folds(groups, folds, seed) if len(set(liked[~held])) > 1]
    paths = [fit_path(features[~held], liked[~held]) for held in masks]
    losses: list[float] = []
    for fitted in zip(*paths, strict=True):
        loss = 0.0
        for held, weights in zip(masks, fitted, strict=True):
            logits = np.clip(features[held] @ weights[:-1] + weights[-1], -_STEEPEST, _STEEPEST)
            loss += float(np.logaddexp(0, np.where(liked[held], -logits, logits)).sum())
        losses.append(round(loss, 9))
        if len(losses) > 2 and min(losses[-2:]) > min(losses[:-2]):
            break
    return int(np.argmin(losses)) if losses else 0


def group_folds(groups: Indices, folds: int, seed: int) -> Iterator[Flags]:
    """Masks [N] of what is held out in each fold: whole groups, spread so that folds are about equally large."""
    names, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = np.random.default_rng(seed).permutation(len(names))
    load = np.zeros(min(folds, len(names)))
    fold = np.zeros(len(names), np.int64)
    for group in sorted(shuffled, key=lambda g: -sizes[g]):
        fold[group] = int(np.argmin(load))
        load[fold[group]] += sizes[group]
    for number in range(len(load)):
        yield np.asarray(fold[place] == number)


def probability(logits: Numbers) -> Numbers:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -_STEEPEST, _STEEPEST))))


def auc(predicted: Numbers, liked: Flags) -> float:
    """The share of (liked, disliked) pairs in which the liked one is predicted higher, ties half; NaN without pairs.

    The area under the ROC curve by ranks (Hanley and McNeil, Radiology 143, 1982).
    """
    from scipy.stats import rankdata

    likes = int(liked.sum())
    dislikes = len(liked) - likes
    if not likes or not dislikes:
        return float("nan")
    above = rankdata(predicted)[liked].sum() - likes * (likes + 1) / 2
    return float(above / (likes * dislikes))


def auc_interval(
    predicted: Numbers,
    liked: Flags,
    groups: Indices,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the AUC over whole groups, as images of one group are not independent."""
    rng = np.random.default_rng(seed)
    _, place = np.unique(groups, return_inverse=True)
    members = [np.flatnonzero(place == group) for group in range(place.max() + 1)]
    found = []
    for _ in range(resamples):
        drawn = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        found.append(auc(predicted[drawn], liked[drawn]))
    known = np.array(found)[np.isfinite(found)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.quantile(known, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def calibration(predicted: Numbers, liked: Flags) -> list[Bin]:
    """Predictions in up to 10 bins of about equally many images, at least 10 each, from low to high."""
    order = np.argsort(predicted, kind="stable")
    bins = []
    for part in np.array_split(order, min(10, max(1, len(order) // 10))):
        low, high = _wilson(int(liked[part].sum()), len(part))
        bins.append(Bin(len(part), float(predicted[part].mean()), float(liked[part].mean()), low, high))
    return bins


def _penalized(wide: Numbers, liked: Flags, weights: Numbers, penalty: Numbers) -> float:
    logits = wide @ weights
    return float(np.logaddexp(0, np.where(liked, -logits, logits)).sum() + penalty @ weights**2 / 2)


def _wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))
