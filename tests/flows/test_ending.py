"""Runs that end before their matrix does, and go on: budgets, settled best images, fresh seeds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import nonesuch.generators.sweepfile.values.seeds
from nonesuch.foundation.errors import InputError
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.sweepfile.sweep import load_sweep, make_sweep

SWEEP = """\
name: long
model: noise
prompt: "x"
seeds: {count: 12}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
shard_size: 3
"""


def run(folder: Path, text: str) -> object:
    from nonesuch.flows.sweep import sweep

    (folder / "s.yaml").write_text(text)
    return sweep(folder / "s.yaml", folder / "out")


def count(folder: Path) -> int:
    return len(pd.read_parquet(folder / "out" / "catalog"))


@pytest.mark.usefixtures("prefect_server")
class TestEnding:
    def test_a_budget_of_images_is_kept_and_the_next_run_goes_on(self, tmp_path: Path) -> None:
        text = SWEEP + "budget: {images: 5}\n"
        for drawn, total, ended_by in ((5, 5, "5 images"), (5, 10, "5 images"), (2, 12, None)):
            summary = run(tmp_path, text)
            assert (summary.done, count(tmp_path)) == (drawn, total)  # type: ignore[attr-defined]
            assert (summary.ended_by is None) if ended_by is None else (ended_by in summary.ended_by)  # type: ignore[attr-defined]

    def test_spent_hours_end_it_after_the_shard_that_is_drawn(self, tmp_path: Path) -> None:
        summary = run(tmp_path, SWEEP + "budget: {hours: 0.0000001}\n")
        assert count(tmp_path) == 3
        assert "hours is spent" in summary.ended_by  # type: ignore[attr-defined]
        assert "Ended early" in summary.markdown()  # type: ignore[attr-defined]

    def test_it_ends_when_the_best_have_settled(self, tmp_path: Path) -> None:
        # the seed is the score, and it falls: the first image stays the best
        text = SWEEP + 'settled: {top: 1, order: "-seed", patience: 4}\n'
        summary = run(tmp_path, text)
        assert "best 1" in summary.ended_by  # type: ignore[attr-defined]
        assert count(tmp_path) == 9


def test_fresh_seeds_follow_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"name": "a", "model": "noise", "prompt": "x", "seeds": {"count": 3, "base": 10, "fresh": "daily"}}
    seen = []
    for day in (0, 1, 2):
        monkeypatch.setattr(nonesuch.generators.sweepfile.values.seeds, "days", lambda day=day: day)
        seen += [recipe.seed for recipe in open_matrix(make_sweep(data))]
    assert seen == list(range(10, 19))


def test_a_budget_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SWEEP + "budget: {hours: 0}\n")
    with pytest.raises(InputError, match="greater than 0") as caught:
        load_sweep(tmp_path / "s.yaml")
    assert "budget.hours" in str(caught.value.where)
