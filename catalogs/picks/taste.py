"""Learning a person's taste: a logistic model of liked against disliked images, judged on prompts it has not seen.

Liked is what was picked or has 4 or 5 stars, disliked what was rejected or has 1 or 2; a verdict counts
before stars. The features are the stored scores and the stored embedding; nothing is drawn or encoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nonesuch.catalogs.picks.events import PickState
from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.picks.logistic import (
    RIDGES,
    auc,
    auc_interval,
    best_ridge,
    calibration,
    fit_path,
    group_folds,
    probability,
)
from nonesuch.catalogs.picks.taste_model import CalibrationBin, Provenance, TasteModel, score_matrix
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import EMBEDDING
from nonesuch.catalogs.search.engine import Session
from nonesuch.catalogs.search.expressions import identifier, literal
from nonesuch.catalogs.search.fetching import typed
from nonesuch.catalogs.storage.indexes import embedding_matrix
from nonesuch.foundation.errors import InputError

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

FEWEST = 30  # images with a verdict or stars
FEWEST_OF_A_KIND = 8  # liked, and disliked
_FOLDS = 5
_INNER_FOLDS = 4


def train_taste(catalog: Catalog, *, who: str | None = None, seed: int = 0) -> TasteModel:
    """A model of what was liked, with its provenance; nothing is written.

    who   only that person's picks and stars; by default everybody's
    seed  of the folds and resamples

    The ridge is chosen by cross-validation inside the training part of each fold, so that the AUC is that of
    the whole procedure; all images of one prompt are in one fold. Raises InputError for fewer than FEWEST
    images or FEWEST_OF_A_KIND of either kind.
    """
    log = open_picks(catalog.folder)
    last_event = log.last_event()
    states = log.states(who=who)
    log.close()
    told = {recipe_id: _liked(state) for recipe_id, state in states.items()}
    labels = {recipe_id: likes for recipe_id, likes in told.items() if likes is not None}
    _check_enough(catalog, list(labels.values()))
    table, encoder = _of_one_encoder(_rows(catalog, list(labels)))
    liked: Flags = np.array([labels[recipe_id] for recipe_id in table["recipe_id"].to_pylist()], bool)
    _check_enough(catalog, liked.tolist())
    scores = [name for name in catalog.scores if np.isfinite(score_matrix(table, [name])).any()]
    dim = 0 if encoder is None else int(table.schema.field(EMBEDDING).type.list_size)
    raw = np.column_stack(
        [
            score_matrix(table, scores),
            embedding_matrix(table[EMBEDDING]) if dim else np.zeros((len(table), 0)),
        ]
    ).astype(np.float64)
    if not raw.shape[1]:
        raise InputError("the picked images have neither scores nor embeddings", where=str(catalog.folder))
    prompts = np.unique(np.array(table["prompt"].fill_null("").to_pylist()), return_inverse=True)[1]
    by_prompt = prompts.max() + 1 >= 3
    groups = prompts if by_prompt else np.arange(len(liked))

    held_out = _held_out(raw, liked, groups, len(scores), seed)
    means, scales = _standard(raw, len(scores))
    features = _features(raw, means, scales)
    place = best_ridge(features, liked, groups, _FOLDS, seed)
    *_, weights = fit_path(features, liked, RIDGES[: place + 1])
    low, high = auc_interval(held_out, liked, groups, seed=seed)
    clipped = np.clip(held_out, 1e-9, 1 - 1e-9)
    provenance = Provenance(
        trained_at=datetime.now(UTC).isoformat(timespec="seconds"),
        nonesuch=version("nonesuch"),
        people=sorted({states[recipe_id].who for recipe_id in labels}),
        last_event=last_event,
        liked=int(liked.sum()),
        disliked=int((~liked).sum()),
        prompts=int(prompts.max()) + 1,
        folds_by="prompt" if by_prompt else "image",
        ridge=RIDGES[place],
        auc=auc(held_out, liked),
        auc_low=low,
        auc_high=high,
        log_loss=float(-np.log(np.where(liked, clipped, 1 - clipped)).mean()),
        calibration=[
            CalibrationBin(
                images=b.images, predicted=b.predicted, observed=b.observed, low=b.low, high=b.high
            )
            for b in calibration(held_out, liked)
        ],
    )
    return TasteModel(
        scores=scores,
        encoder=encoder,
        dim=dim,
        means=means.tolist(),
        scales=scales.tolist(),
        weights=weights[:-1].tolist(),
        intercept=float(weights[-1]),
        provenance=provenance,
    )


def _liked(state: PickState) -> bool | None:
    if state.verdict is not None:
        return state.verdict == "picked"
    if state.stars is None or state.stars == 3:
        return None
    return state.stars > 3


def _check_enough(catalog: Catalog, liked: list[bool]) -> None:
    kinds: Mapping[bool, int] = Counter(liked)
    if len(liked) < FEWEST or min(kinds[True], kinds[False]) < FEWEST_OF_A_KIND:
        raise InputError(
            f"too few picks to train a taste model: {kinds[True]} liked and {kinds[False]} disliked images",
            where=str(catalog.folder),
            hint=f"Pick and reject (or give stars to) at least {FEWEST} images, {FEWEST_OF_A_KIND} of each kind.",
        )


def _rows(catalog: Catalog, ids: list[str]) -> pa.Table:
    names = [*catalog.scores, *([EMBEDDING] if EMBEDDING in catalog.schema.names else [])]
    columns = ", ".join(identifier(name) for name in ["recipe_id", "prompt", "encoder", *names])
    wanted = ", ".join(literal(recipe_id) for recipe_id in ids)

    def work(session: Session) -> pa.Table:
        found = session.sql(
            f"SELECT {columns} FROM {{catalog}} WHERE recipe_id IN ({wanted}) AND status <> 'failed' "
            "QUALIFY row_number() OVER (PARTITION BY recipe_id ORDER BY filename, file_row_number) = 1 "
            "ORDER BY recipe_id"
        )
        return typed(found, session.schema)

    return catalog.engine.read(work)


def _of_one_encoder(table: pa.Table) -> tuple[pa.Table, str | None]:
    # Embeddings of several encoders can't be compared; the one of most images is kept.
    if EMBEDDING not in table.column_names:
        return table, None
    present: Flags = np.asarray(embedding_matrix(table[EMBEDDING]).any(axis=1))
    encoders: list[Any] = table["encoder"].to_pylist()
    known = Counter(name for name, there in zip(encoders, present, strict=True) if there)
    if not known:
        return table, None
    encoder = known.most_common(1)[0][0]
    same = [there and name == encoder for name, there in zip(encoders, present, strict=True)]
    return table.filter(pa.array(same)), encoder


def _standard(raw: Numbers, scores: int) -> tuple[Numbers, Numbers]:
    # Scores and embedding each share one unit of variance, so that a ridge weighs the ten scores like the
    # hundreds of numbers of an embedding.
    with np.errstate(invalid="ignore"):
        known = np.isfinite(raw)
        counts = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, raw, 0).sum(axis=0) / counts
        spread = np.sqrt(np.where(known, (raw - means) ** 2, 0).sum(axis=0) / counts)
    share = np.sqrt(np.where(np.arange(raw.shape[1]) < scores, max(scores, 1), max(raw.shape[1] - scores, 1)))
    return means, np.where(spread > 1e-12, 1 / (np.maximum(spread, 1e-12) * share), 0.0)


def _features(raw: Numbers, means: Numbers, scales: Numbers) -> Numbers:
    return np.asarray(np.where(np.isfinite(raw), raw - means, 0.0) * scales)


def _held_out(raw: Numbers, liked: Flags, groups: Indices, scores: int, seed: int) -> Numbers:
    # Each image's chance as predicted by a model that saw no image of its group.
    predicted = np.full(len(liked), float(liked.mean()))
    for held in group_folds(groups, _FOLDS, seed):
        seen = liked[~held]
        if seen.all() or not seen.any():
            continue
        means, scales = _standard(raw[~held], scores)
        features = _features(raw[~held], means, scales)
        place = best_ridge(features, seen, groups[~held], _INNER_FOLDS, seed + 1)
        *_, weights = fit_path(features, seen, RIDGES[: place + 1])
        predicted[held] = probability(_features(raw[held], means, scales) @ weights[:-1] + weights[-1])
    return predicted
