"""A ComfyUI workflow in API format as data: which inputs the recipe's fields go to, and its identity.

API format is what the editor's "Export (API)" writes: {node id: {"class_type": …, "inputs": {name: value or
[node id, output]}}}. Fields that the sweep does not bind are found by the names that ComfyUI's own nodes give them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from nonesuch.foundation.canonical import canonical_digest
from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import read_limited

MAX_BYTES: Final = 8 << 20
MAX_NODES: Final = 2000
Graph: TypeAlias = dict[str, dict[str, Any]]

FIELDS: Final = (
    "prompt", "negative", "seed", "steps", "guidance", "scheduler", "width", "height", "init_image", "mask", "strength",
)  # fmt: skip
# Inputs by the names that ComfyUI's nodes have for a field.
_INPUTS: Final[Mapping[str, frozenset[str]]] = {
    "seed": frozenset({"seed", "noise_seed"}),
    "steps": frozenset({"steps"}),
    "guidance": frozenset({"cfg", "guidance"}),
    "scheduler": frozenset({"sampler_name", "scheduler"}),
    "strength": frozenset({"denoise"}),
}
_TEXTS: Final = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt")
_NOT_WORDS: Final = frozenset({"model", "clip", "vae", "latent_image", "samples", "pixels", "image"})
_SAVERS: Final = ("SaveImage", "PreviewImage")
MODEL_FILES: Final = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")


def read_graph(path: Path, *, where: str) -> Graph:
    """The workflow of a file. Raises InputError when it is not one in API format."""
    try:
        graph = json.loads(read_limited(path, max_bytes=MAX_BYTES))
    except InputError as error:
        raise InputError(f"the workflow {path}: {error.message}", where=where, hint=error.hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error})", where=where) from error
    if isinstance(graph, dict) and isinstance(graph.get("nodes"), list):
        raise InputError(
            f"{path} is a workflow for the editor",
            where=where,
            hint="Export it in API format: Workflow → Export (API).",
        )
    if isinstance(graph, dict) and isinstance(graph.get("prompt"), dict):
        graph = graph["prompt"]  # a whole request to /prompt
    sound = isinstance(graph, dict) and 0 < len(graph) <= MAX_NODES
    if not sound or not all(
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
        for node in graph.values()
    ):
        raise InputError(f"{path} is no ComfyUI workflow in API format", where=where)
    return {str(name): node for name, node in graph.items()}


def bindings(graph: Graph, own: Mapping[str, tuple[str, ...]], *, where: str) -> dict[str, tuple[str, ...]]:
    """For each field the NODE.INPUTs that it goes to: the sweep's own, else those found in the graph.

    Raises InputError for a node or input that the graph does not have, and for a graph without a prompt.
    """
    found = {name: tuple(inputs) for name, inputs in _found(graph).items() if inputs}
    bound = {name: tuple(resolved(graph, one, where=where) for one in inputs) for name, inputs in own.items()}
    fields = {name: inputs for name, inputs in bound.items() if name in FIELDS}
    taken = {one for inputs in bound.values() for one in inputs}
    for name, inputs in found.items():
        left = tuple(one for one in inputs if one not in taken)
        if name not in fields and left:
            fields[name] = left
    if "prompt" not in fields:
        raise InputError(
            "it is not clear which input of the workflow takes the prompt",
            where=where,
            hint="Name it: connections: {comfyui: {bind: {prompt: NODE.text}}}.",
        )
    return fields


def resolved(graph: Graph, target: str, *, where: str) -> str:
    """NODE.INPUT with the node by its id; it may be given by its title. Raises InputError when it is not there."""
    node, _, name = target.rpartition(".")
    ids = [node] if node in graph else [key for key, one in graph.items() if _title(one) == node]
    if len(ids) != 1:
        listed = ", ".join(f"{key} {_title(one) or one['class_type']}" for key, one in graph.items())
        what = "several nodes" if ids else "no node"
        raise InputError(f"the workflow has {what} {node!r}", where=where, hint=f"Nodes: {listed[:600]}.")
    if name not in graph[ids[0]]["inputs"]:
        known = ", ".join(graph[ids[0]]["inputs"])
        raise InputError(f"the node {node} has no input {name!r}", where=where, hint=f"Inputs: {known}.")
    return f"{ids[0]}.{name}"


def output_node(graph: Graph, wanted: str | None, *, where: str) -> str:
    """The node whose image counts. Raises InputError when the graph has none, or several and none is named."""
    if wanted is not None:
        ids = [wanted] if wanted in graph else [key for key, one in graph.items() if _title(one) == wanted]
    else:
        ids = next((found for kind in _SAVERS if (found := _of_class(graph, kind))), [])
    if len(ids) != 1:
        what = "several nodes that save images" if ids else "no node that saves an image"
        raise InputError(
            f"the workflow has {what}", where=where, hint="Name one: connections: {comfyui: {output: NODE}}."
        )
    return ids[0]


def value_of(graph: Graph, target: str) -> Any:
    """What stands in an input."""
    node, _, name = target.rpartition(".")
    return graph[node]["inputs"][name]


def filled(graph: Graph, values: Mapping[str, Any]) -> Graph:
    """A copy of the graph with NODE.INPUTs set."""
    made = copy.deepcopy(graph)
    for target, value in values.items():
        node, _, name = target.rpartition(".")
        made[node]["inputs"][name] = value
    return made


def marked_anew(graph: Graph, mark: str) -> Graph:
    """The same graph as one that ComfyUI's node cache has never seen: it draws the same pixels and runs every node.

    The cache's key of a node is its class and all its inputs, down to those of its remotest ancestor (get_node_signature
    in comfy_execution/caching.py of 0.3.64). Inputs that a class does not declare count there and are not handed to
    the node, so one in each node without links, `mark`, changes every key. Nodes that expand into others keep those in
    a cache by node id, so each id gets `mark`, which is digits, at its end.
    """
    made: Graph = {}
    for key, node in graph.items():
        inputs = {
            name: [f"{value[0]}{mark}", value[1]] if _is_link(value) and str(value[0]) in graph else value
            for name, value in node["inputs"].items()
        }
        if not any(_is_link(value) for value in inputs.values()):
            inputs["nonesuch_anew"] = mark
        made[f"{key}{mark}"] = {**node, "inputs": inputs}
    return made


def linked_from(graph: Graph, key: str) -> set[str]:
    """The nodes whose outputs a node takes."""
    return {str(value[0]) for value in graph[key]["inputs"].values() if _is_link(value)}


def model_inputs(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """(node id, input, file name) of every weights file that the graph names."""
    for key, node in graph.items():
        for name, value in node["inputs"].items():
            if isinstance(value, str) and value.lower().endswith(MODEL_FILES):
                yield key, name, value


def graph_digest(graph: Graph, fields: Mapping[str, tuple[str, ...]], hashes: Mapping[str, str]) -> str:
    """SHA-256 over what the graph draws with: its nodes without what recipes set, and the weights' hashes or names."""
    set_by_recipes = {one for inputs in fields.values() for one in inputs}
    bare = {
        key: [
            node["class_type"],
            {name: value for name, value in node["inputs"].items() if f"{key}.{name}" not in set_by_recipes},
        ]
        for key, node in graph.items()
    }
    return canonical_digest(
        ["comfyui/1", bare, {name: list(inputs) for name, inputs in fields.items()}, dict(hashes)]
    )


def _found(graph: Graph) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in FIELDS}
    for key, node in graph.items():
        inputs = node["inputs"]
        for field, names in _INPUTS.items():
            found[field] += [f"{key}.{name}" for name in inputs if name in names and _is_plain(inputs[name])]
        if "Empty" in node["class_type"]:
            found["width"] += [f"{key}.width"] if _is_plain(inputs.get("width")) else []
            found["height"] += [f"{key}.height"] if _is_plain(inputs.get("height")) else []
        for link, field in (("positive", "prompt"), ("conditioning", "prompt"), ("negative", "negative")):
            if _is_link(inputs.get(link)) and (link != "conditioning" or "Guider" in node["class_type"]):
                found[field] += [
                    one for one in _texts(graph, inputs[link][0], set()) if one not in found[field]
                ]
    found["negative"] = [one for one in found["negative"] if one not in found["prompt"]]
    for field, kind in (("init_image", "LoadImage"), ("mask", "LoadImageMask")):
        loaders = _of_class(graph, kind)
        found[field] = [f"{loaders[0]}.image"] if len(loaders) == 1 else []
    return found


def _texts(graph: Graph, key: str, seen: set[str]) -> list[str]:
    """The text inputs that a conditioning comes from."""
    node = graph.get(str(key))
    if node is None or key in seen:
        return []
    seen.add(key)
    own = [f"{key}.{name}" for name in _TEXTS if isinstance(node["inputs"].get(name), str)]
    if own:
        return own
    found: list[str] = []
    for name, value in node["inputs"].items():
        if _is_link(value) and name not in _NOT_WORDS:
            found += [one for one in _texts(graph, str(value[0]), seen) if one not in found]
    return found


def _of_class(graph: Graph, kind: str) -> list[str]:
    return [key for key, node in graph.items() if node["class_type"] == kind]


def _title(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    return str(meta.get("title") or "") if isinstance(meta, dict) else ""


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
