"""From an image back to a sweep: its own recipe again, or the picked ones at a higher quality."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonesuch.foundation.errors import InputError
from nonesuch.generators.resweep import Resweep, again, refined
from nonesuch.generators.sweepfile.sweep import load_connections
from nonesuch.redrawing.inputs import input_files

if TYPE_CHECKING:
    from nonesuch.catalogs.search.expressions import Where
    from nonesuch.provenance.verifying.verdict import Verdict

_COLUMNS = (
    "recipe_id", "model", "model_revision", "model_digest", "backend", "prompt", "negative_prompt", "seed",
    "width", "height", "steps", "guidance_scale", "scheduler", "dtype", "loras", "options", "init_digest",
    "file", "sha256", "sweep",
)  # fmt: skip


def refine_catalog(
    root: Path,
    *,
    where: Where = None,
    ids: Sequence[str] = (),
    picks: bool = False,
    order: str | None = None,
    top: int | None = None,
    name: str | None = None,
    **better: Any,
) -> Resweep:
    """The sweep that redraws chosen images of a catalog larger or with more steps; see nonesuch.generators.resweep.refined for `better`.

    Chosen are the picked ones (`picks`), those of recipe ids or their first digits (`ids`), or those that
    meet `where`. Raises InputError when nothing is chosen, or a file is gone.
    """
    from nonesuch.catalogs.image_files import image_file
    from nonesuch.catalogs.query import Catalog
    from nonesuch.catalogs.search.expressions import each_condition
    from nonesuch.catalogs.search.lookup import by_recipe

    catalog = Catalog(root)
    conditions = [*each_condition(where, "file IS NOT NULL")]
    if picks:
        conditions.append("pick = 'picked'")
    if ids:
        found = [row["recipe_id"] for prefix in ids for row in _one(by_recipe(catalog, prefix), prefix)]
        conditions.append("recipe_id IN (" + ", ".join(f"'{one}'" for one in found) + ")")
    if len(conditions) == 1 and top is None:
        raise InputError("no images are given", hint="Use --picks, --where or --top, or give recipe ids.")
    table = catalog.query(conditions, order=order, top=top, columns=list(_COLUMNS), as_arrow=True)
    rows = [_recipe(row) for row in table.to_pylist()]
    if not rows:
        raise InputError(
            "no image is chosen" + (" (nothing is picked yet?)" if picks else ""),
            hint="Pick some with `nonesuch pick` or in the gallery." if picks else "Loosen --where.",
        )
    images = []
    for row in rows:
        path = image_file(catalog.folder, row)
        if not path.is_file():
            raise InputError(
                "is in the catalog, but not on disk",
                where=str(path),
                hint=f"Put the file back, or leave it out: --where \"recipe_id <> '{row['recipe_id']}'\".",
            )
        images.append((row, path))
    return refined(images, name=name or f"{rows[0]['sweep']}-refined", **better)


def sweep_of_image(
    path: Path,
    *,
    catalog: Path | None = None,
    model: str | None = None,
    inputs: Sequence[Path] = (),
    watermark_key: bytes | None = None,
    sweep: Path | None = None,
) -> Resweep:
    """The sweep that draws an image again, from its credential, a catalog (by watermark or fingerprint), or
    the metadata of another program. Raises InputError when its recipe is not found.

    `inputs` are folders with the images and weights that it may have been made from, found by their digests;
    `watermark_key`, a secret one, is looked for besides the public key. `sweep` is the sweep file whose `connections` reach its
    engine or service.
    """
    from nonesuch.provenance.verifying.verify import verify_file

    lookup = None
    if catalog is not None:
        from nonesuch.marking.recovering import CatalogFolder

        lookup = CatalogFolder(catalog)
    verdict = verify_file(path, catalog_lookup=lookup, watermark_key=watermark_key)
    return resweep_verdict(verdict, path, catalog=catalog, model=model, inputs=inputs, sweep=sweep)[1]


def resweep_verdict(
    verdict: Verdict,
    path: Path,
    *,
    catalog: Path | None,
    model: str | None,
    inputs: Sequence[Path] = (),
    sweep: Path | None = None,
) -> tuple[dict[str, Any], Resweep]:
    """The recipe that a verdict found, and the sweep built from it. Raises InputError when it found none."""
    recipe = verdict.recipe
    if recipe is None and verdict.error:
        raise InputError(verdict.error, where=str(path))
    if recipe is None:
        raise InputError(
            "neither this file nor a catalog says how it was made",
            where=str(path),
            hint="Give the catalog that it may be from with --catalog." if catalog is None else None,
        )
    if recipe.get("source") == "comfyui":
        recipe = {**recipe, "graph": comfyui_graph(path)}
    made = again(
        recipe,
        name=path.stem,
        model=model,
        find=input_files(inputs, catalog, beside=None if sweep is None else sweep.parent),
        connections={} if sweep is None else load_connections(sweep),
    )
    source = recipe.get("source", "")
    told = {"credential": "its credential", "catalog": "the catalog"}.get(source, f"{source} metadata")
    return recipe, Resweep(made.data, (f"The recipe of {path.name}, from {told}.", *made.left_out))


def comfyui_graph(path: Path) -> Any:
    """The graph that ComfyUI wrote into a picture, in API format as JSON; None when there is none."""
    from nonesuch.formats.carriers import read_records
    from nonesuch.formats.raw_fields import read_source
    from nonesuch.foundation.images import read_limited
    from nonesuch.provenance.credentials.reading import sniff_mime
    from nonesuch.provenance.pixels import Pixels

    data = read_limited(path)
    source = read_source(data, sniff_mime(data) or "", Pixels(data, str(path)).rgba)
    return next((one.graph for one in read_records(source) if one.graph is not None), None)


def _recipe(row: Mapping[str, Any]) -> dict[str, Any]:
    parsed = {name: json.loads(row[name] or empty) for name, empty in (("loras", "[]"), ("options", "{}"))}
    return {**row, **parsed}


def _one(rows: list[dict[str, Any]], prefix: str) -> list[dict[str, Any]]:
    if len(rows) != 1:
        raise InputError(
            f"{len(rows) or 'no'} images have a recipe id that starts with {prefix!r}",
            hint="Give more digits.",
        )
    return rows
