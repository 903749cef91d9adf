"""Agreement of scorers: against scipy on the very same resamples, and on planted agreement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from catalog_samples import SCHEMA, make_row
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from nonesuch.catalogs.picks.agreement import agreement, rank_correlations
from nonesuch.catalogs.picks.log import open_picks
from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.storage.parts import publish_shard
from nonesuch.foundation.errors import InputError


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=4, max_size=40),
    st.integers(0, 2**32),
)
def test_weighted_correlations_are_those_of_the_repeated_images(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    x, y = np.array(pairs, float).T
    rng = np.random.default_rng(seed)
    weights = np.vstack([np.ones(len(x)), rng.multinomial(len(x), np.full(len(x), 1 / len(x)), 5)])
    rho, tau = rank_correlations(x, y, weights.astype(np.float32))
    for row, counts in enumerate(weights.astype(int)):
        again_x, again_y = np.repeat(x, counts), np.repeat(y, counts)
        if len(set(again_x)) < 2 or len(set(again_y)) < 2:
            assert np.isnan(tau[row])
            assert np.isnan(rho[row])
            continue
        assert rho[row] == pytest.approx(spearmanr(again_x, again_y).statistic, abs=1e-9)
        assert tau[row] == pytest.approx(kendalltau(again_x, again_y).statistic, abs=1e-9)


@pytest.fixture
def planted(tmp_path: Path) -> Catalog:
    # aesthetic follows alignment for foxes and opposes it for pandas; castles have no alignment
    rng = np.random.default_rng(4)
    rows = []
    for index in range(240):
        row = make_row(index, strokes=0)
        noise = 0.1 * rng.standard_normal()
        sign = {"fox": 1, "panda": -1, "castle": 0}[row["subject"]]
        row |= {
            "alignment": None if sign == 0 else row["alignment"],
            "aesthetic": sign * row["alignment"] + noise,
        }
        rows.append(row)
    publish_shard(tmp_path, "demo-0", rows, SCHEMA)
    return Catalog(tmp_path)


def test_planted_agreement_shows_within_the_groups(planted: Catalog) -> None:
    rows = agreement(planted, scores=["alignment", "aesthetic"], within="subject")
    by_value = {row.value: row for row in rows}
    assert [row.value for row in rows] == [None, "castle", "fox", "panda"]
    assert by_value["castle"].images == 0
    assert by_value["castle"].kendall is None
    for value, sign in (("fox", 1), ("panda", -1)):
        row = by_value[value]
        assert row.images == 80
        assert row.within == "subject"
        assert row.spearman is not None
        assert row.spearman * sign > 0.8
        assert row.kendall_low is not None
        assert row.kendall_high is not None
        assert row.kendall is not None
        assert row.kendall_low < row.kendall < row.kendall_high
        assert (row.kendall_low if sign > 0 else -row.kendall_high) > 0.5
    overall = by_value[None]
    assert overall.images == 160
    assert overall.spearman is not None
    assert abs(overall.spearman) < 0.3


def test_every_pair_of_scores_that_differ(demo: Callable[..., Path]) -> None:
    catalog = Catalog(demo(count=90, per=30, failed=(3,)))
    rows = agreement(catalog)
    assert [(row.first, row.second) for row in rows] == [
        ("alignment", "aesthetic"),
        ("alignment", "subject_rank"),
        ("alignment", "blank"),
        ("aesthetic", "subject_rank"),
        ("aesthetic", "blank"),
        ("subject_rank", "blank"),
    ]
    assert {row.images for row in rows} == {89}
    frame = catalog.query("status = 'ok'")
    for row in rows:
        x, y = frame[row.first].astype(float), frame[row.second].astype(float)
        assert row.spearman == pytest.approx(spearmanr(x, y).statistic)
        assert row.kendall == pytest.approx(kendalltau(x, y).statistic)
    assert agreement(catalog) == rows
    few = agreement(catalog, images=20, where="aesthetic > 1")
    assert {row.images for row in few} == {20}


def test_stars_can_be_a_scorer(planted: Catalog) -> None:
    log = open_picks(planted.folder)
    for row in planted.query("subject = 'fox'", as_arrow=True).to_pylist():
        log.stars(row["recipe_id"], int(np.clip(row["alignment"] * 5 + 1, 1, 5)))
    (row,) = agreement(planted, scores=["alignment", "stars"])
    assert row.images == 80
    assert row.spearman is not None
    assert row.spearman > 0.9


def test_too_few_scores_are_told(planted: Catalog) -> None:
    with pytest.raises(InputError, match="needs two scores"):
        agreement(planted, scores=["alignment", "Alignment"])
    with pytest.raises(InputError, match="Did you mean"):
        agreement(planted, scores=["alignment", "estetic"])
    with pytest.raises(InputError, match="confidence"):
        agreement(planted, confidence=95)
