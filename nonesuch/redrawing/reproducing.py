"""Drawing an image again from its recipe, and measuring how close the new drawing is.

The recipe comes from the file's credential, or from a catalog through watermark or fingerprint when the file was
stripped. A new drawing is marked like the first, so that equal drawings have equal pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nonesuch.catalogs.search.hashes import perceptual_hashes
from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.foundation.images import RGB, decode_rgb, read_limited

if TYPE_CHECKING:
    from nonesuch.generators.backends import Drawing
    from nonesuch.generators.recipe import Recipe
    from nonesuch.provenance.verifying.verdict import Verdict

CLOSE_BITS = 6  # of the 64 of a perceptual hash: a re-encoded image differs by at most this many
CLOSE_PSNR = 30.0  # dB; below it the difference is visible

Outcome = Literal["bit-identical", "visually identical", "different", "not known to be drawn again"]


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The result of drawing an image again."""

    path: str
    source: str  # where the recipe came from: credential, catalog, or another program's metadata
    outcome: Outcome
    psnr: float | None  # dB between the two images; None when they are equal or differ in size
    hash_distance: int  # bits of 64 between their perceptual hashes
    recipe_id: str  # of the recipe that was drawn
    same_recipe: (
        bool | None
    )  # whether the image was marked with that recipe's id; None when that is not known
    changed: tuple[str, ...]  # what differs in recipe or environment, one sentence each
    drawn: bool | None  # whether the new image was drawn; False: it came from a cache; None: not known
    evidence: str  # how that is known


def reproduce(
    path: Path,
    *,
    catalog: Path | None = None,
    model: str | None = None,
    out: Path | None = None,
    online: bool = False,
    inputs: Sequence[Path] = (),
    watermark_key: bytes | None = None,
    sweep: Path | None = None,
) -> Reproduction:
    """Draw the image at `path` again and compare; `out` saves the new drawing as PNG.

    Caches are bypassed: an image is called identical only when it is known that it was drawn again.

    `model` overrides the recipe's, which may name a folder of another machine; `inputs` are folders with the
    images and weights that it was made from; `watermark_key`, a secret one, is looked for besides the public key;
    `sweep` is the sweep file whose `connections` reach its engine or service (an engine at its default address on this
    machine needs none). Raises InputError when the recipe is not found or needs a file that is not given, and
    DrawingError when it can't be drawn.
    """
    from nonesuch.marking.recovering import CatalogFolder
    from nonesuch.provenance.verifying.verify import verify_file
    from nonesuch.redrawing.refining import resweep_verdict

    lookup = None if catalog is None else CatalogFolder(catalog)
    verdict = verify_file(path, catalog_lookup=lookup, watermark_key=watermark_key)
    recipe, made = resweep_verdict(verdict, path, catalog=catalog, model=model, inputs=inputs, sweep=sweep)
    missing = next((line for line in made.left_out if " is not here: " in line), None)
    if missing is not None:
        raise InputError(
            missing.partition(" Put it at ")[0],
            where=str(path),
            hint="Give its folder with --inputs, or the catalog that drew it with --catalog.",
        )
    with _ways_to_engines_told(str(made.data["model"]), sweep):
        drawn, drawings, takes_seeds = _draw(made.data, catalog, online=online)
    images = [drawing.image for drawing in drawings if drawing.image is not None]
    device = f"{drawings[0].device}, {drawings[0].dtype}"
    origin = drawings[0].origin  # all of one batch have the same
    old = decode_rgb(read_limited(path), where=str(path))
    closest = min(
        (
            candidate
            for image in images
            for candidate in (image, *_marked(image, drawn.watermark_id, verdict, watermark_key))
        ),
        key=lambda one: _error(one, old),
    )
    if out is not None:
        _save(closest, out)
    distance = (perceptual_hashes(closest)["phash"] ^ perceptual_hashes(old)["phash"]).bit_count()
    error = _error(closest, old)
    psnr = None if error == 0 or not np.isfinite(error) else float(10 * np.log10(255**2 / error))
    outcome: Outcome = "different"
    if error == 0:
        outcome = "bit-identical"
    elif distance <= CLOSE_BITS and psnr is not None and psnr >= CLOSE_PSNR:
        outcome = "visually identical"
    if outcome != "different" and origin.drawn is not True:
        outcome = "not known to be drawn again"
    known = verdict.watermark.get("payload") if verdict.watermark else None
    unseeded = [] if takes_seeds else [f"{drawn.model} takes no seed: each drawing is different."]
    changed = [*made.left_out, *unseeded, *_changes(recipe, drawn, device, catalog, identical=error == 0)]
    return Reproduction(
        path=str(path),
        source=str(recipe.get("source", "")),
        outcome=outcome,
        psnr=psnr,
        hash_distance=distance,
        recipe_id=drawn.id,
        same_recipe=None if known is None else str(known) == f"{drawn.watermark_id:016x}",
        changed=tuple(changed),
        drawn=origin.drawn,
        evidence=origin.evidence,
    )


@contextmanager
def _ways_to_engines_told(model: str, sweep: Path | None) -> Iterator[None]:
    """Add to the error of an unreachable engine how to give its address."""
    from nonesuch.generators.backends import REMOTE

    try:
        yield
    except (DrawingError, InputError) as error:
        if sweep is not None or model.split(":", 1)[0] not in REMOTE:
            raise
        advice = (
            "If it has another address or key, give the sweep file whose connections name them: --sweep FILE."
        )
        hint = f"{error.hint} {advice}" if error.hint else advice
        raise type(error)(error.message, where=error.where, hint=hint) from error


def _draw(
    data: Mapping[str, Any], catalog: Path | None, *, online: bool
) -> tuple[Recipe, list[Drawing], bool]:
    """The recipe, its successful drawings, and whether the seed decides them.

    An image's last digits depend on the size of the batch that it was drawn in and, because of how libraries split
    work, on its place there. When the catalog knows the size, the recipe fills such a batch: one image for
    each place.
    """
    from nonesuch.generators.backends import draw_anew, open_backend
    from nonesuch.generators.matrix.plan import open_matrix
    from nonesuch.generators.sweepfile.sweep import make_sweep

    matrix = open_matrix(make_sweep(data, Path.cwd()), network=online)
    recipe = next(iter(matrix))
    facts = next(iter(matrix.facts.values()))
    row = None if catalog is None or facts.remote is not None else _row(catalog, recipe.id)
    size = 1 if row is None else max(1, row["batch_size"] or 1)
    backend = open_backend(facts, batch_size=size, network=online)
    try:
        backend.check(recipe)
        drawings = list(draw_anew(backend, [recipe] * size))
    finally:
        backend.close()
    drawn = [drawing for drawing in drawings if drawing.image is not None]
    if not drawn:
        raise DrawingError(drawings[0].reason, where=recipe.model)
    takes_seeds = facts.remote is None or facts.remote.reproducible
    return recipe, drawn, takes_seeds


def _marked(image: RGB, payload: int, verdict: Verdict, key: bytes | None) -> Iterator[RGB]:
    """The drawing with each watermark that the old one may have."""
    from nonesuch.provenance.watermark.chosen import OWN, put_watermark, registered_name

    name = registered_name((verdict.watermark or {}).get("algorithm", ""))
    if name != OWN:
        yield put_watermark(image, payload, name=name).image
        return
    for secret in dict.fromkeys((key, None)):
        yield put_watermark(image, payload, key=secret).image


def _error(one: RGB, other: RGB) -> float:
    """Mean squared error; infinite for images of different sizes."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.square(one.astype(np.float32) - other).mean())


def _changes(
    recipe: Mapping[str, Any], drawn: Recipe, device: str, catalog: Path | None, *, identical: bool
) -> list[str]:
    """What differs between then and now, as far as recipe and catalog know."""
    changes = []
    before, now = str(recipe.get("model_digest") or ""), drawn.model_digest
    if before and before != now:
        changes.append(f"The model's digest was {before[:24]}, now it is {now[:24]}.")
    row = None if catalog is None else _row(catalog, drawn.id)
    if row is None:
        return changes
    from nonesuch.flows.run.steps.catalog_rows import library_versions

    then, today = json.loads(row["versions"] or "{}"), json.loads(library_versions())
    changes += [
        f"{name} was {then.get(name, 'absent')}, now it is {today.get(name, 'absent')}."
        for name in sorted(then.keys() | today.keys())
        if then.get(name) != today.get(name)
    ]
    drawn_on = f"{row['device']}, {row['dtype']}"
    if not identical and (row["batch_size"] or 1) > 1:
        changes.append(f"It was drawn in a batch of {row['batch_size']} with others: last digits may differ.")
    if drawn_on != device:
        changes.append(f"It was drawn on {drawn_on}, now on {device}.")
    return changes


def _row(catalog: Path, recipe_id: str) -> dict[str, Any] | None:
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.lookup import by_recipe

    rows = by_recipe(Catalog(catalog), recipe_id)
    return rows[0] if rows else None


def _save(image: RGB, out: Path) -> None:
    import io

    from PIL import Image

    from nonesuch.foundation.files import atomic_write

    if out.suffix.lower() != ".png":
        raise InputError(
            "the new drawing is saved as PNG", where=str(out), hint="Name a file that ends in .png."
        )
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    atomic_write(out, stream.getvalue())
