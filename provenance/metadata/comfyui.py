"""ComfyUI's graph: PNG text `prompt` (what ran, API format) and `workflow` (the editor's drawing of it).

In WebP the EXIF tags 0x0110 and 0x010F hold `prompt:{…}` and `workflow:{…}`; animated PNG has private `comf`
chunks.
"""

from __future__ import annotations

import json
from typing import Any

from nonesuch.provenance.metadata.finding import Finding, excerpt, recipe
from nonesuch.provenance.metadata.raw_fields import Source

_CARRIERS = (0x0110, 0x010F, 0x010E)  # Model, Make and ImageDescription, which ComfyUI puts to its own use
_TEXTS = ("string", "prompt", "value", "t5xxl", "clip_l", "clip_g")  # inputs that hold texts, besides `text…`
_MAX_NODES = 10_000
_MAX_WITHIN = 4  # concatenations within one another that are put together
_MAX_STEPS = 64  # links followed from a sampler to its text
_GENERATES = ("sampler", "textencode", "checkpointloader", "unetloader", "diffusionmodel")
# nodes that have a service draw
_SERVICES = (
    "openaigptimage", "openaidalle", "fluxpro", "fluxkontext", "ideogram", "geminiimage", "stabilitystableimage",
    "lumaimage", "recraft", "seedream", "bytedanceimage", "janusimage", "klingimage", "runwaytexttoimage", "imagegeneration",
    "texttoimage",
)  # fmt: skip


class ComfyUI:
    """Reads the graph, and follows it from the sampler to the texts."""

    def read(self, source: Source) -> Finding | None:
        fields = _fields(source)
        graph, workflow = fields.get("prompt"), fields.get("workflow")
        if not _is_graph(graph) and not _is_workflow(workflow):
            return None
        kinds = _kinds(graph, workflow)
        if not any(part in kind for kind in kinds for part in (*_GENERATES, *_SERVICES)):
            return Finding(
                "comfyui", "nothing", "none", "a ComfyUI graph in which no generative model runs", "ComfyUI"
            )
        found = _recipe(graph) if isinstance(graph, dict) and _is_graph(graph) else None
        detail = f"ComfyUI graph: “{excerpt(found.get('prompt'))}”" if found else "ComfyUI workflow"
        return Finding("comfyui", "ai-generated", "claimed", detail, "ComfyUI", found)


def _fields(source: Source) -> dict[str, Any]:
    """`prompt` and `workflow` from whatever carries them; what is no JSON hides nothing."""
    found: dict[str, Any] = {}

    def offer(key: str, value: Any) -> None:
        parsed = _json(value) if isinstance(value, str) else value
        if key in ("prompt", "workflow") and parsed is not None:
            found.setdefault(key, parsed)

    for key, text in source.texts.items():
        offer(key, text)
    carried = [source.exif[tag] for tag in _CARRIERS if tag in source.exif]
    if "comf" in source.chunks:
        carried.append(source.chunks["comf"].decode("utf-8", "replace").replace("\0", ":", 1))
    for text in carried:
        key, _, value = text.partition(":")
        offer(key.lower(), value)
    # other nodes that save write both, or the bare graph, as one text
    for comment in (source.user_comment, source.texts.get("comment")):
        whole = _json(comment) if comment and comment.lstrip().startswith("{") else None
        if _is_graph(whole):
            offer("prompt", whole)
        elif isinstance(whole, dict):
            for key, value in whole.items():
                offer(key, value)
    return found


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
    if not (isinstance(value, dict) and isinstance(value.get("nodes"), list) and "links" in value):
        return False
    nodes = [node for node in value["nodes"][:_MAX_NODES] if isinstance(node, dict)]
    # other programs draw workflows too; ComfyUI's editor numbers its nodes and keeps what their widgets show
    return "last_node_id" in value or any("widgets_values" in node or "pos" in node for node in nodes)


def _kinds(graph: Any, workflow: Any) -> list[str]:
    nodes = list(graph.values()) if _is_graph(graph) else []
    if _is_workflow(workflow):
        nodes += workflow["nodes"][:_MAX_NODES]
        definitions, extra = workflow.get("definitions"), workflow.get("extra")
        inner = definitions.get("subgraphs") if isinstance(definitions, dict) else None
        inner = list(inner) if isinstance(inner, list) else []
        groups = extra.get("groupNodes") if isinstance(extra, dict) else None
        inner += list(groups.values()) if isinstance(groups, dict) else []
        for part in inner:
            held = part.get("nodes") if isinstance(part, dict) else None
            nodes += held[:_MAX_NODES] if isinstance(held, list) else []
    found = [node.get("class_type") or node.get("type") for node in nodes if isinstance(node, dict)]
    return [str(kind).lower().replace("_", "").replace(" ", "") for kind in found]


def _recipe(graph: dict[str, Any]) -> dict[str, Any]:
    sampler = next((n for n in graph.values() if _is_sampler(n)), None)
    inputs = _sampling(graph, _inputs(sampler))
    size = next((_inputs(n) for n in graph.values() if "latent" in _kind(n) and "width" in _inputs(n)), {})
    loader = next(
        (_inputs(n) for n in graph.values() if "loader" in _kind(n) and _model_name(_inputs(n))), {}
    )
    positive = inputs.get("positive")
    return recipe(
        prompt=_any_text(graph) if positive is None else _text_at(graph, positive),
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


def _sampling(graph: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """The sampler's inputs; of one in parts, those of its guider, noise, sampler and sigmas too."""
    found = dict(inputs)
    for part in ("guider", "noise", "sampler", "sigmas"):
        link = inputs.get(part)
        if isinstance(link, list) and len(link) == 2:
            for key, value in _inputs(graph.get(str(link[0]))).items():
                found.setdefault("positive" if key == "conditioning" else key, value)
    return found


def _is_sampler(node: Any) -> bool:
    inputs = _inputs(node)
    return "sampler" in _kind(node) and bool({"positive", "seed", "noise_seed", "guider"} & inputs.keys())


def _text_at(graph: dict[str, Any], link: Any, within: int = 0) -> str | None:
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
        if {"string_a", "string_b"} <= inputs.keys() and within < _MAX_WITHIN:  # a concatenation
            halves = [_text_at(graph, inputs[key], within + 1) for key in ("string_a", "string_b")]
            return str(inputs.get("delimiter", "")).join(half for half in halves if half) or None
        texts = (
            [value for key, value in inputs.items() if "text" in key or key in _TEXTS]
            if "populated_text" not in inputs
            else [inputs["populated_text"]]
        )
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
