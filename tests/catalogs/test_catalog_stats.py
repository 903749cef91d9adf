"""Statistics against scipy and pandas over the same rows, and the chart they become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.search.stats import facet_stats, heat_map
from nonesuch.foundation.errors import InputError

FAILED = (3, 9, 31)


@pytest.fixture
def catalog(demo: Callable[..., Path]) -> Catalog:
    return Catalog(demo(count=90, per=30, failed=FAILED))


@pytest.fixture
def frame(catalog: Catalog) -> pd.DataFrame:
    plain = catalog.query()
    for name in ("subject", "artist"):
        plain[name] = plain[name].astype(str)
    return plain


def check(row: pd.Series, inside: pd.Series, outside: pd.Series) -> None:
    inside, outside = inside.dropna().astype(float), outside.dropna().astype(float)
    assert row["mean"] == pytest.approx(inside.mean())
    assert row["sd"] == pytest.approx(inside.std())
    interval = reference.t.interval(0.95, len(inside) - 1, inside.mean(), reference.sem(inside))
    assert (row["low"], row["high"]) == pytest.approx(interval)
    welch = reference.ttest_ind(inside, outside, equal_var=False).confidence_interval(0.95)
    assert row["lift"] == pytest.approx(inside.mean() - outside.mean())
    assert (row["lift_low"], row["lift_high"]) == pytest.approx((welch.low, welch.high))


def test_values_over_all_images(catalog: Catalog, frame: pd.DataFrame) -> None:
    got = facet_stats(catalog, pairs=False)
    assert set(got["score"]) == {"alignment", "aesthetic", "subject_rank", "blank"}
    assert got["within"].isna().all()
    for _, row in got[got["score"].isin(["aesthetic", "subject_rank"])].iterrows():
        here = frame[row["facet"]].astype(str) == row["value"]
        check(row, frame[row["score"]][here], frame[row["score"]][~here])
        failed = frame["status"][here] == "failed"
        assert row["failed"] == failed.sum()
        assert row["images"] == (~failed).sum()
        assert row["share_failed"] == pytest.approx(failed.mean())
        best = frame[here].sort_values(row["score"], ascending=False).iloc[0]
        assert row["best"] == pytest.approx(best[row["score"]])
        if row["score"] == "aesthetic":
            assert row["best_recipe"] == best["recipe_id"]


def test_values_within_another_facet(catalog: Catalog, frame: pd.DataFrame) -> None:
    got = facet_stats(catalog, facets=["subject", "artist"], scores=["Aesthetic"])
    pairs = got[got["within"].notna()]
    assert len(pairs) == 12  # three subjects and two artists, either way round
    for _, row in pairs.iterrows():
        around = frame[frame[row["within"]] == row["within_value"]]
        here = around[row["facet"]] == row["value"]
        check(row, around["aesthetic"][here], around["aesthetic"][~here])


def test_conditions_and_other_columns_as_facets(catalog: Catalog, frame: pd.DataFrame) -> None:
    got = facet_stats(catalog, facets=["seed"], scores=["alignment"], where="subject = 'fox'")
    foxes = frame[frame["subject"] == "fox"]
    assert got["images"].sum() == (foxes["status"] != "failed").sum()
    assert set(got["value"]) == set(foxes["seed"].astype(str))


def test_too_few_images_leave_the_intervals_open(catalog: Catalog) -> None:
    got = facet_stats(catalog, facets=["plan_index"], scores=["aesthetic"], where="plan_index < 5")
    assert got["low"].isna().all()
    assert got["mean"].notna().sum() == 4
    assert (got[got["value"] == "3"]["share_failed"] == 1).all()


def test_nothing_to_count_is_told(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="Did you mean subject"):
        facet_stats(catalog, facets=["subjects"])
    with pytest.raises(InputError, match="facets and scores"):
        facet_stats(catalog, facets=[])
    with pytest.raises(InputError, match="confidence"):
        facet_stats(catalog, confidence=95)
    assert len(facet_stats(catalog, where="subject = 'unicorn'")) == 0


def test_a_heat_map_is_dark_where_low_and_bright_where_high(catalog: Catalog) -> None:
    got = facet_stats(catalog, facets=["subject", "artist"])
    chart = heat_map(got, score="aesthetic", rows="artist", columns="subject", title="aesthetic")
    pixels = np.asarray(chart).reshape(-1, 3)
    colours = {tuple(c) for c in np.unique(pixels, axis=0).tolist()}
    assert {(68, 1, 84), (253, 231, 37)} <= colours  # the ends of the scale, for the lowest and highest mean
    assert chart.width > 3 * 96
    with pytest.raises(InputError, match="statistics have no"):
        heat_map(got, score="aesthetic", rows="artist", columns="mood")
