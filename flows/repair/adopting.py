"""Rows made from image files: a file whose credential or watermark names its recipe needs no new drawing.

Scores and hashes are computed from the finished image, watermark included, so they may differ in their last digits
from those of the drawing; when and on what it was drawn is no longer known and stays empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.job import Job
from nonesuch.flows.run.signer_choice import signer_choice
from nonesuch.flows.run.steps.catalog_rows import catalog_row, mark_request
from nonesuch.flows.run.steps.scoring_step import score
from nonesuch.foundation.errors import NonesuchError
from nonesuch.foundation.images import RGB, decode_rgb, read_limited
from nonesuch.generators.backends import Drawing
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe
from nonesuch.provenance.credentials.reading import (
    CredentialReport,
    ManifestReport,
    read_credentials,
    sniff_mime,
)
from nonesuch.provenance.credentials.trustlist import load_trust
from nonesuch.provenance.request import MarkedFile, MarkSeconds
from nonesuch.provenance.signing.stamping import timestamp_state
from nonesuch.provenance.watermark.chosen import OWN, open_algorithm

BATCH: Final = 32  # images that are decoded and scored together
_FLAT: Final = (
    16  # levels between darkest and lightest: such an image may have been blank before it was marked
)


@dataclass(frozen=True, slots=True)
class Proven:
    """A file that is the finished image of a recipe."""

    recipe: Recipe
    file: str  # relative to the output folder
    data: bytes
    image: RGB
    report: CredentialReport  # "unsigned" where the watermark alone names the recipe


def prove(recipe: Recipe, file: str, job: Job, *, own: bool = False) -> Proven | None:
    """The file as the recipe's image, None when nothing in it proves that.

    A credential has to be whole and to name the recipe; with `own` it has to be signed by the user's own key too. In a
    sweep without credentials the watermark has to carry the recipe's id.
    """
    try:
        data = read_limited(job.out / file)
        image = decode_rgb(data, where=file)
    except NonesuchError:
        return None
    if int(image.max()) - int(image.min()) < _FLAT:
        return None
    report = read_credentials(data, sniff_mime(data), load_trust())
    proven = Proven(recipe, file, data, image, report)
    if job.sweep.marking.credentials:
        named = _drawn(report)
        told = None if named is None or named.recipe is None else named.recipe.get("image_id")
        whole = report.integrity == "intact" and told == f"{recipe.watermark_id:016x}"
        trusted = not own or (report.active is not None and report.active.trust == "own")
        return proven if whole and trusted else None
    return proven if not own and _watermark(image, job) == recipe.watermark_id else None


def adopted(files: Sequence[Proven], shard: Shard, job: Job) -> list[dict[str, Any]]:
    """A row for each file, scored anew. Raises ScoringError or DependencyError when the encoder can't be loaded."""
    drawings = [Drawing(one.recipe, one.image, "ok", "", 0.0, 1, "", "") for one in files]
    scores = {scored.drawing.recipe.id: scored for scored in score(drawings, job)}
    rows = []
    for one, drawing in zip(files, drawings, strict=True):
        scored = scores[one.recipe.id]
        facts = _facts(one, job)
        if scored.problem or one.report.detail:
            facts |= {"status": "flagged", "reason": scored.problem or one.report.detail}
        shared = (drawing, shard, job.facts(one.recipe).revision, job.facet_values(one.recipe), scored.scores)
        rows.append(catalog_row(*shared, _marked(one), facts))
    return rows


def in_batches(
    recipes: Sequence[tuple[Recipe, str]], job: Job, *, own: bool = False
) -> Iterator[list[Proven]]:
    """Those of the (recipe, file) pairs that are proven, some at a time."""
    for start in range(0, len(recipes), BATCH):
        some = recipes[start : start + BATCH]
        found = [prove(recipe, file, job, own=own) for recipe, file in some]
        yield [one for one in found if one is not None]


def _drawn(report: CredentialReport) -> ManifestReport | None:
    """The manifest of the drawing: the active one, or the one below an update that only brought a timestamp."""
    active = report.active
    if active is None or active.recipe is not None:
        return active
    below = report.manifests[1] if len(report.manifests) > 1 else None
    only_stamped = active.trust == "own" and not active.source_types and not active.soft_bindings
    return below if only_stamped and below is not None and below.relationship == "parentOf" else None


def _watermark(image: RGB, job: Job) -> int | None:
    name = job.sweep.marking.watermark_name
    if name is None:
        return None
    if name == OWN:
        from nonesuch.provenance.watermark import detect

        own = detect(image, key=loaded_models.watermark_key_for(job), search="aligned")
        return None if own is None else own.payload
    found = open_algorithm(name).detect(image)
    return None if found is None else found.payload


def _marked(one: Proven) -> MarkedFile:
    report, named = one.report, _drawn(one.report)
    marked = named is None or bool(named.soft_bindings)  # unsigned: it was proven by its watermark
    path = Path(one.file)
    return MarkedFile(
        data=one.data,
        mime=sniff_mime(one.data),
        suffix=path.suffix,
        sha256=hashlib.sha256(one.data).hexdigest(),
        image=one.image,
        watermark_payload=one.recipe.watermark_id if marked else None,
        watermark_psnr=None,
        manifest=report.store,
        manifest_digest=None if report.store is None else hashlib.sha256(report.store).hexdigest(),
        manifest_id=None if report.active is None else report.active.label,
        timestamped=report.active is not None and report.active.stamped,
        parents=(),
        seconds=MarkSeconds(0.0, 0.0, 0.0),
    )


def _facts(one: Proven, job: Job) -> dict[str, Any]:
    facts = job.facts(one.recipe)
    active = one.report.active
    changed = (job.out / one.file).stat().st_mtime
    return {
        **perceptual_hashes(one.image),
        "file": one.file,
        "source_type": mark_request(one.recipe, job).source_type,
        "timestamp": timestamp_state(
            active is not None,
            active is not None and active.stamped,
            signer_choice(job.sweep).timestamp_policy,
        ),
        "drawn_at": datetime.fromtimestamp(changed, UTC),
        "reproducible": False if facts.remote is not None and not facts.remote.reproducible else None,
        # by list price, so that a budget for the whole sweep still counts what was paid for it
        "cost": price_of(one.recipe, facts) or None,
        **dict.fromkeys(("draw_seconds", "mark_seconds", "device", "batch_size", "dtype", "versions")),
    }
