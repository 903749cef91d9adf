"""The flow on a real Prefect server with the noise backend: resume, growth, failures, honest ends."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from nonesuch.catalogs.query import Catalog
from nonesuch.foundation.errors import InputError, StorageError

SWEEP = """\
name: noisy
model: noise
prompt: "a {{subject}} by {{artist}}"
facets:
  subject: [panda, fox]
  artist: [Hokusai, Munch]
seeds: {{count: {seeds}}}
settings: {{width: 64, height: 64, steps: 1}}
scoring: {{scorers: [technical]}}
shard_size: 5
"""


def write_sweep(folder: Path, seeds: int = 3, text: str = SWEEP) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text.format(seeds=seeds))
    return path


def run(path: Path, out: Path, **options: Any) -> Any:
    from nonesuch.flows.sweep import sweep

    return sweep(path, out, **options)


def rows(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog")


@pytest.mark.usefixtures("prefect_server")
class TestSweep:
    def test_every_recipe_is_catalogued_once_and_every_file_has_its_digest(self, tmp_path: Path) -> None:
        summary = run(write_sweep(tmp_path), tmp_path / "out")
        table = rows(tmp_path / "out")
        assert (summary.done, summary.failed) == (12, 0)
        assert len(table) == 12 == table["recipe_id"].nunique()
        assert sorted(table["subject"].unique()) == ["fox", "panda"]
        for file, digest, size in zip(table["file"], table["sha256"], table["bytes"], strict=True):
            data = (tmp_path / "out" / file).read_bytes()
            assert hashlib.sha256(data).hexdigest() == digest
            assert len(data) == size

    def test_facets_of_numbers_are_columns_of_numbers_in_the_prompt_too(self, tmp_path: Path) -> None:
        text = SWEEP.replace(
            "by {{artist}}", "by {{artist}}, {{count}} of them, {{share}} {{mixed}} {{word}}"
        )
        more = '\n  count: [1, 12]\n  share: [1, 2.5]\n  mixed: [1, two]\n  word: ["1", "2"]\nseeds'
        summary = run(write_sweep(tmp_path, 1, text.replace("\nseeds", more)), tmp_path / "out")
        table = rows(tmp_path / "out")
        assert summary.done == len(table) == 64
        assert table["count"].dtype == "int64"
        assert set(table["share"]) == {1.0, 2.5}
        assert set(table["mixed"]) == {"1", "two"}
        assert set(table["word"]) == {"1", "2"}
        assert set(table[table["share"] == 1]["prompt"].str.split().str[-3]) == {"1"}  # as it was written
        assert Catalog(tmp_path / "out").count(["count > 1", "share < 2"]) == 16
        assert run(tmp_path / "sweep.yaml", tmp_path / "out").planned == 0

    def test_running_again_draws_nothing_and_a_grown_sweep_only_what_is_new(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        run(write_sweep(tmp_path, seeds=2), out)
        before = rows(out).set_index("recipe_id")["drawn_at"]
        assert run(write_sweep(tmp_path, seeds=2), out).planned == 0
        grown = run(write_sweep(tmp_path, seeds=5), out)
        assert grown.planned == grown.done == 12
        after = rows(out).set_index("recipe_id")["drawn_at"]
        assert len(after) == 20
        assert (after[before.index] == before).all()

    def test_a_second_run_on_the_same_folder_is_refused(self, tmp_path: Path) -> None:
        from nonesuch.flows.run.output_folder import hold

        with hold(tmp_path / "out"), pytest.raises(StorageError, match="another run"):
            run(write_sweep(tmp_path), tmp_path / "out")

    def test_a_bad_sweep_ends_before_anything_is_made(self, tmp_path: Path) -> None:
        path = write_sweep(tmp_path, text=SWEEP.replace("{{artist}}", "{{painter}}"))
        with pytest.raises(InputError, match="painter"):
            run(path, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_the_run_leaves_its_artifacts(self, tmp_path: Path, prefect_server: str) -> None:
        text = SWEEP.replace("name: noisy", "name: Artful.One")
        run(write_sweep(tmp_path, text=text), tmp_path / "out")
        # Prefect's own client sends nulls that its server refuses.
        asked = {"artifacts": {"key": {"like_": "%artful-one"}}, "limit": 200, "offset": 0}
        reply = httpx.post(f"{prefect_server}/artifacts/filter", json=asked)
        found = {artifact["key"]: artifact["data"] for artifact in reply.raise_for_status().json()}
        assert float(found["progress-artful-one"]) == 100.0
        assert "12 images drawn" in found["summary-artful-one"]
        assert "Hokusai" in str(found["facets-artful-one"])


def test_the_second_writer_learns_why(tmp_path: Path) -> None:
    from nonesuch.flows.run.output_folder import hold

    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StorageError, match="file"), hold(blocked / "out"):
        pass
