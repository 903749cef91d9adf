"""ComfyUI's graph: PNG text `prompt` (what ran, API format) and `workflow` (the editor's drawing of it).

In WebP the EXIF tags 0x0110 and 0x010F hold `prompt:{…}` and `workflow:{…}`; animated PNG has private `comf`
chunks.
"""

from __future__ import annotations

import json
from typing import Any

from provenance.metadata.finding import Finding, excerpt, recipe
from provenance.metadata.source import Source

_CARRIERS = (0x0110, 0x010F, 0x010E)  # Model, Make and ImageDescription, which ComfyUI puts to its own use
_MAX_NODES = 10_000
_MAX_STEPS = 64  # links followed from a sampler to its text
_GENERATES = ("sampler", "textencode", "checkpointloader", "unetloader", "diffusionmodel")


class ComfyUI:
    """Reads the graph, and follows it from the sampler to the texts."""

    def read(self, source: Source) -> Finding | None:
        fields = _fields(source)
        graph, workflow = _json(fields.get("prompt")), _json(fields.get("workflow"))
        if not _is_graph(graph) and not _is_workflow(workflow):
            return None
        kinds = _kinds(graph, workflow)
        if not any(part in kind for kind in kinds for part in _GENERATES):
            return Finding(
                "comfyui", "nothing", "none", "a ComfyUI graph in which no generative model runs", "ComfyUI"
            )
        found = _recipe(graph) if _is_graph(graph) else None
        detail = f"ComfyUI graph: “{excerpt(found.get('prompt'))}”" if found else "ComfyUI workflow"
        return Finding("comfyui", "ai-generated", "claimed", detail, "ComfyUI", found)


def _fields(source: Source) -> dict[str, str]:
    fields: dict[str, str] = {key: source.texts[key] for key in ("prompt", "workflow") if key in source.texts}
    carried = [source.exif[tag] for tag in _CARRIERS if tag in source.exif]
    if "comf" in source.chunks:
        carried.append(source.chunks["comf"].decode("utf-8", "replace").replace("\0", ":", 1))
    for text in carried:
        key, _, value = text.partition(":")
        if key.lower() in ("prompt", "workflow"):
            fields.setdefault(key.lower(), value)
    return fields


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None


def _is_graph(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and 0 < len(value) <= _MAX_NODES
        and any(isinstance(node, dict) and "class_type" in node for node in value.values())
    )


def _is_workflow(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("nodes"), list) and "links" in value


def _kinds(graph: Any, workflow: Any) -> list[str]:
    nodes = list(graph.values()) if _is_graph(graph) else []
    nodes += workflow["nodes"][:_MAX_NODES] if _is_workflow(workflow) else []
    found = [node.get("class_type") or node.get("type") for node in nodes if isinstance(node, dict)]
    return [str(kind).lower().replace("_", "").replace(" ", "") for kind in found]


def _recipe(graph: dict[str, Any]) -> dict[str, Any]:
    sampler = next((n for n in graph.values() if _is_sampler(n)), None)
    inputs = _inputs(sampler)
    size = next((_inputs(n) for n in graph.values() if "latent" in _kind(n) and "width" in _inputs(n)), {})
    loader = next(
        (_inputs(n) for n in graph.values() if "loader" in _kind(n) and _model_name(_inputs(n))), {}
    )
    return recipe(
        prompt=_text_at(graph, inputs.get("positive")) or _any_text(graph),
        negative_prompt=_text_at(graph, inputs.get("negative")),
        seed=_scalar(graph, inputs.get("seed", inputs.get("noise_seed"))),
        steps=_scalar(graph, inputs.get("steps")),
        guidance_scale=_scalar(graph, inputs.get("cfg")),
        scheduler=inputs.get("sampler_name"),
        width=_scalar(graph, size.get("width")),
        height=_scalar(graph, size.get("height")),
        model=_model_name(loader),
        other={"denoise": inputs["denoise"]} if isinstance(inputs.get("denoise"), int | float) else None,
    )


def _is_sampler(node: Any) -> bool:
    inputs = _inputs(node)
    return "sampler" in _kind(node) and ("positive" in inputs or "seed" in inputs or "noise_seed" in inputs)


def _text_at(graph: dict[str, Any], link: Any) -> str | None:
    """The text that a link leads to, through whatever conditioning nodes lie between."""
    queue, seen = [link], set()
    for _ in range(_MAX_STEPS):
        if not queue:
            return None
        current = queue.pop(0)
        if isinstance(current, str) and current.strip():
            return current
        if not (isinstance(current, list) and len(current) == 2) or str(current[0]) in seen:
            continue
        seen.add(str(current[0]))
        inputs = _inputs(graph.get(str(current[0])))
        texts = [
            value for key, value in inputs.items() if "text" in key or key in ("string", "prompt", "value")
        ]
        queue += texts + [value for value in inputs.values() if isinstance(value, list)]
    return None


def _any_text(graph: dict[str, Any]) -> str | None:
    found = (_inputs(node).get("text") for node in graph.values() if "textencode" in _kind(node))
    return next((text for text in found if isinstance(text, str)), None)


def _scalar(graph: dict[str, Any], value: Any) -> Any:
    for _ in range(_MAX_STEPS):
        if not (isinstance(value, list) and len(value) == 2):
            return value
        inputs = _inputs(graph.get(str(value[0])))
        value = next(
            (inputs[k] for k in ("value", "seed", "noise_seed", "int", "float") if k in inputs), None
        )
    return None


def _model_name(inputs: dict[str, Any]) -> str | None:
    found = (inputs.get(key) for key in ("ckpt_name", "unet_name", "model_name"))
    return next((name for name in found if isinstance(name, str)), None)


def _kind(node: Any) -> str:
    return str(node.get("class_type", "")).lower().replace("_", "") if isinstance(node, dict) else ""


def _inputs(node: Any) -> dict[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}
