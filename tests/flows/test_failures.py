"""Recipes that fail, black images, clashing sweeps: a row says so, the sweep goes on, a retry draws again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from moody_backend import Moody, MoodyKind

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends import BACKENDS

pytestmark = pytest.mark.slow

SWEEP = """\
name: moody
model: moody:1
prompt: "a {subject}"
facets:
  subject: [panda, fox]
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: []}
shard_size: 3
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    BACKENDS.register("moody", MoodyKind)
    Moody.failing = True
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


@pytest.mark.usefixtures("prefect_server")
def test_failures_and_black_images_are_rows_and_a_retry_draws_only_them(
    sweep_file: Path, tmp_path: Path
) -> None:
    from nonesuch.flows.sweep import sweep

    out = tmp_path / "out"
    first = sweep(sweep_file, out)
    assert (first.done, first.failed, first.flagged) == (6, 2, 2)
    table = pd.read_parquet(out / "catalog")
    failed = table[table["status"] == "failed"]
    assert set(failed["reason"]) == {"in a bad mood"}
    assert failed["file"].isna().all()
    flagged = table[table["status"] == "flagged"]
    assert set(flagged["seed"]) == {2}
    assert all((out / file).is_file() for file in flagged["file"])

    assert sweep(sweep_file, out).planned == 0
    Moody.failing = False
    again = sweep(sweep_file, out, retry_failed=True)
    assert (again.planned, again.done, again.failed) == (2, 2, 0)
    table = pd.read_parquet(out / "catalog")
    assert len(table) == 8 == table["recipe_id"].nunique()
    assert not (table["status"] == "failed").any()


@pytest.mark.parametrize("name", ["recipe_id", "sha256", "embedding", "alignment"])
def test_a_facet_that_would_hide_a_column_is_refused_before_anything_is_drawn(
    tmp_path: Path, name: str
) -> None:
    from nonesuch.flows.run.job import prepare

    path = tmp_path / "sweep.yaml"
    path.write_text(
        f'name: clash\nmodel: noise\nprompt: "a {{{name}}}"\nfacets: {{{name}: [a, b]}}\n'
        "settings: {width: 64, height: 64}\n"
    )
    with pytest.raises(InputError, match=name):
        prepare(path, tmp_path / "out", online=False)


def test_two_cells_of_one_recipe_are_drawn_once(tmp_path: Path) -> None:
    from nonesuch.flows.run.job import pending, prepare

    path = tmp_path / "sweep.yaml"
    path.write_text(
        'name: twice\nmodel: noise\nprompt: "{a}{b}"\nfacets: {a: [x, xy], b: [yz, z]}\n'
        "settings: {width: 64, height: 64}\n"
    )
    job = prepare(path, tmp_path / "out", online=False)
    drawn = list(pending(job.matrix, np.zeros(0, np.uint64)))
    assert job.matrix.count() == 4
    assert sorted(recipe.prompt for recipe in drawn) == ["xyyz", "xyz", "xz"]
