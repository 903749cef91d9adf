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
from flows import resident
from flows.job import Job
from flows.output import SCRATCH, image_path
from flows.progress import Counter
from flows.rows import catalog_row
from foundation.errors import NonesuchError, StorageError
from foundation.files import atomic_write
from generators.backends import Drawing
from generators.shards import Shard
from provenance.marking import MarkedFile, MarkRequest, mark_image
from scoring.scores import Caption, Scores, score_images

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


def run_shard(shard: Shard, job: Job, counter: Counter) -> ShardReport:
    """Draw and publish one shard.

    One recipe's failure becomes a status and a reason in its row. Raises StorageError when the
    output can't be written, DrawingError when the model can't be loaded.
    """
    begun = perf_counter()
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(MARKING_THREADS, thread_name_prefix="mark") as pool:
        waiting: list[Future[dict[str, Any]]] = []
        for drawings in _batches(_draw(shard, job)):
            scored = _score(drawings, job)
            while waiting:
                rows.append(_collect(waiting.pop(0), counter))
            waiting = [pool.submit(_finish, drawing, scores, shard, job) for drawing, scores in scored]
        rows.extend(_collect(future, counter) for future in waiting)
    order = {recipe.id: place for place, recipe in enumerate(shard.recipes)}
    rows.sort(key=lambda row: order[row["recipe_id"]])
    publish_shard(job.out, shard.name, rows, job.schema(_embedding_dim(rows)))
    failed = sum(row["status"] == "failed" for row in rows)
    return ShardReport(shard.key, len(rows) - failed, failed, perf_counter() - begun)


def _draw(shard: Shard, job: Job) -> Iterator[Drawing]:
    backend = resident.backend_for(shard.recipes[0], job)
    if shard.index == 0:
        backend.check(shard.recipes[0])  # what no recipe of the sweep can draw ends it here
    return backend.draw(shard.recipes)


def _batches(drawings: Iterator[Drawing]) -> Iterator[list[Drawing]]:
    """The drawings in batches that double from FIRST_BATCH to SCORE_BATCH."""
    size = FIRST_BATCH
    while batch := list(islice(drawings, size)):
        yield batch
        size = min(2 * size, SCORE_BATCH)


def _score(drawings: Sequence[Drawing], job: Job) -> list[tuple[Drawing, dict[str, Any]]]:
    """Each drawing with its row's score columns; drawings without an image have none."""
    drawn = [drawing for drawing in drawings if drawing.image is not None] if job.scorers else []
    by_id: dict[str, dict[str, Any]] = {}
    if drawn:
        begun = perf_counter()
        encoder, scorers = resident.scoring_for(job)
        captions = [Caption(d.recipe.prompt, dict(d.recipe.facets)) for d in drawn]
        images = [d.image for d in drawn if d.image is not None]
        scores: Scores = score_images(images, captions, encoder, scorers)
        seconds = (perf_counter() - begun) / len(drawn)
        for place, drawing in enumerate(drawn):
            by_id[drawing.recipe.id] = {
                **{name: _scalar(values[place]) for name, values in scores.columns.items()},
                "encoder": " ".join(
                    scores.facts[f"encoder{part}"] for part in ("", "_tag", "_preprocessing")
                ),
                "score_facts": json.dumps(scores.facts),
                "embedding": scores.embeddings[place].astype(np.float16),
                "score_seconds": seconds,
            }
    return [(drawing, by_id.get(drawing.recipe.id, {})) for drawing in drawings]


def _finish(drawing: Drawing, scores: dict[str, Any], shard: Shard, job: Job) -> dict[str, Any]:
    """Mark and write one image; the row that says so."""
    facets = job.facet_values(drawing.recipe)
    revision = job.facts(drawing.recipe).revision
    if drawing.image is None:
        return catalog_row(drawing, shard, revision, facets, scores, None, {})
    recipe = drawing.recipe
    marking, image_format = job.sweep.marking, job.sweep.format
    try:
        begun = perf_counter()
        marked: MarkedFile = mark_image(
            drawing.image,
            MarkRequest(
                watermark_payload=recipe.watermark_id,
                recipe=json.loads(recipe.to_json()),
                title=f"{recipe.id}.{image_format.type}",
                generator=recipe.model,
                generator_version=recipe.model_digest,
                format=image_format.type,
                quality=image_format.quality,
                strength=marking.strength,
                watermark=marking.watermark,
                credentials=marking.credentials,
                include_prompt=marking.include_prompt,
            ),
            resident.signer_for(job),
        )
        path = image_path(job.sweep.name, recipe.id, marked.suffix)
        atomic_write(job.out / path, marked.data, scratch=job.out / SCRATCH)
        facts = {
            **perceptual_hashes(drawing.image),
            "file": path,
            "drawn_at": datetime.now(UTC),
            "mark_seconds": perf_counter() - begun,
        }
    except StorageError:
        raise
    except NonesuchError as error:
        return catalog_row(
            drawing, shard, revision, facets, scores, None, {"reason": f"marking: {error.message}"}
        )
    return catalog_row(drawing, shard, revision, facets, scores, marked, facts)


def _collect(future: Future[dict[str, Any]], counter: Counter) -> dict[str, Any]:
    row = future.result()
    counter.count(row["status"])
    return row


def _embedding_dim(rows: Sequence[dict[str, Any]]) -> int | None:
    return next((len(row["embedding"]) for row in rows if "embedding" in row), None)


def _scalar(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
