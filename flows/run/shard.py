"""One shard: draw it, let the pipeline score, mark and write, and publish its rows in one step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from nonesuch.flows.reporting import metrics
from nonesuch.flows.reporting.progress import Counting
from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.publishing import publish
from nonesuch.flows.run.steps.pipeline import Pipeline
from nonesuch.foundation.files import flush_files
from nonesuch.generators.backends import BackendStopped, Spooling
from nonesuch.generators.matrix.plan import record_speed
from nonesuch.generators.matrix.shards import Shard


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of a shard."""

    name: str  # of its part in the catalog
    done: int  # rows with an image
    failed: int  # rows without one
    seconds: float  # from the first draw to the published part
    cost: float = 0.0  # US dollars that its images cost


def run_shard(
    shard: Shard, job: Job, counter: Counting, drawn: Callable[[], None] = lambda: None
) -> ShardReport:
    """Draw and publish one shard. `drawn` is called when its last image is drawn: the device is free then.

    One recipe's failure becomes a status and a reason in its row. Raises StorageError when the
    output can't be written, DrawingError or DependencyError when a model can't be loaded, and BackendStopped
    when nothing more can be drawn, after what was drawn until then is published.
    """
    begun = perf_counter()
    backend = loaded_models.backend_for(shard.recipes[0], job)
    if shard.index == 0:
        backend.check(shard.recipes[0])  # what no recipe of the sweep can draw ends it here
    stopped: BackendStopped | None = None
    pipeline = None
    try:
        pipeline = Pipeline(shard, job, counter)
        try:
            for drawing in backend.draw(shard.recipes):
                metrics.worked("fetch" if drawing.origin.drawn is False else "draw", drawing.seconds)
                pipeline.put(drawing)
        except BackendStopped as error:
            stopped = error
        seconds = perf_counter() - begun
        if stopped is None:
            drawn()
        finished = pipeline.end()
    except BaseException:
        if pipeline is not None:
            pipeline.abandon()
        raise
    if stopped is not None and not finished:
        raise stopped
    rows = [one.row for one in finished]
    manifests = [one.manifest for one in finished if one.manifest is not None]
    flush_files(job.out, [job.out / row["file"] for row in rows if row.get("file")])
    publish(job, shard.name, rows, manifests, job.schema(embedding_dim(rows)), again=shard.again)
    if isinstance(backend, Spooling):
        kept = {row["recipe_id"] for row in rows if row.get("file")}
        backend.published([recipe for recipe in shard.recipes if recipe.id in kept])
    if stopped is not None:
        raise stopped
    failed = sum(row["status"] == "failed" for row in rows)
    if not failed and not any(row.get("fetched") for row in rows):
        record_speed(shard.recipes, seconds)
    cost = sum(row.get("cost") or 0.0 for row in rows)
    return ShardReport(shard.key, len(rows) - failed, failed, perf_counter() - begun, cost)


def embedding_dim(rows: Sequence[dict[str, Any]]) -> int | None:
    """The length of the rows' embeddings, None when none has one."""
    return next((len(row["embedding"]) for row in rows if "embedding" in row), None)
