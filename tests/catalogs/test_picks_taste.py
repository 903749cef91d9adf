"""Taste: a planted one is found, chance stays chance, and nothing leaks from one image of a prompt to the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from catalog_samples import DIM, SCHEMA, make_row
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.picks.logistic import (
    RIDGES,
    auc,
    auc_interval,
    best_ridge,
    calibration,
    fit,
    fit_path,
    group_folds,
)
from nonesuch.catalogs.picks.taste import train_taste
from nonesuch.catalogs.picks.taste_model import model_file, read_model, write_model
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import CatalogError, InputError

pytestmark = pytest.mark.slow

ENCODER = "embedded toy 8"


def write_catalog(out: Path, *, count: int = 200, prompts: int = 40, seed: int = 0) -> Catalog:
    """Images of `prompts` prompts; embeddings and scores are noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        vector = rng.standard_normal(DIM)
        rows.append(
            make_row(
                index,
                prompt=f"prompt {index % prompts}",
                encoder=ENCODER,
                aesthetic=float(rng.normal(5, 1)),
                embedding=(vector / np.linalg.norm(vector)).astype(np.float16),
            )
        )
    publish_shard(out, "demo-0", rows[: count // 2], SCHEMA)
    publish_shard(out, "demo-1", rows[count // 2 :], SCHEMA)
    return Catalog(out)


def judge(
    catalog: Catalog, liking: Callable[[dict[str, object], np.random.Generator], bool], among: int
) -> None:
    log = open_picks(catalog.folder, "ada")
    rng = np.random.default_rng(5)
    names = ["recipe_id", "prompt", "aesthetic", "alignment", "embedding"]
    rows = catalog.query(top=among, columns=names, order="recipe_id", as_arrow=True).to_pylist()
    liked = [(row["recipe_id"], liking(row, rng)) for row in rows]
    log.pick([recipe_id for recipe_id, likes in liked[::2] if likes])
    log.reject([recipe_id for recipe_id, likes in liked[::2] if not likes])
    for recipe_id, likes in liked[1::2]:
        log.stars(recipe_id, 5 if likes else 1)
    log.close()


def planted(row: dict[str, object], rng: np.random.Generator) -> bool:
    vector = np.asarray(row["embedding"], float)
    return bool(1.5 * (row["aesthetic"] - 5) + 4 * vector[0] - 3 * vector[3] + 0.3 * rng.normal() > 0)  # type: ignore[operator]


def test_a_planted_taste_is_found_and_ranks_what_was_not_judged(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, count=300, prompts=80)
    judge(catalog, planted, among=150)
    model = train_taste(catalog)
    told = model.provenance
    assert told.auc > 0.9
    assert told.auc_low <= told.auc <= told.auc_high
    assert told.auc_low > 0.8
    assert told.liked + told.disliked == 150
    assert told.prompts > 70
    assert (told.folds_by, told.people) == ("prompt", ["ada"])
    assert model.scores == ["alignment", "aesthetic", "subject_rank", "blank"]
    write_model(tmp_path, model)
    rest = catalog.query(
        "pick is null and stars is null", columns=["taste", "aesthetic", "embedding"], as_arrow=True
    ).to_pylist()
    rng = np.random.default_rng(9)
    liked = np.array([planted(row, rng) for row in rest])
    assert len(rest) == 150
    assert auc(np.array([row["taste"] for row in rest]), liked) > 0.9
    assert sum(b.images for b in told.calibration) == 150
    assert [b.predicted for b in told.calibration] == sorted(b.predicted for b in told.calibration)
    assert told.calibration[-1].observed > 0.8 > 0.2 > told.calibration[0].observed


def test_the_column_is_the_model_by_hand_and_follows_parts_and_models(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path)
    judge(catalog, planted, among=100)
    with pytest.raises(InputError, match="no taste model"):
        catalog.query(order="taste", top=3)
    model = train_taste(catalog)
    write_model(tmp_path, model)
    names = ["recipe_id", "taste", *model.scores, "embedding"]
    rows = catalog.query(order="taste", columns=names, as_arrow=True).to_pylist()
    assert len(rows) == 200
    previous = 1.0
    for row in rows:
        raw = np.array([*(float(row[name]) for name in model.scores), *row["embedding"]], float)
        by_hand = (raw - model.means) * model.scales @ np.array(model.weights) + model.intercept
        assert row["taste"] == pytest.approx(1 / (1 + np.exp(-by_hand)), abs=1e-4)
        assert row["taste"] <= previous
        previous = row["taste"]
    best = [row["recipe_id"] for row in rows[:10]]
    assert catalog.query(order="taste", top=10)["recipe_id"].tolist() == best
    per = catalog.query(order="taste", top_per=("subject", 2), columns=["subject", "taste"])
    assert per.groupby("subject", observed=True).size().tolist() == [2, 2, 2]
    assert per["taste"].notna().all()
    compact(tmp_path)
    assert catalog.query(order="taste", top=10)["recipe_id"].tolist() == best
    more = [make_row(i, encoder=ENCODER, prompt="new") for i in range(500, 520)]
    more.append(make_row(520, status="failed"))
    more.append(make_row(521, encoder="another one 8"))
    publish_shard(tmp_path, "later-0", more, SCHEMA)
    assert catalog.count("taste is not null") == 220
    assert catalog.count("taste between 0 and 1") == 220
    opposite = model.model_copy(
        update={"weights": [-w for w in model.weights], "intercept": -model.intercept}
    )
    write_model(tmp_path, opposite)
    assert catalog.query("plan_index < 200", order="taste asc", top=10)["recipe_id"].tolist() == best


def test_random_labels_stay_near_chance(tmp_path: Path) -> None:
    found = []
    for seed in range(4):
        catalog = write_catalog(tmp_path / str(seed), count=100, prompts=25, seed=seed)
        judge(catalog, lambda row, rng: bool(rng.random() < 0.5), among=100)
        told = train_taste(catalog, seed=seed).provenance
        found.append(told.auc)
        assert told.auc_low < 0.62
    assert 0.38 < np.mean(found) < 0.62


def test_near_identical_images_of_a_prompt_do_not_flatter(tmp_path: Path) -> None:
    # Every prompt is liked or disliked at random, and its ten images are all but the same.
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((16, DIM))
    rows = []
    for index in range(160):
        vector = vectors[index % 16] + 0.01 * rng.standard_normal(DIM)
        vector /= np.linalg.norm(vector)
        rows.append(
            make_row(index, prompt=f"prompt {index % 16}", encoder=ENCODER, aesthetic=5.0, alignment=0.3,
                     subject_rank=1, blank=False, embedding=vector.astype(np.float16))
        )  # fmt: skip
    publish_shard(tmp_path, "demo-0", rows, SCHEMA)
    catalog = Catalog(tmp_path)
    log = open_picks(tmp_path)
    likes = rng.permutation(16) < 8
    for index, row in enumerate(rows):
        (log.pick if likes[index % 16] else log.reject)(row["recipe_id"])
    told = train_taste(catalog).provenance
    assert told.auc < 0.75
    assert told.auc_high - told.auc_low > 0.2


def test_one_prompt_is_split_by_image_and_says_so(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path, count=100, prompts=1)
    judge(catalog, planted, among=100)
    told = train_taste(catalog).provenance
    assert (told.prompts, told.folds_by) == (1, "image")
    assert told.auc > 0.8


def test_too_few_picks_are_refused(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path)
    ids = catalog.query(columns=["recipe_id"])["recipe_id"].tolist()
    log = open_picks(tmp_path, "ada")
    with pytest.raises(InputError, match="0 liked and 0 disliked"):
        train_taste(catalog)
    log.pick(ids[:20])
    log.reject(ids[20:29])
    with pytest.raises(InputError, match="20 liked and 9 disliked"):
        train_taste(catalog)
    log.stars(ids[29], 3)
    with pytest.raises(InputError, match="20 liked and 9 disliked"):
        train_taste(catalog)
    log.stars(ids[29], 2)
    assert train_taste(catalog).provenance.disliked == 10
    with pytest.raises(InputError, match="0 liked"):
        train_taste(catalog, who="bo")
    log.pick(ids[20:23])
    with pytest.raises(InputError, match="23 liked and 7 disliked"):
        train_taste(catalog)


def test_a_catalog_without_embeddings_teaches_by_scores(tmp_path: Path) -> None:
    schema = SCHEMA.remove(SCHEMA.get_field_index("embedding"))
    rows = [{k: v for k, v in make_row(i).items() if k != "embedding"} for i in range(100)]
    publish_shard(tmp_path, "demo-0", rows, schema)
    catalog = Catalog(tmp_path)
    log = open_picks(tmp_path)
    for row in rows:
        (log.pick if row["aesthetic"] > 5 else log.reject)(row["recipe_id"])
    model = train_taste(catalog)
    assert (model.dim, model.encoder) == (0, None)
    assert model.provenance.auc > 0.95
    write_model(tmp_path, model)
    assert catalog.query(order="taste", top=1)["aesthetic"][0] > 8


def test_a_broken_model_is_told(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path)
    judge(catalog, planted, among=60)
    write_model(tmp_path, train_taste(catalog))
    path = model_file(tmp_path)
    whole = json.loads(path.read_text())
    for wrong in (
        whole | {"weights": whole["weights"][1:]},
        whole | {"intercept": float("nan")},
        whole | {"format": "other/1"},
        whole | {"surprise": 1},
        [],
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(CatalogError, match="taste model"):
            read_model(tmp_path)
    path.write_text("{")
    with pytest.raises(CatalogError, match="taste model"):
        catalog.query(order="taste", top=1)


@pytest.mark.parametrize("shape", [(60, 5), (20, 40)])
def test_the_fit_is_that_of_a_general_optimizer(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal(shape)
    liked = features @ rng.standard_normal(shape[1]) + rng.normal(size=shape[0]) > 0

    def loss(weights: np.ndarray, ridge: float) -> float:
        logits = features @ weights[:-1] + weights[-1]
        data = np.logaddexp(0, np.where(liked, -logits, logits)).sum()
        return float(data + ridge / 2 * weights[:-1] @ weights[:-1])

    for ridge, weights in zip(RIDGES[:5], fit_path(features, liked, RIDGES[:5]), strict=True):
        found = minimize(loss, np.zeros(shape[1] + 1), (ridge,), method="BFGS", tol=1e-9)
        assert loss(weights, ridge) <= found.fun + 1e-4
        assert weights == pytest.approx(fit(features, liked, ridge), abs=1e-3)


def test_separable_images_do_not_break_the_fit() -> None:
    features = np.linspace(-1, 1, 40)[:, None] * 100
    liked = features[:, 0] > 0
    for weights in fit_path(features, liked):
        assert np.isfinite(weights).all()
        assert auc(features @ weights[:-1], liked) == 1
    assert 0 <= best_ridge(features, liked, np.arange(40), 4, 0) < len(RIDGES)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(said: list[tuple[int, bool]]) -> None:
    predicted = np.array([value for value, _ in said], float)
    liked = np.array([likes for _, likes in said])
    pairs = [(p > q) + 0.5 * (p == q) for p in predicted[liked] for q in predicted[~liked]]
    if pairs:
        assert auc(predicted, liked) == pytest.approx(np.mean(pairs))
        low, high = auc_interval(predicted, liked, np.arange(len(liked)), resamples=50)
        assert 0 <= low <= high <= 1
    else:
        assert np.isnan(auc(predicted, liked))
    bins = calibration(predicted / 5, liked)
    assert sum(b.images for b in bins) == len(liked)
    assert sum(b.observed * b.images for b in bins) == pytest.approx(liked.sum())
    assert all(b.low <= b.observed + 1e-9 and b.observed <= b.high + 1e-9 for b in bins)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=50), st.integers(0, 5))
def test_folds_hold_whole_groups_once(groups: list[int], seed: int) -> None:
    of = np.array(groups)
    masks = list(group_folds(of, 5, seed))
    assert len(masks) == min(5, len(set(groups)))
    assert (np.sum(masks, axis=0) == 1).all()
    for mask in masks:
        assert mask.any()
        assert not set(of[mask]) & set(of[~mask])
