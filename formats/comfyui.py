"""ComfyUI's graph: PNG text `prompt` (what ran, API format) and `workflow` (the editor's drawing of it).

In WebP the EXIF tags 0x0110 and 0x010F hold `prompt:{…}` and `workflow:{…}`; animated PNG has private `comf`
chunks.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any, Final

from nonesuch.formats.graph import MAX_RECOGNISED, Graph, follow, is_graph
from nonesuch.formats.graph_samplers import Pass, loras_of, number, passes_of
from nonesuch.formats.raw_fields import IMAGE_DESCRIPTION, Source
from nonesuch.formats.record import FurtherPass, Record, record
from nonesuch.formats.scaling import scaling_of

_CARRIERS = (0x0110, 0x010F, IMAGE_DESCRIPTION)  # after Model and Make, which ComfyUI puts to its own use too
MODEL_NAMES: Final = ("ckpt_name", "unet_name", "model_name")
_GENERATES = ("sampler", "textencode", "checkpointloader", "unetloader", "diffusionmodel")
# nodes that have a service draw
_SERVICES = (
    "openaigptimage", "openaidalle", "fluxpro", "fluxkontext", "ideogram", "geminiimage", "stabilitystableimage",
    "lumaimage", "recraft", "seedream", "bytedanceimage", "janusimage", "klingimage", "runwaytexttoimage", "imagegeneration",
    "texttoimage",
)  # fmt: skip


def read(source: Source) -> Record | None:
    """The graph of a file, whatever carries it, and what of it can be told in this project's words."""
    told = _fields(source)
    graph, workflow = told.get("prompt"), told.get("workflow")
    if not is_graph(graph) and not _is_workflow(workflow):
        return None
    kinds = _kinds(graph, workflow)
    if not any(part in kind for kind in kinds for part in (*_GENERATES, *_SERVICES)):
        return Record("comfyui", "ComfyUI", generates=False)
    if graph is None or not is_graph(graph):
        return Record("comfyui", "ComfyUI")
    followed = follow(graph)
    return record("comfyui", "ComfyUI", prompt=_any_text(graph), graph=graph) if followed is None else record_of(
        followed, passes_of(followed), graph
    )  # fmt: skip


def record_of(graph: Graph, passes: list[Pass], nodes: dict[str, Any] | None = None) -> Record:
    """What a graph says of its samplers, of which there is one at least; `nodes` are the whole graph."""
    base = passes[0]
    prompt = graph.text(base.prompt, "positive")
    width, height = first_size(graph, base)
    return record(
        "comfyui",
        "ComfyUI",
        prompt=_any_text(graph.nodes) if base.prompt is None else prompt,
        negative_prompt=graph.text(base.negative, "negative"),
        seed=base.seed,
        steps=base.steps,
        guidance_scale=_guidance(graph, base),
        scheduler=base.sampler,
        schedule=base.schedule,
        width=width,
        height=height,
        model=model_of(graph, base) or _any_model(graph),
        loras=[lora for _, lora in loras_of(graph, base)],
        passes=[_further(graph, base, before, later, width) for before, later in pairwise(passes)],
        other={"denoise": base.denoise},
        graph=nodes,
    )


def model_of(graph: Graph, one: Pass) -> str | None:
    """The file of the model that a sampler uses."""
    found = graph.first(one.model, *MODEL_NAMES)
    return None if found is None else str(found[1])


def first_size(graph: Graph, base: Pass) -> tuple[Any, Any]:
    """Width and height in px of the empty latent that a sampler starts from."""
    keys = [*graph.way(base.latent), *(() if base.latent else graph.nodes)]
    for key in keys:
        kind = graph.kind(key).lower()
        if ("empty" in kind or "latent" in kind) and "width" in graph.inputs(key) and "upscale" not in kind:
            graph.seen.add(key)
            return graph.value(key, "width"), graph.value(key, "height")
    return None, None


def _guidance(graph: Graph, base: Pass) -> float | None:
    """The scale of classifier-free guidance, or what Flux is told in its place."""
    for key in graph.behind(base.prompt):
        if graph.kind(key) == "FluxGuidance" and (told := number(graph.value(key, "guidance"))) is not None:
            graph.seen.add(key)
            return told
    return base.guidance


def _further(graph: Graph, base: Pass, before: Pass, later: Pass, width: Any) -> FurtherPass:
    between = list(graph.way(later.latent, frozenset({before.key})))
    found = scaling_of(graph, reversed(between), width if isinstance(width, int) else None)
    larger = found.factor is not None and found.factor != 1
    model = model_of(graph, later)
    return FurtherPass(
        scale=found.factor if larger else None,
        upscaler=found.upscaler if larger else None,
        strength=later.denoise,
        steps=later.steps,
        seed=later.seed,
        guidance_scale=later.guidance,
        scheduler=later.sampler or None,
        schedule=later.schedule or None,
        model=None if model == model_of(graph, base) else model,
    )


def _any_model(graph: Graph) -> str | None:
    names = (graph.inputs(key).get(name) for key in graph.nodes for name in MODEL_NAMES[:2])
    return next((name for name in names if isinstance(name, str)), None)


def _any_text(nodes: dict[str, Any]) -> str | None:
    """The first text that any node encodes."""
    for node in nodes.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        kind = str(node.get("class_type", "")).lower().replace("_", "") if isinstance(node, dict) else ""
        if "textencode" in kind and isinstance(inputs, dict) and isinstance(inputs.get("text"), str):
            return str(inputs["text"])
    return None


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
        if is_graph(whole):
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


def _is_workflow(value: Any) -> bool:
    if not (isinstance(value, dict) and isinstance(value.get("nodes"), list) and "links" in value):
        return False
    nodes = [node for node in value["nodes"][:MAX_RECOGNISED] if isinstance(node, dict)]
    # other programs draw workflows too; ComfyUI's editor numbers its nodes and keeps what their widgets show
    return "last_node_id" in value or any("widgets_values" in node or "pos" in node for node in nodes)


def _kinds(graph: Any, workflow: Any) -> list[str]:
    nodes = list(graph.values()) if is_graph(graph) else []
    if _is_workflow(workflow):
        nodes += workflow["nodes"][:MAX_RECOGNISED]
        definitions, extra = workflow.get("definitions"), workflow.get("extra")
        inner = definitions.get("subgraphs") if isinstance(definitions, dict) else None
        inner = list(inner) if isinstance(inner, list) else []
        groups = extra.get("groupNodes") if isinstance(extra, dict) else None
        inner += list(groups.values()) if isinstance(groups, dict) else []
        for part in inner:
            held = part.get("nodes") if isinstance(part, dict) else None
            nodes += held[:MAX_RECOGNISED] if isinstance(held, list) else []
    found = [node.get("class_type") or node.get("type") for node in nodes if isinstance(node, dict)]
    return [str(kind).lower().replace("_", "").replace(" ", "") for kind in found]
