"""The pipeline behind the drawing: what runs at the same time, what is bounded, and what each stage's failure does.

The backend, the scorer and the disk are under the tests' control; each waits for what must happen meanwhile, so a
pipeline that did one thing after another would never end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nonesuch.flows.reporting.progress import Counter, Tally, watched_by
from nonesuch.flows.run.job import Job, pending, prepare
from nonesuch.flows.run.output_folder import SCRATCH
from nonesuch.flows.run.overlapping import overlapped
from nonesuch.flows.run.shard import ShardReport, run_shard
from nonesuch.flows.run.steps import pipeline
from nonesuch.foundation.errors import DrawingError, NonesuchError, StorageError
from nonesuch.generators.backends import BACKENDS, Backend, Drawing, open_backend
from nonesuch.generators.matrix.plan import open_matrix
from nonesuch.generators.matrix.shards import Shard, cut_shards
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.sweep import make_sweep
from nonesuch.scoring.base import Batch, Column, Setting
from nonesuch.scoring.scorers import SCORERS

PATIENCE = 60.0  # seconds after which what should happen meanwhile counts as never happening

SWEEP = """\
name: lined
model: tamed:1
prompt: "x"
seeds: {count: 12}
settings: {width: 64, height: 64, steps: 1}
scoring: {scorers: [tamed]}
marking: {credentials: false}
"""
PLAIN = {"name": "a", "model": "noise", "prompt": "x", "seeds": {"count": 1}}


@dataclass
class Tamer:
    """What the test does when a part of the pipeline begins its work."""

    drawing: Callable[[Recipe], None] = lambda recipe: None
    scoring: Callable[[Batch], None] = lambda batch: None
    drawn: list[int] = field(default_factory=list)  # seeds


_tamer = Tamer()


class TamedBackend:
    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts
        self._noise: Backend = open_backend("noise")

    def load(self) -> None: ...

    def check(self, recipe: Recipe) -> None: ...

    def close(self) -> None: ...

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        for drawing in self._noise.draw(recipes):
            _tamer.drawing(drawing.recipe)
            _tamer.drawn.append(drawing.recipe.seed)
            yield drawing


class TamedKind:
    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        return replace(open_backend("noise").facts, model=model, backend="tamed", digest="tamed/1")

    def open(self, facts: ModelFacts, **_: Any) -> Backend:
        return TamedBackend(facts)


class TamedScorer:
    name = "tamed"
    facets: tuple[str, ...] = ()

    def __init__(self, setting: Setting) -> None:
        self.facts: Mapping[str, str] = {}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (Column("grey", "float32", "mean grey level"),)

    def score(self, batch: Batch) -> Mapping[str, Any]:
        _tamer.scoring(batch)
        return {"grey": np.array([image.mean() for image in batch.images])}


@pytest.fixture(autouse=True)
def tamer(monkeypatch: pytest.MonkeyPatch) -> Tamer:
    BACKENDS.register("tamed", TamedKind)
    SCORERS.register("tamed", TamedScorer)
    fresh = Tamer()
    monkeypatch.setattr(f"{__name__}._tamer", fresh)
    return fresh


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return make_job(tmp_path, SWEEP)


def make_job(folder: Path, text: str) -> Job:
    (folder / "s.yaml").write_text(text)
    out = folder / "out"
    (out / SCRATCH).mkdir(parents=True)
    return prepare(folder / "s.yaml", out, online=False)


def run(job: Job, size: int, counter: Counter | None = None) -> list[ShardReport]:
    shards = cut_shards(pending(job.matrix, np.zeros(0, np.uint64)), size, sweep="lined")
    counter = counter or Counter(job.matrix.count())
    return list(overlapped(shards, lambda shard, drawn: run_shard(shard, job, counter, drawn)))


def happens(event: threading.Event, what: str) -> None:
    if not event.wait(PATIENCE):
        raise RuntimeError(f"{what} did not happen meanwhile")


def test_drawing_goes_on_while_the_first_images_are_scored(job: Job, tamer: Tamer) -> None:
    all_drawn = threading.Event()
    tamer.drawing = lambda recipe: all_drawn.set() if recipe.seed == 11 else None
    tamer.scoring = lambda batch: happens(all_drawn, "drawing the last image")
    assert [report.done for report in run(job, 12)] == [12]


def test_images_are_finished_while_later_ones_are_drawn(job: Job, tamer: Tamer) -> None:
    written = threading.Event()

    class Watcher:
        def planned(self, total: int, already: int) -> None: ...

        def advanced(self, tally: Tally) -> None:
            written.set()

    tamer.drawing = lambda recipe: happens(written, "marking the first") if recipe.seed == 8 else None
    with watched_by(Watcher()):
        assert [report.done for report in run(job, 12)] == [12]


def test_the_next_shard_is_drawn_while_the_last_one_is_finished(job: Job, tamer: Tamer) -> None:
    begun = threading.Event()
    tamer.drawing = lambda recipe: begun.set() if recipe.seed == 6 else None
    tamer.scoring = lambda batch: None if begun.is_set() else happens(begun, "drawing the next shard")
    reports = run(job, 6)
    table = pd.read_parquet(job.out / "catalog").sort_values("plan_index")
    assert [report.done for report in reports] == [6, 6]
    assert table["seed"].tolist() == list(range(12))


def test_without_looking_ahead_a_shard_begins_when_the_last_is_published(job: Job, tamer: Tamer) -> None:
    published: list[int] = []
    tamer.drawing = lambda recipe: published.append(len(list((job.out / "catalog").glob("lined-*.parquet"))))
    counter = Counter(12)
    shards = cut_shards(pending(job.matrix, np.zeros(0, np.uint64)), 4, sweep="lined")
    for _ in overlapped(shards, lambda shard, drawn: run_shard(shard, job, counter, drawn), ahead=False):
        pass
    assert published == [0] * 4 + [1] * 4 + [2] * 4


def test_no_more_images_wait_than_the_line_holds(
    job: Job, tamer: Tamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PIPELINE_IMAGES", 3)
    counter = Counter(12)
    waiting: list[int] = []
    # the one that is being drawn is not in the pipeline yet
    tamer.drawing = lambda recipe: waiting.append(len(tamer.drawn) - counter.tally.done)
    run(job, 12, counter)
    assert max(waiting) <= 3 + 1


def test_the_line_holds_fewer_large_images() -> None:
    def shard(side: int) -> Shard:
        sweep = make_sweep({**PLAIN, "settings": {"size": f"{side}x{side}"}})
        recipe = next(iter(open_matrix(sweep)))
        return Shard("a", 0, (recipe,), "k")

    assert pipeline.capacity(shard(64)) == pipeline.PIPELINE_IMAGES
    assert pipeline.capacity(shard(1024)) * 1024 * 1024 * 3 <= pipeline.PIPELINE_BYTES
    assert pipeline.capacity(shard(16384)) == 2


def test_rows_lie_in_the_order_of_the_recipes(job: Job) -> None:
    run(job, 12)
    (part,) = (job.out / "catalog").glob("lined-*.parquet")
    assert pd.read_parquet(part)["plan_index"].tolist() == list(range(12))


def test_a_scorer_that_fails_leaves_its_images_flagged(job: Job, tamer: Tamer) -> None:
    def fail(batch: Batch) -> None:
        raise RuntimeError("in a bad mood")

    tamer.scoring = fail
    run(job, 12)
    table = pd.read_parquet(job.out / "catalog")
    assert set(table["status"]) == {"flagged"}
    assert table["reason"].str.contains("scoring: .*bad mood").all()
    assert all((job.out / file).is_file() for file in table["file"])


def test_a_backend_that_breaks_ends_the_run_and_publishes_nothing(job: Job, tamer: Tamer) -> None:
    def fail(recipe: Recipe) -> None:
        if recipe.seed == 7:
            raise DrawingError("the device is gone")

    tamer.drawing = fail
    before = threading.active_count()
    with pytest.raises(DrawingError, match="device is gone"):
        run(job, 4)
    # the shard before it was whole, and is published
    assert pd.read_parquet(job.out / "catalog")["seed"].tolist() == [0, 1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("score", "shard"))]
    assert threading.active_count() <= before + pipeline.FINISHERS


def test_an_encoder_that_is_not_there_ends_the_run(tmp_path: Path) -> None:
    job = make_job(tmp_path, SWEEP.replace("{scorers: [tamed]}", "{scorers: [tamed], encoder: local-dir:no}"))
    with pytest.raises(NonesuchError, match="no"):
        run(job, 12)
    assert not list((job.out / "catalog").glob("lined-*.parquet"))


def test_a_folder_that_can_not_be_written_ends_the_run_soon(
    job: Job, tamer: Tamer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "PIPELINE_IMAGES", 2)
    (job.out / "images").write_text("in the way")
    with pytest.raises(StorageError, match="images"):
        run(job, 12)
    assert len(tamer.drawn) < 12


def test_an_interrupted_caller_leaves_no_thread_that_writes(job: Job, tamer: Tamer) -> None:
    begun = threading.Event()
    tamer.drawing = lambda recipe: begun.set()
    counter = Counter(12)
    shards = cut_shards(pending(job.matrix, np.zeros(0, np.uint64)), 3, sweep="lined")
    reports = overlapped(shards, lambda shard, drawn: run_shard(shard, job, counter, drawn))
    next(reports)
    reports.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("score", "shard"))]
    table = pd.read_parquet(job.out / "catalog")
    assert len(table) in (3, 6)  # whole shards only
