"""One image's data as the next room takes it: the marks it asks for, its catalog row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nonesuch.flows.run.job import Job
from nonesuch.foundation.canonical import canonical_json
from nonesuch.foundation.naming import without_paths
from nonesuch.generators.backends import Drawing
from nonesuch.generators.loras import lora_facts
from nonesuch.generators.matrix.shards import Shard
from nonesuch.generators.recipe import Lora, Recipe
from nonesuch.generators.ways.recipe_extras import Upscaler
from nonesuch.provenance.credentials.reading import check_parent, sniff_mime
from nonesuch.provenance.marking.drawn_image import MarkedFile, MarkRequest, ParentCheck
from nonesuch.provenance.request import FurtherStep

_PROMPTS = ("prompt", "negative_prompt")
_VERSIONED = ("nonesuch", "torch", "diffusers", "transformers", "open_clip_torch", "c2pa-python", "imagehash")


def mark_request(
    recipe: Recipe, job: Job, watermark_key: bytes | None = None, original: bytes | None = None
) -> MarkRequest:
    """The mark of a recipe's image. Folders of this machine stay out of it: files are named, not located.

    `original` is the file that a service returned: with its own credential it becomes the parent.
    """
    marking, image_format = job.sweep.marking, job.sweep.format
    told = json.loads(recipe.to_json())
    told = {name: value if name in _PROMPTS else without_paths(value) for name, value in told.items()}
    told["loras"] = [_told_lora(lora) for lora in recipe.loras]
    for name in ("init_image", "mask"):
        told.pop(name)  # its digest stays; a file's name may name a person
    told |= recipe.ways(paths=False)
    if job.policies:
        told["policies"] = list(job.policies)
    if job.facts(recipe).folder is not None:
        told["model"] = Path(recipe.model).name
    return MarkRequest(
        watermark_payload=recipe.watermark_id,
        recipe=told,
        title=f"{recipe.id[:16]}.{image_format.type}",
        generator=told["model"],
        generator_version=recipe.model_digest,
        format=image_format.type,
        quality=image_format.quality,
        strength=marking.strength,
        watermark=marking.watermark_name,
        watermark_key=watermark_key,
        credentials=marking.credentials,
        include_prompt=marking.include_prompt,
        source_type="trainedAlgorithmicMedia"
        if recipe.init_image is None
        else "compositeWithTrainedAlgorithmicMedia",
        # without a credential there is nowhere to name a parent
        parents=_parents(recipe, original) if marking.credentials else (),
        inputs=_guides(recipe) if marking.credentials else (),
        further=further_steps(recipe, told["model"]),
    )


def further_steps(recipe: Recipe, model: str) -> tuple[FurtherStep, ...]:
    """What was done after the first drawing, in order: refined, enlarged and drawn again, enlarged.

    `model` names the recipe's own model as the credential does.
    """
    steps: list[FurtherStep] = []
    if recipe.refiner is not None:
        share = round(100 * (1 - recipe.refiner.at))
        steps.append(
            FurtherStep(
                "c2pa.edited",
                recipe.refiner.model,
                recipe.refiner.digest,
                f"the last {share} % of the steps",
                True,
            )
        )
    if recipe.hires is not None:
        steps += [
            _resized(recipe.hires.upscaler, (recipe.hires.width, recipe.hires.height), recipe.chain_size),
            FurtherStep(
                "c2pa.edited", model, recipe.model_digest,
                f"drawn again from itself at strength {recipe.hires.strength:g}", True,
            ),
        ]  # fmt: skip
    if recipe.upscale is not None:
        before = (recipe.upscale.width, recipe.upscale.height)
        steps.append(_resized(recipe.upscale.upscaler, before, (recipe.width, recipe.height)))
    return tuple(steps)


def _resized(upscaler: Upscaler, before: tuple[int, int], after: tuple[int, int]) -> FurtherStep:
    agent = upscaler.model or upscaler.kind
    words = f"from {before[0]}x{before[1]} to {after[0]}x{after[1]} px"
    return FurtherStep("c2pa.resized", agent, upscaler.digest or "", words, upscaler.kind == "pipeline")


def _guides(recipe: Recipe) -> tuple[Path, ...]:
    """The images that guided a drawing, each once."""
    images = [one.image for one in recipe.controls or ()]
    images += [recipe.image_prompt.image] if recipe.image_prompt is not None else []
    return tuple(Path(image) for image in dict.fromkeys(images))


def _parents(recipe: Recipe, original: bytes | None) -> tuple[Path | bytes, ...]:
    """What an image was made from: the service's file if it has a credential, then the image that it started from."""
    start = (Path(recipe.init_image),) if recipe.init_image else ()
    if original is None or check_parent(original, sniff_mime(original), "original").integrity == "unsigned":
        return start  # a file that says nothing of itself adds nothing to what the recipe says
    return (original, *start)


def broken_parent(parents: Sequence[ParentCheck]) -> str | None:
    """The remark on an image whose parent's credential is broken; None when all are sound or have none."""
    for check in parents:
        if check.integrity in ("altered", "unreadable"):
            return f"the credential of the {check.title} is broken: {check.detail or check.integrity}"
    return None


def catalog_row(
    drawing: Drawing,
    shard: Shard,
    revision: str | None,
    facets: Mapping[str, Any],
    scores: Mapping[str, Any],
    marked: MarkedFile | None,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The row of one recipe.

    `revision`: of the model, where it has one; `facets`: the facet columns; `scores`: score columns of an image that was drawn; `marked`: the finished file; `facts`: further
    columns, which override the others (a reason for a failure after drawing, hashes, path).
    A recipe without a finished file is `failed`, whatever came before.
    """
    recipe = drawing.recipe
    width, height = _size(drawing)
    fetched = drawing.image is not None and drawing.origin.drawn is False
    row: dict[str, Any] = {
        "recipe_id": recipe.id,
        "sweep": shard.sweep,
        "shard": shard.index,
        "plan_index": recipe.plan_index,
        "backend": recipe.backend,
        "model": recipe.model,
        "model_revision": revision,
        "model_digest": recipe.model_digest,
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt,
        "seed": recipe.seed,
        "width": width,
        "height": height,
        "steps": recipe.steps,
        "guidance_scale": recipe.guidance_scale,
        "scheduler": recipe.scheduler,
        "dtype": drawing.dtype,
        "loras": json.dumps([[lora.path, lora.digest, lora.weight] for lora in recipe.loras]),
        "options": json.dumps(dict(recipe.options) | _beside(drawing)),
        "init_digest": recipe.init_image_digest,
        "strength": recipe.strength,
        "mask_digest": recipe.mask_digest,
        "parent": recipe.parent,
        "ways": canonical_json(recipe.ways(paths=True)).decode() if recipe.ways(paths=True) else None,
        **facets,
        **scores,
        **_outcome(drawing, scores, marked),
        "draw_seconds": None if fetched else drawing.seconds,
        "device": drawing.device,
        "batch_size": drawing.batch_size,
        "fetched": fetched or None,
        "versions": library_versions(),
        **drawing.facts,
    }
    if marked is not None:
        row |= {
            "watermark_id": recipe.watermark_id if marked.watermark_payload is not None else 0,
            "watermark_psnr": _finite(marked.watermark_psnr),
            "manifest_id": marked.manifest_id,
            "credential_digest": marked.manifest_digest,
            "format": marked.suffix.lstrip("."),
            "bytes": len(marked.data),
            "sha256": marked.sha256,
        }
    return row | dict(facts)


def _outcome(drawing: Drawing, scores: Mapping[str, Any], marked: MarkedFile | None) -> dict[str, Any]:
    """Status and reason: a failure before the file was finished, what the backend or the safety score flags."""
    if marked is None:
        # A backend flags an image that is not finite: there is nothing to show, but it was drawn.
        return {
            "status": "flagged" if drawing.image is None and drawing.status == "flagged" else "failed",
            "reason": drawing.reason or None,
        }
    if drawing.status == "ok" and scores.get("safety_flag"):
        return {"status": "flagged", "reason": "its safety score is below the sweep's threshold"}
    return {"status": drawing.status, "reason": drawing.reason or None}


def _told_lora(lora: Lora) -> dict[str, Any]:
    """A LoRA by its file's name, and the digest over the images it was trained on where it says so."""
    told: dict[str, Any] = {"path": Path(lora.path).name, "digest": lora.digest, "weight": lora.weight}
    images = lora_facts(Path(lora.path), lora.digest, where=lora.path).training_images
    return told if images is None else {**told, "training_images": images}


def _size(drawing: Drawing) -> tuple[int, int]:
    """Width and height of the image, px; a service may draw another size than it was asked for."""
    if drawing.image is None:
        return drawing.recipe.width, drawing.recipe.height
    height, width = drawing.image.shape[:2]
    return width, height


def _beside(drawing: Drawing) -> dict[str, str | int]:
    """Settings without a column of their own, stored among the options; the size that was asked for, where the
    columns hold another."""
    recipe = drawing.recipe
    named: dict[str, str | int | None] = {"fit": recipe.fit, "prompt_syntax": recipe.prompt_syntax}
    if _size(drawing) != (recipe.width, recipe.height):
        named |= {"width": recipe.width, "height": recipe.height}
    return {name: value for name, value in named.items() if value is not None}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


@cache
def library_versions() -> str:
    """JSON object of the versions of the libraries that shape an image, its scores and its marks."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return json.dumps(found)
