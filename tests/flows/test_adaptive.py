"""Adaptive sweeps: later images go where the scores are best, and the same catalog gives the same set."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nonesuch.foundation.errors import InputError
from nonesuch.generators.sweepfile.sweep import load_sweep

SWEEP = """\
name: hunt
model: noise
prompt: "{what} {place}"
facets:
  what: [a, b, c, d]
  place: [x, y, z]
seeds: {count: 8}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
marking: {watermark: false, credentials: false}
shard_size: 16
"""
# Known worths: `b` and `y` are good, and the seed adds a little noise that is the same everywhere.
WORTH = "(CASE what WHEN 'b' THEN 4 ELSE 0 END) + (CASE place WHEN 'y' THEN 2 ELSE 0 END) + (seed % 3) * 0.1"
ADAPTIVE = SWEEP + f'adaptive: {{order: "{WORTH}", first: 16, round: 8, seed: 5}}\n'


def run(folder: Path, text: str) -> pd.DataFrame:
    from nonesuch.flows.sweep import sweep

    folder.mkdir(exist_ok=True)
    (folder / "s.yaml").write_text(text)
    sweep(folder / "s.yaml", folder / "out")
    return pd.read_parquet(folder / "out" / "catalog")


@pytest.mark.usefixtures("prefect_server")
class TestAdaptive:
    def test_later_images_go_where_the_best_scores_are(self, tmp_path: Path) -> None:
        rows = run(tmp_path, ADAPTIVE + "budget: {images: 40}\n")
        assert len(rows) == 40
        assert ((rows["what"] == "b") & (rows["place"] == "y")).sum() == 8  # every seed of the best one
        assert (rows["what"] == "b").sum() >= 18  # evenly it would be 10

    def test_stops_do_not_change_what_is_drawn(self, tmp_path: Path) -> None:
        whole = run(tmp_path / "whole", ADAPTIVE + "budget: {images: 44}\n")
        for _ in range(4):  # 11 images each: every stop lies inside a round
            broken = run(tmp_path / "broken", ADAPTIVE + "budget: {images: 11}\n")
        assert set(broken["recipe_id"]) == set(whole["recipe_id"])

    def test_without_a_budget_everything_is_drawn_once(self, tmp_path: Path) -> None:
        rows = run(tmp_path, ADAPTIVE)
        assert len(rows) == rows["recipe_id"].nunique() == 96

    def test_another_days_scores_count(self, tmp_path: Path) -> None:
        run(tmp_path, ADAPTIVE + "budget: {images: 32}\n")
        later = ADAPTIVE.replace("{count: 8}", "{count: 8, base: 100}").replace("first: 16", "first: 1")
        rows = run(tmp_path, later + "budget: {images: 9}\n")
        assert (rows[rows["seed"] >= 100]["what"] == "b").sum() >= 6

    def test_a_score_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="beauty") as caught:
            run(tmp_path, SWEEP + "adaptive: {order: beauty, first: 4}\n")
        assert "adaptive" in str(caught.value.where)


def test_adaptive_and_sample_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(ADAPTIVE + "sample: 5\n")
    with pytest.raises(InputError, match="leave sample out"):
        load_sweep(tmp_path / "s.yaml")
