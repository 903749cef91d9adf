"""ComfyUI's history of a prompt: how it ended, its image, and which nodes came from the node cache.

After execution.py of ComfyUI 0.3.64: an entry's `status.messages` begin with execution_start and execution_cached, whose
`nodes` are those with an output in the node cache, and end with execution_success or execution_error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nonesuch.generators.backends.base import Origin
from nonesuch.generators.backends.remote.comfy_graph import Graph, linked_from
from nonesuch.generators.backends.remote.http import NoImage


def check_ended(entry: Mapping[str, Any]) -> None:
    """Raise NoImage when the prompt failed, with the node and the exception."""
    status = entry.get("status")
    if not isinstance(status, dict) or status.get("status_str") != "error":
        return
    messages = _messages(entry)
    if told := messages.get("execution_error"):
        words = " ".join(str(told.get("exception_message") or "").split())[:300]
        raise NoImage(f"node {told.get('node_id')} {told.get('node_type')} failed: {words}")
    if "execution_interrupted" in messages:
        raise NoImage("it was interrupted on the server")
    raise NoImage("the workflow failed")


def image_of(entry: Mapping[str, Any], output: str) -> dict[str, str]:
    """File name, subfolder and type of the first image of a node. Raises NoImage when there is none."""
    outputs = entry.get("outputs")
    node = outputs.get(output) if isinstance(outputs, dict) else None
    images = node.get("images") if isinstance(node, dict) else None
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        raise NoImage(f"the workflow ended without an image of node {output}")
    return {name: str(images[0].get(name) or "") for name in ("filename", "subfolder", "type")}


def origin_of(
    entry: Mapping[str, Any], graph: Graph, output: str, number: str, *, whole: bool = False
) -> Origin:
    """Whether the prompt `number`, queued just now as `graph`, drew the image of its node `output`.

    It did when what the node saves was not in the node cache; with `whole`, when no node was.
    """
    messages = _messages(entry)
    told = messages.get("execution_cached", {}).get("nodes")
    if not isinstance(told, list):
        return Origin(None, f"prompt {number}: the server's history does not say which nodes it ran")
    cached = [node for node in graph if node in told]
    sources = linked_from(graph, output)
    if output in cached or (sources and sources <= set(cached)):
        return Origin(False, f"prompt {number}: the server took the image from its node cache")
    if whole and cached:
        return Origin(None, f"prompt {number}: the server took {len(cached)} nodes from its node cache")
    kept = f"{len(cached) or 'none'} of its {len(graph)} nodes from the node cache"
    return Origin(True, f"drawn by the server: prompt {number} took {_seconds(messages)}{kept}")


def _seconds(messages: Mapping[str, Mapping[str, Any]]) -> str:
    begun, ended = (
        messages.get(kind, {}).get("timestamp") for kind in ("execution_start", "execution_success")
    )
    known = isinstance(begun, int | float) and isinstance(ended, int | float)
    return f"{(ended - begun) / 1000:.1f} s and " if known else ""  # type: ignore[operator]


def _messages(entry: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The messages of an entry's status by their kinds."""
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    return {
        str(one[0]): one[1]
        for one in (messages if isinstance(messages, list) else ())
        if isinstance(one, list) and len(one) == 2 and isinstance(one[1], dict)
    }
