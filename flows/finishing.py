"""Finishing one image: watermark, XMP, encoding, credential, files and hashes, from the array in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from catalogs.hashes import perceptual_hashes
from catalogs.thumbnails import write_thumbnail
from flows import figures, resident
from flows.job import Job
from flows.marking import signer_choice
from flows.output import SCRATCH, image_path
from flows.rows import broken_parent, catalog_row, mark_request
from flows.scored import Scored
from flows.unsafe import dealt_with
from foundation.errors import CertificateTimeError, StorageError
from foundation.files import atomic_write
from generators.shards import Shard
from provenance.marking import mark_image
from provenance.stamping import timestamp_state


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
        request = mark_request(recipe, job, resident.watermark_key_for(job), drawing.original)
        marked = mark_image(drawing.image, request, resident.signer_for(job))
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
        figures.worked("mark", seconds)
    except (StorageError, CertificateTimeError):
        raise
    except Exception as error:  # whatever one picture does to an encoder belongs to its row
        return Finished(catalog_row(*shared, None, {"reason": f"marking: {error}"}), None)
    problem = done or scored.problem or broken_parent(marked.parents)
    if problem is not None:
        facts |= {"status": "flagged", "reason": problem}
    return Finished(catalog_row(*shared, marked, facts), marked.manifest)
