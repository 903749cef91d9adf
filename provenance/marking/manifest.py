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

from nonesuch.provenance import vocabulary
from nonesuch.provenance.request import FurtherStep, MarkRequest, TrainingUse

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
    """The definition of a drawn image's manifest, as c2pa.Builder takes it.

    `soft_binding` is the watermark's algorithm id, None for an image without one; `parents` is the number
    of ingredients, labelled by `ingredient_definition`.
    Raises InputError for a source type that IPTC doesn't have.
    """
    actions = _edit_actions(request, parents) if parents else [_created(request)]
    if request.inputs:
        drawing = actions[-1]
        guides = [input_label(index) for index in range(len(request.inputs))]
        drawing["parameters"] = {"ingredientIds": guides}
    actions += [_further(step, request) for step in request.further]
    recipe = {"label": RECIPE_LABEL, "data": recipe_assertion(request)}
    binding = None if soft_binding is None else (soft_binding, request.watermark_payload)
    return assemble(request.title, actions, [recipe], binding=binding, training_use=request.training_use)


def assemble(
    title: str,
    actions: list[dict[str, Any]],
    assertions: list[dict[str, Any]],
    *,
    binding: tuple[str, int] | None,
    training_use: TrainingUse,
) -> dict[str, Any]:
    """A manifest with the actions and assertions given, the watermark's and the training-mining one.

    `binding` is the watermark's algorithm id and payload. The manifest's id is its `label`, a fresh urn:c2pa:….
    """
    entries = {name: {"use": training_use} for name in _TRAINING_ENTRIES}
    training = {"label": "cawg.training-mining", "data": {"entries": entries}}
    soft: list[dict[str, Any]] = []
    if binding is not None:
        actions = [*actions, {"action": "c2pa.watermarked.bound", "softwareAgent": own_agent()}]
        from nonesuch.provenance.watermark.chosen import binding_value

        blocks = [{"scope": {}, "value": binding_value(*binding)}]
        soft = [{"label": "c2pa.soft-binding", "data": {"alg": binding[0], "blocks": blocks}}]
    actions_data = {"actions": actions, "allActionsIncluded": True}
    return {
        "label": f"urn:c2pa:{uuid.uuid4()}",
        "claim_version": 2,
        "title": title,
        "claim_generator_info": [{**own_agent(), "specVersion": SPEC_VERSION}],
        "assertions": [{"label": "c2pa.actions.v2", "data": actions_data}, *soft, training, *assertions],
    }


def ingredient_definition(index: int, title: str) -> dict[str, Any]:
    """The definition of the parent at `index`: the first is the parent, the others are components."""
    relationship = "parentOf" if index == 0 else "componentOf"
    return {"title": title, "relationship": relationship, "label": ingredient_label(index)}


def input_definition(index: int) -> dict[str, Any]:
    """The definition of a file that guided the drawing without entering it."""
    return {"title": f"guide {index + 1}", "relationship": "inputTo", "label": input_label(index)}


def input_label(index: int) -> str:
    """The label by which actions name the guide at `index`."""
    return f"guide-{index + 1}"


def ingredient_label(index: int) -> str:
    """The label by which actions name the parent at `index`."""
    return PARENT_LABEL if index == 0 else f"component-{index}"


def recipe_assertion(request: MarkRequest) -> dict[str, Any]:
    """What an image's recipe assertion holds; without prompts and facets when they shall stay out."""
    recipe = without_paths(request.recipe)
    if not request.include_prompt:
        recipe = without_prompts(recipe)
    return {
        "version": 1,
        "image_id": f"{request.watermark_payload:016x}",
        "generator": {"name": file_name(request.generator), "version": request.generator_version},
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


def without_paths(recipe: Any, key: str = "") -> Any:
    """A copy of a recipe in which absolute paths are cut to their last part: folders name their owner."""
    if isinstance(recipe, dict):
        return {k: without_paths(v, str(k)) for k, v in recipe.items()}
    if isinstance(recipe, list | tuple):
        return [without_paths(value, key) for value in recipe]
    return file_name(recipe) if isinstance(recipe, str) and not _holds_prompt(key) else recipe


def file_name(text: str) -> str:
    """The last part of an absolute path; any other text as it is."""
    if text.startswith(("/", "~/", "\\\\")) or text[1:3] in (":\\", ":/"):
        return text.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return text


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


def _further(step: FurtherStep, request: MarkRequest) -> dict[str, Any]:
    action: dict[str, Any] = {
        "action": step.action,
        "when": _when(request),
        "softwareAgent": {"name": file_name(step.agent)}
        | ({"version": step.version} if step.version else {}),
        "description": step.description,
    }
    if step.generated:
        action["digitalSourceType"] = vocabulary.source_type_uri(request.source_type)
    return action


def _agent(request: MarkRequest) -> dict[str, str]:
    agent = {"name": file_name(request.generator)}
    if request.generator_version:
        agent["version"] = request.generator_version
    return agent


def own_agent() -> dict[str, str]:
    """nonesuch as the software agent of an action."""
    return {"name": "nonesuch", "version": own_version()}


def _when(request: MarkRequest) -> str:
    return request.created.strftime("%Y-%m-%dT%H:%M:%SZ")


def _holds_prompt(key: str) -> bool:
    lowered = key.lower()
    return "prompt" in lowered or lowered in ("negative", "facets", "facet_texts", "caption", "title")
