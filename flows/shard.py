"""One shard: draw, score, mark, write, and publish its rows in one step.

Marking and writing run in threads (the encoders, the signer and the disk release the interpreter
lock) while the backend draws on; what waits between them is bounded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np

from catalogs.hashes import perceptual_hashes
from catalogs.parts import publish_shard
from catalogs.thumbnails import write_thumbnail
from flows import resident
from flows.job import Job
from flows.marking import signer_choice
from flows.output import SCRATCH, image_path
from flows.progress import Counting
from flows.rows import broken_parent, catalog_row, mark_request
from flows.unsafe import dealt_with
from foundation.errors import StorageError
from foundation.files import atomic_write
from generators.backends import BackendStopped, Drawing, Spooling
from generators.plan import record_speed
from generators.shards import Shard
from provenance.marking import mark_image
from provenance.sidecar import write_pack
from provenance.stamping import timestamp_state
from scoring.scores import Caption, score_images

FIRST_BATCH = 4  # images of a shard that are scored first, so that a person soon sees some
SCORE_BATCH = 32  # images that are scored together later, and the most that wait to be marked
MARKING_THREADS = max(1, min(8, (os.cpu_count() or 2) - 1))


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of a shard."""

    name: str  # of its part in the catalog
    done: int  # rows with an image
    failed: int  # rows without one
    seconds: float  # from the first draw to the published part
    cost: float = 0.0  # US dollars that its images cost


@dataclass(frozen=True, slots=True)
class _Scored:
    drawing: Drawing
    scores: dict[str, Any]  # score columns of its row
    problem: str | None  # why it could not be scored


@dataclass(frozen=True, slots=True)
class _Finished:
    row: dict[str, Any]
    manifest: bytes | None  # its manifest store, for the sidecar


def run_shard(shard: Shard, job: Job, counter: Counting) -> ShardReport:
    """Draw and publish one shard.

    One recipe's failure becomes a status and a reason in its row. Raises StorageError when the
    output can't be written, DrawingError or DependencyError when a model can't be loaded, and BackendStopped
    when nothing more can be drawn, after what was drawn until then is published.
    """
    begun = perf_counter()
    finished: list[_Finished] = []
    stops: list[BackendStopped] = []
    with ThreadPoolExecutor(MARKING_THREADS, thread_name_prefix="mark") as pool:
        waiting: list[Future[_Finished]] = []
        for drawings in _batches(_until_stopped(_draw(shard, job), stops)):
            scored = _score(drawings, job)
            while waiting:
                finished.append(_collect(waiting.pop(0), counter))
            waiting = [pool.submit(_finish, one, shard, job) for one in scored]
        finished.extend(_collect(future, counter) for future in waiting)
    if stops and not finished:
        raise stops[0]
    order = {recipe.id: place for place, recipe in enumerate(shard.recipes)}
    rows = sorted((one.row for one in finished), key=lambda row: order[row["recipe_id"]])
    manifests = [one.manifest for one in finished if one.manifest is not None]
    if manifests:
        write_pack(job.out, shard.name, manifests)
    publish_shard(job.out, shard.name, rows, job.schema(_embedding_dim(rows)))
    _let_go(shard, job, rows)
    if stops:
        raise stops[0]
    failed = sum(row["status"] == "failed" for row in rows)
    seconds = perf_counter() - begun
    if not failed:
        record_speed(shard.recipes, seconds)
    cost = sum(row.get("cost") or 0.0 for row in rows)
    return ShardReport(shard.key, len(rows) - failed, failed, seconds, cost)


def _draw(shard: Shard, job: Job) -> Iterator[Drawing]:
    backend = resident.backend_for(shard.recipes[0], job)
    if shard.index == 0:
        backend.check(shard.recipes[0])  # what no recipe of the sweep can draw ends it here
    return backend.draw(shard.recipes)


def _until_stopped(drawings: Iterator[Drawing], stops: list[BackendStopped]) -> Iterator[Drawing]:
    """The drawings until the backend can't go on; why it can't is put into `stops`."""
    try:
        yield from drawings
    except BackendStopped as error:
        stops.append(error)


def _let_go(shard: Shard, job: Job, rows: Sequence[dict[str, Any]]) -> None:
    """Tell a backend that keeps what was paid for which images the catalog has."""
    backend = resident.backend_for(shard.recipes[0], job)
    if isinstance(backend, Spooling):
        kept = {row["recipe_id"] for row in rows if row.get("file")}
        backend.published([recipe for recipe in shard.recipes if recipe.id in kept])


def _batches(drawings: Iterator[Drawing]) -> Iterator[list[Drawing]]:
    """The drawings in batches that double from FIRST_BATCH to SCORE_BATCH."""
    size = FIRST_BATCH
    while batch := list(islice(drawings, size)):
        yield batch
        size = min(2 * size, SCORE_BATCH)


def _score(drawings: Sequence[Drawing], job: Job) -> list[_Scored]:
    """Each drawing with its row's score columns; drawings without an image have none.

    A scorer that fails leaves its batch unscored and says so; the images are kept.
    """
    drawn = [drawing for drawing in drawings if drawing.image is not None] if job.scorers else []
    if not drawn:
        return [_Scored(drawing, {}, None) for drawing in drawings]
    begun = perf_counter()
    encoder, scorers = resident.scoring_for(job)
    captions = [Caption(d.recipe.prompt, dict(d.recipe.facets)) for d in drawn]
    try:
        scores = score_images([d.image for d in drawn if d.image is not None], captions, encoder, scorers)
    except Exception as error:  # a user's own scorer may raise anything
        return [_Scored(drawing, {}, f"scoring: {error}") for drawing in drawings]
    seconds = (perf_counter() - begun) / len(drawn)
    by_id = {
        drawing.recipe.id: {
            **{name: values[place].item() for name, values in scores.columns.items()},
            "encoder": " ".join(scores.facts[f"encoder{part}"] for part in ("", "_tag", "_preprocessing")),
            "score_facts": json.dumps(scores.facts),
            "embedding": scores.embeddings[place].astype(np.float16),
            "score_seconds": seconds,
        }
        for place, drawing in enumerate(drawn)
    }
    return [_Scored(drawing, by_id.get(drawing.recipe.id, {}), None) for drawing in drawings]


def _finish(scored: _Scored, shard: Shard, job: Job) -> _Finished:
    """Mark and write one image; the row that says so."""
    drawing, done = dealt_with(scored.drawing, scored.scores, job)
    recipe = drawing.recipe
    shared = (drawing, shard, job.facts(recipe).revision, job.facet_values(recipe), scored.scores)
    policy = {"policy": " ".join(job.policies) or None}
    if drawing.image is None:
        outcome = policy if done is None else {**policy, "status": "flagged", "reason": done}
        return _Finished(catalog_row(*shared, None, outcome), None)
    try:
        begun = perf_counter()
        request = mark_request(recipe, job, resident.watermark_key_for(job), drawing.original)
        marked = mark_image(drawing.image, request, resident.signer_for(job))
        path = image_path(job.sweep.name, recipe.id, marked.suffix)
        atomic_write(job.out / path, marked.data, scratch=job.out / SCRATCH)
        write_thumbnail(job.out, recipe.id, drawing.image, scratch=job.out / SCRATCH)
        facts = {
            **perceptual_hashes(drawing.image),
            **policy,
            "file": path,
            "source_type": request.source_type,
            "timestamp": timestamp_state(
                marked.manifest is not None, marked.timestamped, signer_choice(job.sweep).timestamp_policy
            ),
            "drawn_at": datetime.now(UTC),
            "mark_seconds": perf_counter() - begun,
        }
    except StorageError:
        raise
    except Exception as error:  # whatever one picture does to an encoder belongs to its row
        return _Finished(catalog_row(*shared, None, {"reason": f"marking: {error}"}), None)
    problem = done or scored.problem or broken_parent(marked.parents)
    if problem is not None:
        facts |= {"status": "flagged", "reason": problem}
    return _Finished(catalog_row(*shared, marked, facts), marked.manifest)


def _collect(future: Future[_Finished], counter: Counting) -> _Finished:
    finished = future.result()
    counter.count(finished.row["status"])
    return finished


def _embedding_dim(rows: Sequence[dict[str, Any]]) -> int | None:
    return next((len(row["embedding"]) for row in rows if "embedding" in row), None)
