"""Finishing one image: watermark, XMP, encoding, credential, files and hashes, from the array in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.catalogs.thumbnails import write_thumbnail
from nonesuch.flows.reporting import metrics
from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.output_folder import SCRATCH, image_path
from nonesuch.flows.run.signer_choice import signer_choice
from nonesuch.flows.run.steps.catalog_rows import broken_parent, catalog_row, mark_request
from nonesuch.flows.run.steps.scoring_step import Scored
from nonesuch.flows.run.steps.unsafe_images import dealt_with
from nonesuch.foundation.errors import CertificateTimeError, StorageError
from nonesuch.foundation.files import atomic_write
from nonesuch.generators.matrix.shards import Shard
from nonesuch.provenance.marking.drawn_image import mark_image
from nonesuch.provenance.signing.stamping import timestamp_state


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of one recipe."""

    row: dict[str, Any]  # of the catalog
    manifest: bytes | None  # its manifest store, for the sidecar


def finish(scored: Scored, shard: Shard, job: Job) -> Finished:
    """Mark and write one image; the row that says so. Safe to call from many threads. Its file is not flushed yet.

    Raises StorageError when the output can't be written and CertificateTimeError when nothing can be signed any more;
    whatever else goes wrong is said in the row.
    """
    drawing, done = dealt_with(scored.drawing, scored.scores, job)
    recipe = drawing.recipe
    shared = (drawing, shard, job.facts(recipe).revision, job.facet_values(recipe), scored.scores)
    policy = {"policy": " ".join(job.policies) or None}
    if drawing.image is None:
        outcome = policy if done is None else {**policy, "status": "flagged", "reason": done}
        return Finished(catalog_row(*shared, None, outcome), None)
    try:
        begun = perf_counter()
        request = mark_request(recipe, job, loaded_models.watermark_key_for(job), drawing.original)
        marked = mark_image(drawing.image, request, loaded_models.signer_for(job))
        path = image_path(job.sweep.name, recipe.id, marked.suffix)
        atomic_write(job.out / path, marked.data, scratch=job.out / SCRATCH, flush=False)
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
            "mark_seconds": (seconds := perf_counter() - begun),
        }
        metrics.worked("mark", seconds)
    except (StorageError, CertificateTimeError):
        raise
    except Exception as error:  # whatever one image does to an encoder belongs to its row
        return Finished(catalog_row(*shared, None, {"reason": f"marking: {error}"}), None)
    problem = done or scored.problem or broken_parent(marked.parents)
    if problem is not None:
        facts |= {"status": "flagged", "reason": problem}
    return Finished(catalog_row(*shared, marked, facts), marked.manifest)
