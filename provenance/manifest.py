"""The C2PA manifest of a drawn image, as specification 2.4 wants it.

Created (or opened and edited, when it has parents), then watermarked.bound with its soft binding; what may be
trained on it (CAWG 1.1, training and data mining); the recipe as the project's own assertion, whose JSON
Schema is provenance/schemas/recipe-assertion.schema.json.
"""

from __future__ import annotations

import uuid
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from provenance import vocabulary
from provenance.request import MarkRequest

RECIPE_LABEL = "org.nonesuch.recipe"
SPEC_VERSION = "2.4"
PARENT_LABEL = "parent"

_TRAINING_ENTRIES = (
    "cawg.ai_generative_training",
    "cawg.ai_training",
    "cawg.ai_inference",
    "cawg.data_mining",
)


def build_manifest(request: MarkRequest, *, soft_binding: str | None, parents: int) -> dict[str, Any]:
    """The definition that c2pa.Builder takes. The manifest's id is its `label`, a fresh urn:c2pa:….

    `soft_binding` is the watermark's algorithm id, None for an image without one; `parents` is the number
    of ingredients, labelled by `ingredient_definition`.
    Raises InputError for a source type that IPTC doesn't have.
    """
    actions = _edit_actions(request, parents) if parents else [_created(request)]
    assertions: list[dict[str, Any]] = []
    if soft_binding is not None:
        actions.append({"action": "c2pa.watermarked.bound", "softwareAgent": _own_agent()})
        value = f"{request.watermark_payload:016x}"
        binding = {"alg": soft_binding, "blocks": [{"scope": {}, "value": value}]}
        assertions.append({"label": "c2pa.soft-binding", "data": binding})
    entries = {name: {"use": request.training_use} for name in _TRAINING_ENTRIES}
    assertions += [
        {"label": "cawg.training-mining", "data": {"entries": entries}},
        {"label": RECIPE_LABEL, "data": recipe_assertion(request)},
    ]
    actions_data = {"actions": actions, "allActionsIncluded": True}
    return {
        "label": f"urn:c2pa:{uuid.uuid4()}",
        "claim_version": 2,
        "title": request.title,
        "claim_generator_info": [{"name": "nonesuch", "version": own_version(), "specVersion": SPEC_VERSION}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions_data}, *assertions],
    }


def ingredient_definition(index: int, title: str) -> dict[str, Any]:
    """The definition of the parent at `index`: the first is the parent, the others are components."""
    relationship = "parentOf" if index == 0 else "componentOf"
    return {"title": title, "relationship": relationship, "label": ingredient_label(index)}


def ingredient_label(index: int) -> str:
    """The label by which actions name the parent at `index`."""
    return PARENT_LABEL if index == 0 else f"component-{index}"


def recipe_assertion(request: MarkRequest) -> dict[str, Any]:
    """What an image's recipe assertion holds; without prompts and facets when they shall stay out."""
    recipe = request.recipe if request.include_prompt else without_prompts(request.recipe)
    return {
        "version": 1,
        "image_id": f"{request.watermark_payload:016x}",
        "generator": {"name": request.generator, "version": request.generator_version},
        "prompt_included": request.include_prompt,
        "recipe": recipe,
    }


def without_prompts(recipe: Any) -> Any:
    """A copy of a recipe without any key that holds prompt text, at any depth."""
    if isinstance(recipe, dict):
        return {k: without_prompts(v) for k, v in recipe.items() if not _holds_prompt(str(k))}
    if isinstance(recipe, list | tuple):
        return [without_prompts(value) for value in recipe]
    return recipe


@cache
def own_version() -> str:
    """The installed version of nonesuch."""
    try:
        return version("nonesuch")
    except PackageNotFoundError:
        return "0+unknown"


def _created(request: MarkRequest) -> dict[str, Any]:
    return {
        "action": "c2pa.created",
        "when": _when(request),
        "digitalSourceType": vocabulary.source_type_uri(request.source_type),
        "softwareAgent": _agent(request),
    }


def _edit_actions(request: MarkRequest, parents: int) -> list[dict[str, Any]]:
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [ingredient_label(0)]}}
    placed = [
        {"action": "c2pa.placed", "parameters": {"ingredientIds": [ingredient_label(index)]}}
        for index in range(1, parents)
    ]
    edited = {
        "action": "c2pa.edited",
        "when": _when(request),
        "digitalSourceType": vocabulary.source_type_uri(request.source_type),
        "softwareAgent": _agent(request),
    }
    return [opened, *placed, edited]


def _agent(request: MarkRequest) -> dict[str, str]:
    agent = {"name": request.generator}
    if request.generator_version:
        agent["version"] = request.generator_version
    return agent


def _own_agent() -> dict[str, str]:
    return {"name": "nonesuch", "version": own_version()}


def _when(request: MarkRequest) -> str:
    return request.created.strftime("%Y-%m-%dT%H:%M:%SZ")


def _holds_prompt(key: str) -> bool:
    lowered = key.lower()
    return "prompt" in lowered or lowered in ("negative", "facets", "facet_texts", "caption", "title")
