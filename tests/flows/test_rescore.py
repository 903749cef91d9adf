"""Rescoring a catalog: columns added, facts merged, the rest untouched; killed in the middle and gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nonesuch.catalogs.storage.compact import compact
from nonesuch.catalogs.storage.parts import part_files
from nonesuch.flows.reporting.progress import Tally, watched_by
from nonesuch.foundation.errors import InputError

SWEEP = """\
name: plain
model: noise
prompt: "a {subject} by {artist}"
facets:
  subject: [panda, fox]
  artist: [Hokusai, Munch]
seeds: {count: 4}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [technical]}
shard_size: 5
"""
IMAGES = 16
RUN = """\
import os, signal, sys
import nonesuch.flows.rescore as module
from nonesuch.flows.reporting.progress import watched_by
module.CHUNK = 3
class Killer:
    done = 0
    def planned(self, total, already): print(total, flush=True)
    def advanced(self, tally):
        self.done += 1
        if self.done == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)
from pathlib import Path
with watched_by(Killer()):
    module.rescore(Path(sys.argv[1]), ["alignment", "facets", "aesthetic"])
"""

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Path:
    """The output folder of a small sweep that was scored by `technical` alone."""
    from nonesuch.flows.sweep import sweep

    folder = tmp_path_factory.mktemp("rescore")
    (folder / "sweep.yaml").write_text(SWEEP)
    sweep(folder / "sweep.yaml", folder / "out")
    return folder / "out"


@pytest.fixture
def out(drawn: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    import shutil

    shutil.copytree(drawn, tmp_path / "out")
    return tmp_path / "out"


def table(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "catalog").sort_values("recipe_id").reset_index(drop=True)


def files(out: Path) -> dict[str, str]:
    images = sorted((out / "images").rglob("*.png"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in images}


def test_new_scores_come_beside_the_old_ones(out: Path) -> None:
    from nonesuch.flows.rescore import rescore

    before, pictures = table(out), files(out)
    done = rescore(out, ["alignment", "facets", "aesthetic"])
    assert (done.images, done.already, done.unread) == (IMAGES, 0, 0)
    after = table(out)
    new = ["alignment", "rank_subject", "prob_subject", "rank_artist", "prob_artist", "aesthetic"]
    assert after[new].notna().all().all()
    assert after["prob_subject"].between(0, 1).all()
    untouched = [name for name in before.columns if name not in ("score_facts", "embedding")]
    pd.testing.assert_frame_equal(after[untouched], before[untouched])
    facts = json.loads(after["score_facts"][0])
    assert facts["aesthetic_head"] == "embedded"
    assert facts["scorers"] == "aesthetic,alignment,facets"
    near = [
        np.dot(a.astype(float), b.astype(float))
        for a, b in zip(before["embedding"], after["embedding"], strict=True)
    ]
    assert min(near) > 0.95  # the drawn picture against the marked one
    assert files(out) == pictures
    assert {path.name for path in out.iterdir()} >= {"catalog", "images"}
    assert not (out / ".rescore").exists()
    assert not (out / ".catalog-staged").exists()
    again = rescore(out, ["aesthetic", "alignment"])
    assert (again.images, again.already) == (0, IMAGES)
    whole = rescore(out, ["aesthetic"], again=True)
    assert whole.images == IMAGES


def test_scores_agree_with_those_of_a_sweep(out: Path, tmp_path: Path) -> None:
    from nonesuch.flows.rescore import rescore
    from nonesuch.flows.sweep import sweep

    (tmp_path / "scored.yaml").write_text(SWEEP.replace("[technical]", "[technical, aesthetic, facets]"))
    sweep(tmp_path / "scored.yaml", tmp_path / "scored")
    rescore(out, ["aesthetic", "facets"])
    mine, theirs = table(out), table(tmp_path / "scored")
    assert list(mine["recipe_id"]) == list(theirs["recipe_id"])
    difference = (mine["prob_artist"] - theirs["prob_artist"]).abs()
    assert difference.median() < 0.1
    assert list(mine.columns) == list(theirs.columns)


def test_missing_and_changed_files_keep_their_scores_and_are_told(out: Path) -> None:
    from nonesuch.flows.rescore import rescore

    before = table(out)
    (out / before["file"][0]).unlink()
    with (out / before["file"][1]).open("ab") as file:
        file.write(b"more")
    done = rescore(out, ["technical", "aesthetic"])
    assert (done.images, done.unread) == (IMAGES - 2, 2)
    assert {file for file, _ in done.unreadable} == set(before["file"][:2])
    after = table(out)
    assert after["aesthetic"].isna().tolist() == [True, True] + [False] * (IMAGES - 2)
    assert after["sharpness"][:2].tolist() == before["sharpness"][:2].tolist()


def test_merged_parts_keep_their_indexes(out: Path) -> None:
    from nonesuch.catalogs.storage.indexes import index_files
    from nonesuch.flows.rescore import rescore

    compact(out)
    indexes = [path.name for path in index_files(part_files(out)[0])]
    rescore(out, ["aesthetic"])
    assert len(part_files(out)) == 1
    assert indexes
    assert [path.name for path in index_files(part_files(out)[0])] == indexes
    assert table(out)["aesthetic"].notna().all()


def _start(out: Path, server: str, after: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, str(out), str(after)],
        env={**os.environ, "PREFECT_API_URL": server},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


class Planned:
    """A watcher that remembers how many images were to be scored."""

    waiting: list[int]

    def __init__(self) -> None:
        self.waiting = []

    def planned(self, total: int, already: int) -> None:
        self.waiting.append(total)

    def advanced(self, tally: Tally) -> None:
        pass


@pytest.mark.parametrize("kills", [[7], pytest.param([7, 5], marks=pytest.mark.long)])
def test_killed_in_the_middle_it_leaves_the_old_catalog_and_goes_on(
    out: Path, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch, kills: list[int]
) -> None:
    import shutil

    from nonesuch.flows import rescore as module

    monkeypatch.setattr(module, "CHUNK", 3)
    scorers = ["alignment", "facets", "aesthetic"]
    shutil.copytree(out, tmp_path / "calm")
    module.rescore(tmp_path / "calm", scorers)
    before, watcher = table(out), Planned()
    for after in kills:
        done = _start(out, prefect_server, after)
        assert done.returncode == -signal.SIGKILL, done.stderr
        watcher.waiting.append(int(done.stdout.split()[0]))
        pd.testing.assert_frame_equal(table(out).drop(columns="embedding"), before.drop(columns="embedding"))
    with watched_by(watcher):
        module.rescore(out, scorers)
    # chunks that were finished are not scored again
    assert watcher.waiting == sorted(set(watcher.waiting), reverse=True)
    assert (len(watcher.waiting), watcher.waiting[0]) == (len(kills) + 1, IMAGES)
    compared = [name for name in table(out).columns if name != "embedding"]
    pd.testing.assert_frame_equal(table(out)[compared], table(tmp_path / "calm")[compared])


def test_another_encoder_changes_embeddings_and_all_scores(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nonesuch.flows.rescore import rescore
    from nonesuch.scoring.encoders import ENCODERS

    class Tiny:
        """Sixteen numbers from the picture's mean colours."""

        name, tag, preprocessing, precision, digest, dim, logit_scale = (
            "tiny",
            "1",
            "none",
            "fp32",
            None,
            16,
            100.0,
        )

        def images(self, images: Any) -> Any:
            rows = [np.resize(np.append(image.mean((0, 1)), 1.0), 16) for image in images]
            return np.array([row / np.linalg.norm(row) for row in rows], np.float32)

        def texts(self, texts: Any) -> Any:
            return np.full((len(texts), 16), 0.25, np.float32)

    monkeypatch.setitem(ENCODERS._factories, "tiny", lambda rest, **_: Tiny())
    compact(out)
    first = table(out)["file"][0]
    (out / first).unlink()
    done = rescore(out, ["alignment"], encoder="tiny")
    assert done.scorers == ("alignment", "technical")  # what the catalog had is made again
    after = table(out)
    assert after["encoder"].isna().sum() == 1
    kept = after[after["encoder"].notna()]
    assert {len(vector) for vector in kept["embedding"]} == {16}
    assert kept["alignment"].notna().all()
    assert "aesthetic_head" not in json.loads(kept["score_facts"].iloc[0])


def test_what_can_not_be_done_is_told(out: Path, tmp_path: Path) -> None:
    from nonesuch.flows.rescore import rescore

    with pytest.raises(InputError, match="unknown scorer 'beauty'"):
        rescore(out, ["beauty"])
    with pytest.raises(InputError, match="no scorer"):
        rescore(out, [])
    with pytest.raises(InputError, match="no catalog"):
        rescore(tmp_path / "nowhere", ["technical"])
