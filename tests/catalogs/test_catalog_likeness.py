"""Likeness, diversity and duplicates, each against a plain computation over all rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from catalog_samples import DIM, SCHEMA, make_row
from hypothesis import given, settings
from hypothesis import strategies as st

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.search import embeddings
from nonesuch.catalogs.search.duplicates import alike_pairs, duplicate_groups, near_pairs
from nonesuch.catalogs.search.embeddings import (
    diverse,
    embedding_of,
    marginal_relevance,
    most_alike,
    near_duplicates_of,
)
from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import InputError

pytestmark = pytest.mark.slow

COUNT = 150


@pytest.fixture(params=["parts", "merged", "both"])
def catalog(request: pytest.FixtureRequest, demo: Callable[..., Path]) -> Catalog:
    if request.param == "both":
        out = demo(count=100, per=20, failed=(3,))
        compact(out, rows_per_part=64)
        publish_shard(out, "later-0", [make_row(i) for i in range(100, COUNT)], SCHEMA)
        return Catalog(out)
    out = demo(count=COUNT, per=20, failed=(3,))
    if request.param == "merged":
        compact(out, rows_per_part=64)
    return Catalog(out)


def cosines(vector: np.ndarray) -> dict[int, float]:
    stored = {i: make_row(i)["embedding"].astype(np.float32) for i in range(COUNT) if i != 3}
    unit = vector / np.linalg.norm(vector)
    return {i: float(e @ unit / np.linalg.norm(e)) for i, e in stored.items()}


@pytest.mark.parametrize("large", [False, True])
def test_the_nearest_are_those_of_an_exhaustive_search(
    catalog: Catalog, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(embeddings, "_LARGE", 1)  # the half-precision way, which big parts take
    rng = np.random.default_rng(5)
    for _ in range(3):
        vector = 3 * rng.standard_normal(DIM)
        expected = cosines(vector)
        got = most_alike(catalog, vector, top=9)
        assert got["plan_index"].tolist() == sorted(expected, key=lambda i: -expected[i])[:9]
        np.testing.assert_allclose(got["likeness"], sorted(expected.values())[::-1][:9], atol=1e-6)
        some = most_alike(catalog, vector, top=5, where="subject = 'fox'", columns=["plan_index"])
        foxes = sorted((i for i in expected if i % 3 == 1), key=lambda i: -expected[i])[:5]
        assert some["plan_index"].tolist() == foxes
        assert list(some.columns) == ["plan_index", "likeness"]
    assert len(most_alike(catalog, vector, top=500)) == COUNT - 1
    assert len(most_alike(catalog, vector, where="subject = 'unicorn'")) == 0
    assert len(most_alike(catalog, vector, where="plan_index = 77")) == 1


def test_an_image_is_most_like_itself(catalog: Catalog) -> None:
    vector = embedding_of(catalog, make_row(42)["recipe_id"][:12])
    got = most_alike(catalog, vector, top=1)
    assert got["plan_index"].tolist() == [42]
    assert got["likeness"][0] == pytest.approx(1, abs=1e-6)


def test_what_can_not_be_compared_is_told(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a vector of 3 numbers"):
        most_alike(catalog, [1, 2, 3])
    with pytest.raises(InputError, match="without a direction"):
        most_alike(catalog, np.zeros(DIM))
    with pytest.raises(InputError, match="no embedding"):
        embedding_of(catalog, make_row(3)["recipe_id"])
    with pytest.raises(InputError, match="0 images have a recipe id"):
        embedding_of(catalog, "0" * 64)
    plain = catalog_schema({}, {}, None)
    publish_shard(tmp_path / "x", "x-0", [{"recipe_id": "a" * 64, "sweep": "x", "status": "ok"}], plain)
    with pytest.raises(InputError, match="has no embeddings"):
        most_alike(Catalog(tmp_path / "x"), np.ones(DIM))


def test_near_duplicates_of_one_image(demo: Callable[..., Path]) -> None:
    out = demo(count=30, per=10)
    row = make_row(7)
    near = make_row(500) | {"phash": row["phash"] ^ 0b111}
    publish_shard(out, "near-0", [near], SCHEMA)
    found = near_duplicates_of(Catalog(out), row["recipe_id"], max_distance=5)
    assert [(r["plan_index"], r["distance"]) for r in found] == [(500, 3)]


def test_diverse_images_trade_score_for_difference(catalog: Catalog) -> None:
    best = catalog.query("embedding IS NOT NULL", order="aesthetic", top=10)["plan_index"].tolist()
    assert diverse(catalog, 10, order="aesthetic", weight=1)["plan_index"].tolist() == best

    def spread(frame: object) -> float:
        vectors = np.array([make_row(i)["embedding"] for i in frame["plan_index"]], np.float32)
        return float((vectors @ vectors.T)[np.triu_indices(10, 1)].max())

    mixed = diverse(catalog, 10, order="aesthetic", where="status = 'ok'", weight=0.5)
    assert mixed["plan_index"][0] == best[0]
    assert spread(mixed) < spread(catalog.query("embedding IS NOT NULL", order="aesthetic", top=10))
    assert mixed["plan_index"].is_unique
    assert len(diverse(catalog, 500, order="aesthetic")) == COUNT - 1
    with pytest.raises(InputError, match="weight from 0 to 1"):
        diverse(catalog, 5, order="aesthetic", weight=2)


def test_marginal_relevance_chooses_by_its_rule() -> None:
    vectors = np.array([[1, 0], [0.999, 0.04], [0, 1]], np.float32)
    quality = np.array([1.0, 0.9, 0.2])
    assert marginal_relevance(vectors, quality, 3, 0.5) == [0, 2, 1]
    assert marginal_relevance(vectors, quality, 2, 0.9) == [0, 1]


def brute(hashes: np.ndarray, distance: int) -> set[tuple[int, int]]:
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return {(int(i), int(j)) for i, j in np.argwhere(bits <= distance) if i < j}


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 11))
def test_no_near_pair_is_missed(seed: int, distance: int) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 12, np.uint64)
    hashes = centres[rng.integers(0, 12, 150)]
    for _ in range(7):  # clusters, in which up to seven bits are flipped
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, 150, np.uint64))
    hashes = np.unique(hashes)
    rng.shuffle(hashes)
    pairs, gaps = near_pairs(hashes, distance)
    assert {(int(i), int(j)) for i, j in pairs} == brute(hashes, distance)
    assert len(pairs) == len(np.unique(pairs, axis=0))
    assert gaps.tolist() == [int(hashes[i] ^ hashes[j]).bit_count() for i, j in pairs]


def test_alike_pairs_are_all_pairs() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((60, 4)).astype(np.float16)
    pairs, gaps = alike_pairs(vectors, 0.9)
    unit = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    expected = {(i, j) for i, j in np.argwhere(unit @ unit.T >= 0.9).tolist() if i < j}
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    np.testing.assert_allclose(gaps, [1 - unit[i] @ unit[j] for i, j in pairs], atol=1e-5)


@pytest.fixture
def copies(tmp_path: Path) -> Catalog:
    rows = [make_row(i) for i in range(12)]
    for index, (like, flips) in {1: (0, 0b1), 2: (0, 0b110), 3: (1, 0b11000), 5: (4, 0)}.items():
        rows[index]["phash"] = rows[like]["phash"] ^ flips
        rows[index]["embedding"] = rows[like]["embedding"]
    rows[7]["sha256"] = rows[8]["sha256"] = rows[6]["sha256"]
    for index, value in enumerate([5, 9, 6, 4, 1, 2, 3, 7, 8, 0, 0, 0]):
        rows[index]["aesthetic"] = float(value)
    rows.append(make_row(12, status="failed"))
    publish_shard(tmp_path, "x-0", rows, SCHEMA)
    return Catalog(tmp_path)


def members(catalog: Catalog, **options: object) -> list[list[int]]:
    frame = duplicate_groups(catalog, **options)
    place = {make_row(i)["recipe_id"]: i for i in range(13)}
    assert frame.groupby("group")["keep"].agg(["first", "sum"]).eq([True, 1]).all(axis=None)
    return [[place[i] for i in group["recipe_id"]] for _, group in frame.groupby("group")]


def test_groups_begin_with_the_best_and_do_not_chain(copies: Catalog) -> None:
    # 1 is best; 0, 2 and 3 lie within 3 bits of it, though 2 and 3 are 5 apart
    assert members(copies, kind="near", distance=3, order="aesthetic") == [[1, 0, 3, 2], [5, 4]]
    assert members(copies, kind="near", distance=0, order="aesthetic") == [[5, 4]]
    # led by the plan's order, 0 leads 1 and 2, and leaves 3, which is 3 away
    assert members(copies, kind="near", distance=2) == [[0, 1, 2], [4, 5]]
    assert members(copies, kind="exact", order="aesthetic") == [[8, 7, 6]]
    assert members(copies, kind="exact", where="plan_index <> 8", order="aesthetic") == [[7, 6]]
    semantic = members(copies, kind="semantic", likeness=0.999, order="aesthetic")
    assert sorted(map(sorted, semantic)) == [[0, 1, 2, 3], [4, 5]]
    frame = duplicate_groups(copies, "near", distance=3, order="aesthetic")
    assert frame["distance"].tolist() == [0, 1, 2, 3, 0, 0]
    assert list(frame.columns) == ["group", "keep", "distance", "recipe_id", "file", "aesthetic"]


def test_a_catalog_without_duplicates_has_no_groups(demo: Callable[..., Path]) -> None:
    catalog = Catalog(demo(count=12, per=6))
    for kind in ("exact", "near", "semantic"):
        assert len(duplicate_groups(catalog, kind, likeness=0.9999)) == 0
        assert len(duplicate_groups(catalog, kind, where="subject = 'unicorn'")) == 0
    for bad in ({"kind": "odd"}, {"distance": 12}, {"kind": "semantic", "likeness": 1.5}):
        with pytest.raises(InputError):
            duplicate_groups(catalog, **bad)
