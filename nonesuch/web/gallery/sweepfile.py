"""A sweep file that draws exactly one image of the catalog again.

The row's recipe is rebuilt; when its id equals the row's own, the file is known to be exact.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nonesuch.flows.catalog_folder import start_of_row
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.generators.resweep import Resweep, again
from nonesuch.generators.ways.recipe_extras import PARTS, part_from

_DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class SweepCopy:
    """The text of a sweep file for one image."""

    text: str
    exact: bool  # whether it draws a recipe with the image's own id


def sweep_file(row: Mapping[str, Any], start: Path | None = None) -> SweepCopy:
    """The sweep file of one catalog row; `start` is the file of the image that it was drawn from."""
    recipe = _recipe(row)
    known = {**row, **start_of_row(row), "loras": loras_of(row), "options": options_of(row)}

    def find(digest: str, name: str) -> str | None:
        return str(start) if start is not None and digest == recipe.init_image_digest else None

    # The catalog has the dtype that was used; the recipe may have left the choice to the device.
    made = again({**known, "dtype": recipe.dtype}, name=f"again-{row['recipe_id'][:12]}", find=find)
    settings = made.data.setdefault("settings", {})
    if recipe.dtype == "auto":
        settings["dtype"] = "auto"
    left_out = list(made.left_out)
    if row.get("format") and row["format"] != "png":
        made.data["format"] = {"type": "jpeg" if row["format"] == "jpg" else row["format"]}
    exact = _has_id(recipe, row["recipe_id"]) and not left_out
    head = f"Draws image {row['recipe_id'][:16]} again" + ("." if exact else ", as far as that is known.")
    return SweepCopy(Resweep(made.data, (head, *left_out)).text(), exact)


def loras_of(row: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Path, digest and weight of each LoRA; none when another program wrote something else."""
    found = _json(row["loras"])
    try:
        return [(str(path), str(digest), float(weight)) for path, digest, weight in found or ()]
    except (TypeError, ValueError):
        return []


def options_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The further options of a recipe: plain values; other programs' values are ignored."""
    found = _json(row["options"])
    kept = found.items() if isinstance(found, dict) else ()
    return {name: value for name, value in kept if isinstance(value, str | int | float)}


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _recipe(row: Mapping[str, Any]) -> Recipe:
    """The recipe of a row, with the dtype that makes its id the row's own if there is one."""
    options = options_of(row)
    fit, syntax = options.pop("fit", None), options.pop("prompt_syntax", None)
    asked = {**row, **start_of_row(row)}  # the row's own size is the file's
    for name in ("width", "height"):
        options.pop(name, None)
    recipe = Recipe(
        backend=row["backend"] or "",
        model=row["model"] or "",
        model_digest=row["model_digest"] or "",
        prompt=row["prompt"] or "",
        negative_prompt=row["negative_prompt"] or "",
        seed=row["seed"] or 0,
        width=asked["width"] or 0,
        height=asked["height"] or 0,
        steps=row["steps"] or 0,
        guidance_scale=float(row["guidance_scale"] or 0),
        scheduler=row["scheduler"] or "default",
        dtype=row["dtype"] if row["dtype"] in _DTYPES else "auto",
        loras=tuple(Lora(*lora) for lora in loras_of(row)),
        options=tuple(sorted(options.items())),
        init_image_digest=row.get("init_digest"),
        strength=row.get("strength"),
        fit=fit,
        mask_digest=row.get("mask_digest"),
        parent=row.get("parent"),
        prompt_syntax=syntax,
        **_ways(row),
    )
    same = (dataclasses.replace(recipe, dtype=dtype) for dtype in (recipe.dtype, *_DTYPES))
    return next((one for one in same if _has_id(one, row["recipe_id"])), recipe)


def _ways(row: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a recipe beyond one drawing; none when the catalog's JSON does not describe them."""
    found = _json(row.get("ways"))
    try:
        return {name: part_from(name, part) for name, part in dict(found or {}).items() if name in PARTS}
    except (TypeError, ValueError, KeyError):
        return {}


def _has_id(recipe: Recipe, recipe_id: str) -> bool:
    try:
        return recipe.id == recipe_id
    except ValueError:  # not a number, from another program
        return False
