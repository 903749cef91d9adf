"""A ComfyUI graph as it is found in a picture, followed from the image that was saved back to its samplers.

Nodes are spoken for (`seen`) as something is read of them; what remains is what a reader has no word for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Nodes: TypeAlias = Mapping[str, Any]  # {node id: {"class_type": …, "inputs": {…}}}, from a stranger
MAX_NODES: Final = 2000  # of a graph that is followed
MAX_RECOGNISED: Final = 10_000  # of what is recognised as a graph
_MAX_ENDS: Final = 16  # nodes that save, among which the first that a sampler leads to is looked for
_MAX_INPUTS: Final = 128  # of a node
_MAX_HOPS: Final = 16  # links followed to a value
_MAX_STEPS: Final = 64  # nodes passed on the way to a text
_MAX_WITHIN: Final = 4  # concatenations within one another that are put together
_SAMPLES: Final = frozenset({"positive", "latent_image", "guider", "seed", "noise_seed"})
_SAVERS: Final = ("SaveImage", "PreviewImage")
_VALUES: Final = ("value", "seed", "noise_seed", "int", "float", "string", "text")
_TEXTS: Final = (
    "string",
    "prompt",
    "value",
    "t5xxl",
    "clip_l",
    "clip_g",
)  # inputs that hold texts, besides `text…`
_SIDES: Final = {"positive": "negative", "negative": "positive"}
# Where a latent or picture comes from, by the names of inputs, the likeliest first.
_BEFORE: Final = ("samples", "latent_image", "latent", "pixels", "image", "images")


@dataclass
class Graph:
    """The nodes that the saved image comes from."""

    nodes: dict[str, dict[str, Any]]  # those that have a class and inputs, of which there are not too many
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
        for _ in range(_MAX_HOPS):
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

    def text(self, start: str | None, side: str, within: int = 0) -> str | None:
        """The nearest text behind a conditioning; `side` is "positive" or "negative", for nodes that pass both on."""
        waiting, known = [start], {start}
        for _ in range(_MAX_STEPS):
            if not waiting:
                break
            key = waiting.pop(0)
            if key is None or key not in self.nodes:
                continue
            inputs = self.inputs(key)
            if {"string_a", "string_b"} <= inputs.keys() and within < _MAX_WITHIN:  # a concatenation
                self.seen.add(key)
                halves = (
                    inputs[name] if isinstance(inputs[name], str) else self.text(_target(inputs[name]), side, within + 1)
                    for name in ("string_a", "string_b")
                )  # fmt: skip
                return str(inputs.get("delimiter", "")).join(half for half in halves if half) or None
            for name in ["populated_text"] if "populated_text" in inputs else list(inputs):
                if ("text" not in name and name not in _TEXTS) or _SIDES[side] in name:
                    continue
                value = self.value(key, name)
                if isinstance(value, str) and value.strip():
                    self.seen.add(key)
                    return value
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

    def samples(self, key: str) -> bool:
        """Whether it is a sampler."""
        return "sampler" in self.kind(key).lower() and not _SAMPLES.isdisjoint(self.inputs(key))


def is_graph(value: Any) -> bool:
    """Whether a JSON value is a graph in API format."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= MAX_RECOGNISED
        and any(isinstance(node, dict) and "class_type" in node for node in value.values())
    )


def follow(nodes: Any) -> Graph | None:
    """The graph behind the image that a sampler leads to; None when it is none, has too many nodes, or no sampler."""
    if not isinstance(nodes, Mapping) or len(nodes) > MAX_NODES:
        return None
    graph = Graph(
        {
            str(key): node
            for key, node in nodes.items()
            if isinstance(node, dict)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), dict)
            and len(node["inputs"]) <= _MAX_INPUTS
        }
    )
    ends = [key for kind in _SAVERS for key in graph.nodes if graph.kind(key) == kind]
    ends += [key for key in graph.nodes if _target(graph.inputs(key).get("images"))]
    samplers = [key for key in graph.nodes if graph.samples(key)]
    # where none is saved, or by a node that is not known as one that saves: the last sampler itself
    feeding = {other for key in samplers[:_MAX_ENDS] for other in graph.behind(key)[1:]}
    last = [key for key in samplers if key not in feeding] or samplers
    for end in (*ends[:_MAX_ENDS], *last[:1]):
        used = graph.behind(end)
        if any(graph.samples(key) for key in used):
            graph.used = used
            graph.seen.add(end)
            return graph
    return None


def _target(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        return str(value[0])
    return None
