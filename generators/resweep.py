"""Sweep files written from recipes: one that draws an image again, and one that redraws your picks larger.

A recipe here is plain data under this project's names, as credentials, catalog rows and the readers of foreign
metadata (nonesuch.formats) give it; what it names in foreign words (a sampler of AUTOMATIC1111) is translated where
that is known. `other` holds AUTOMATIC1111's further parameters, `graph` the nodes of ComfyUI.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nonesuch.generators.foreign import a1111, comfyui
from nonesuch.generators.foreign.vocabulary_map import Taken, known_scheduler, only_named
from nonesuch.generators.sweepfile.connections import Connection, connections_for
from nonesuch.generators.ways.again import FindFile, nothing_found, start_and_ways

MAX_STEPS: Final = 150  # a refined image takes no more
STEPS_FACTOR: Final = 2.0
REFINE_STRENGTH: Final = 0.4


@dataclass(frozen=True, slots=True)
class Resweep:
    """A sweep's content, and what of the recipe it could not take over."""

    data: dict[str, Any]  # keys of the sweep file
    left_out: tuple[str, ...]  # sentences for a person

    def text(self) -> str:
        """The sweep file; what was left out stands in comments at its head."""
        return "".join(f"# {_one_line(line)}\n" for line in self.left_out) + sweep_text(self.data)


def again(
    recipe: Mapping[str, Any],
    *,
    name: str,
    model: str | None = None,
    find: FindFile = nothing_found,
    connections: Mapping[str, Connection] | None = None,
) -> Resweep:
    """The sweep that draws one image again; `model` overrides the recipe's, which may name a file elsewhere.

    `find` looks for the images and weights that the recipe knows by their digests, and for a workflow by its
    name; `connections` say how the sweep that drew it reached its engine.
    """
    foreign = _foreign(recipe, model, find)
    recipe = {**recipe, **foreign.recipe}
    settings, left_out = _settings(recipe)
    more, missing = start_and_ways(recipe, find)
    settings |= {**more, **foreign.settings}
    left_out += [*missing, *foreign.left_out]
    data: dict[str, Any] = {"name": slug(name), "model": model or recipe.get("model") or "embedded"}
    if model is None and not recipe.get("model"):
        left_out.append("The model is not known; the embedded one stands in its place.")
    elif model is None and recipe.get("model_hash"):
        left_out.append(
            f"The model {recipe['model']!r} had the hash {recipe['model_hash']}; name its folder or hub id."
        )
    if revision := recipe.get("model_revision"):
        data["revision"] = revision
    data["prompt"] = _literal(recipe.get("prompt") or " ")
    if recipe.get("negative_prompt"):
        data["negative"] = _literal(recipe["negative_prompt"])
    seed = recipe.get("seed")
    if seed is None or seed < 0:
        left_out.append("The seed is not known.")
    data["seeds"] = [seed if seed is not None and seed >= 0 else 0]
    if settings:
        data["settings"] = settings
    if reached := connections_for(data["model"], connections or {}):
        data["connections"] = reached
    if model is None and (workflow := _workflow(recipe, find)) is not None:
        data["model"] = workflow
    return Resweep(data, tuple(_one_line(line) for line in left_out))


def refined(
    images: Iterable[tuple[Mapping[str, Any], Path]],
    *,
    name: str,
    scale: float = 1.0,
    steps: int | None = None,
    strength: float = REFINE_STRENGTH,
    model: str | None = None,
    seeds: int = 1,
    multiple: int = 8,
) -> Resweep:
    """The sweep that starts from each image and draws it larger and with more steps.

    `images` are (recipe, its file), each recipe with its `recipe_id`; `scale` is of the side, rounded to
    `multiple` px; `steps` is twice the image's when left out; `model` overrides the images' own.
    """
    values, left_out = [], []
    models = set()
    for recipe, path in images:
        settings, missing = _settings(recipe)
        left_out += [f"{recipe['recipe_id'][:12]}: {line}" for line in missing]
        settings |= {
            "steps": steps or min(MAX_STEPS, round(STEPS_FACTOR * recipe.get("steps", 20))),
            "width": _scaled(recipe["width"], scale, multiple),
            "height": _scaled(recipe["height"], scale, multiple),
            "strength": strength,
            "init_image": str(path.resolve()),
            "parent": recipe["recipe_id"],
        }
        if model is None and recipe.get("model"):
            settings["model"] = recipe["model"]
            if recipe.get("model_revision"):
                settings["revision"] = recipe["model_revision"]
        models.add(settings.get("model"))
        value = {"name": recipe["recipe_id"][:12], "text": recipe.get("prompt") or " ", "settings": settings}
        if recipe.get("negative_prompt"):
            value["negative"] = recipe["negative_prompt"]
        values.append(value)
    data: dict[str, Any] = {"name": slug(name)}
    if model is not None:
        data["model"] = model
    data |= {"prompt": "{image}", "facets": {"image": values}, "seeds": {"count": seeds}}
    return Resweep(data, tuple(left_out))


def sweep_text(data: Mapping[str, Any]) -> str:
    """YAML of a sweep file's content, keys in their order."""
    from ruamel.yaml import YAML

    writer = YAML()
    writer.default_flow_style = False
    writer.width = 110
    stream = io.StringIO()
    writer.dump(dict(data), stream)
    return stream.getvalue()


def slug(name: str) -> str:
    """A name that a sweep may have: letters, digits, dots, dashes and underscores, at most 64."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")
    return kept[:64] or "sweep"


def _settings(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The settings that a recipe stands for, and what it says that no setting takes."""
    settings: dict[str, Any] = {}
    left_out: list[str] = []
    options = dict(recipe.get("options") or {})
    for name in ("width", "height", "steps"):
        value = recipe.get(name)
        if name != "steps" and type(options.get(name)) is int:
            value = options.pop(name)  # as it was asked for; a row's own width and height are the file's
        if value:
            settings[name] = int(value)
    if recipe.get("guidance_scale") is not None:
        settings["guidance"] = float(recipe["guidance_scale"])
    scheduler = recipe.get("scheduler")
    if scheduler:
        known, lost = known_scheduler(str(scheduler))
        if known is not None:
            settings["scheduler"] = known
        left_out += [lost] if lost else []
    if recipe.get("dtype") in ("float32", "bfloat16", "float16"):
        settings["dtype"] = recipe["dtype"]
    # what another program only names is its taker's
    loras = [_lora(entry) for entry in recipe.get("loras") or () if not only_named(entry)]
    if loras:
        settings["loras"] = loras
    options.pop("fit", None)
    syntax = options.pop("prompt_syntax", recipe.get("prompt_syntax"))
    if syntax:
        settings["prompt_syntax"] = str(syntax)
    if options:
        settings["options"] = options
    return settings, left_out


def _foreign(recipe: Mapping[str, Any], model: str | None, find: FindFile) -> Taken:
    """What is taken over of another program's own words: a ComfyUI graph, or AUTOMATIC1111's parameters."""
    if (graph := recipe.get("graph")) is not None and (found := comfyui.taken(graph, find)) is not None:
        return found
    source = recipe.get("source")
    if source in ("credential", "catalog"):
        return Taken({}, {}, ())
    reads_itself = str(model).startswith("a1111:")  # a server reads LoRAs and weights in the prompt
    whole = source == "automatic1111" and not reads_itself
    return a1111.taken(recipe, find, whole=whole, loras=not reads_itself)


def _workflow(recipe: Mapping[str, Any], find: FindFile) -> str | None:
    """The model `comfyui:PATH` of a workflow that a recipe names without its folder; None where it is not found."""
    kind, _, name = str(recipe.get("model") or "").partition(":")
    if kind != "comfyui":
        return None
    path = find(str(recipe.get("model_digest") or "0" * 64), name)
    return None if path is None else f"{kind}:{path}"


def _lora(entry: Any) -> dict[str, Any]:
    """A LoRA as a catalog row ([path, digest, weight]) or a credential ({path, weight}) tells it."""
    if isinstance(entry, Mapping):
        return {"path": str(entry["path"]), "weight": float(entry["weight"])}
    return {"path": str(entry[0]), "weight": float(entry[2])}


def _one_line(text: str) -> str:
    """Untrusted text without line ends and control characters, which a file or a terminal would take for commands."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _scaled(side: int, scale: float, multiple: int) -> int:
    return max(multiple, round(side * scale / multiple) * multiple)


def _literal(text: str) -> str:
    """Text that a template fills in as it is."""
    return text.replace("{", "{{").replace("}", "}}")
