"""A ComfyUI graph as it is found in a picture, followed from the image that was saved back to its samplers.

Nodes are spoken for (`seen`) as something is read of them; what remains is what a reader has no word for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Nodes: TypeAlias = Mapping[str, Any]  # {node id: {"class_type": …, "inputs": {…}}}, from a stranger
MAX_NODES: Final = 2000
_SAVERS: Final = ("SaveImage", "PreviewImage")
_VALUES: Final = ("value", "seed", "noise_seed", "int", "float", "string", "text")
_TEXTS: Final = ("text", "text_g", "clip_l", "prompt")
# Where a latent or picture comes from, by the names of inputs, the likeliest first.
_BEFORE: Final = ("samples", "latent_image", "latent", "pixels", "image", "images")


@dataclass
class Graph:
    """The nodes that the saved image comes from."""

    nodes: dict[str, dict[str, Any]]  # those that have a class and inputs
    used: list[str] = field(default_factory=list)  # ids, from the saved image backwards
    seen: set[str] = field(default_factory=set)  # ids that were spoken for

    def kind(self, key: str) -> str:
        """Its class."""
        return str(self.nodes[key]["class_type"]) if key in self.nodes else ""

    def inputs(self, key: str) -> Mapping[str, Any]:
        """Its inputs; none of a node that is not there."""
        return self.nodes[key]["inputs"] if key in self.nodes else {}

    def named(self, *keys: str) -> str:
        """Nodes for a sentence: `node 3 KSampler`."""
        told = ", ".join(f"{key} {self.kind(key)}"[:80] for key in keys)
        return f"node{'s' if len(keys) > 1 else ''} {told}"

    def linked(self, key: str, name: str) -> str | None:
        """The node that an input is linked to."""
        return _target(self.inputs(key).get(name))

    def value(self, key: str, name: str) -> Any:
        """The value of an input, through nodes that hold nothing else; None when it has none."""
        value = self.inputs(key).get(name)
        for _ in range(8):
            target = _target(value)
            if target is None:
                return value
            found = next((one for one in _VALUES if one in self.inputs(target)), None)
            if found is None:
                return None
            self.seen.add(target)
            value = self.inputs(target)[found]
        return None

    def behind(self, key: str | None) -> list[str]:
        """A node and all that it comes from, nearest first."""
        order, waiting = [], [key]
        known = {key}
        while waiting:
            current = waiting.pop(0)
            if current is None or current not in self.nodes:
                continue
            order.append(current)
            for value in self.inputs(current).values():
                target = _target(value)
                if target is not None and target not in known:
                    known.add(target)
                    waiting.append(target)
        return order

    def way(self, key: str | None, stop: frozenset[str] = frozenset()) -> Iterator[str]:
        """The nodes that a latent or picture came through, backwards, as far as one of `stop` or the beginning."""
        passed: set[str] = set()
        while key is not None and key in self.nodes and key not in stop and key not in passed:
            passed.add(key)
            yield key
            inputs = self.inputs(key)
            key = next((target for name in _BEFORE if (target := _target(inputs.get(name)))), None)

    def text(self, start: str | None, side: str) -> str | None:
        """The nearest text behind a conditioning; `side` is "positive" or "negative", for nodes that pass both on."""
        waiting, known = [start], {start}
        while waiting:
            key = waiting.pop(0)
            if key is None or key not in self.nodes:
                continue
            for name in _TEXTS:
                value = self.value(key, name)
                if isinstance(value, str) and value:
                    self.seen.add(key)
                    return value
            inputs = self.inputs(key)
            ways = [inputs[side]] if _target(inputs.get(side)) else list(inputs.values())
            further = [target for value in ways if (target := _target(value)) and target not in known]
            known.update(further)
            waiting += further
        return None

    def first(self, start: str | None, *names: str) -> tuple[str, Any] | None:
        """The nearest node behind `start` that has one of these inputs as a text, and that text."""
        for key in self.behind(start):
            for name in names:
                value = self.inputs(key).get(name)
                if isinstance(value, str) and value:
                    return key, value
        return None


def read(nodes: Any) -> Graph | None:
    """The graph; None when it is none, has too many nodes, or saves no image."""
    if not isinstance(nodes, Mapping) or len(nodes) > MAX_NODES:
        return None
    graph = Graph(
        {
            str(key): node
            for key, node in nodes.items()
            if isinstance(node, dict)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), dict)
        }
    )
    savers = [key for kind in _SAVERS for key in graph.nodes if graph.kind(key) == kind]
    savers += [key for key in graph.nodes if _target(graph.inputs(key).get("images"))]
    if not savers:
        return None
    graph.used = graph.behind(savers[0])
    graph.seen.add(savers[0])
    return graph


def _target(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        return str(value[0])
    return None
