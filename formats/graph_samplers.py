"""The samplers of a ComfyUI graph in the order in which they ran, each with its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from nonesuch.formats.graph import Graph
from nonesuch.formats.record import LoraName

MAX_PASSES: Final = 16


@dataclass(frozen=True, slots=True)
class Pass:
    """One sampler."""

    key: str  # its node
    model: str | None  # the node that its model comes from
    prompt: str | None  # the same of its conditionings
    negative: str | None
    latent: str | None  # the same of what it starts from
    seed: int | None
    steps: int | None  # of the whole schedule
    guidance: float | None
    sampler: str
    schedule: str
    denoise: float  # 1 for all of the steps
    start: int  # first step that it does
    end: int | None  # the step before which it ends; None: all


def passes_of(graph: Graph) -> list[Pass]:
    """The samplers behind the saved image, the first one first; of very many those nearest to the image."""
    keys = [key for key in graph.used if graph.samples(key)][:MAX_PASSES]
    before = {key: len({*keys}.intersection(graph.behind(key))) for key in keys}
    return [_read(graph, key) for key in sorted(keys, key=lambda key: before[key])]


def loras_of(graph: Graph, one: Pass) -> Iterator[tuple[str, LoraName]]:
    """The LoRAs of a sampler's model and texts with their nodes, the one at the checkpoint first."""
    behind = {*graph.behind(one.model), *graph.behind(one.prompt)}
    for key in reversed([key for key in graph.used if key in behind and "lora" in graph.kind(key).lower()]):
        inputs = graph.inputs(key)
        rows = [(inputs.get("lora_name"), graph.value(key, "strength_model"), 1.0)]
        # the rows of rgthree's loader
        rows += [
            (row.get("lora"), row.get("strength"), 0.0)
            for name, row in inputs.items()
            if name.startswith("lora_") and isinstance(row, dict) and row.get("on")
        ]
        for name, weight, usual in rows:
            if isinstance(name, str):
                graph.seen.add(key)
                known = number(weight)
                yield key, LoraName(name, usual if known is None else known)


def _read(graph: Graph, key: str) -> Pass:
    """A sampler's settings; those of SamplerCustom lie in nodes of their own."""
    graph.seen.add(key)
    guider, sigmas = graph.linked(key, "guider"), graph.linked(key, "sigmas")
    parts = [
        one for one in (key, guider, sigmas, graph.linked(key, "noise"), graph.linked(key, "sampler")) if one
    ]
    known = ("guider", "scheduler", "noise", "sampler")
    graph.seen.update(one for one in parts if any(word in graph.kind(one).lower() for word in known))

    def value(*names: str) -> Any:
        found = (graph.value(part, name) for part in parts for name in names if name in graph.inputs(part))
        return next((one for one in found if one is not None), None)

    def link(*names: str) -> str | None:
        return next((found for part in parts for name in names if (found := graph.linked(part, name))), None)

    denoise, end = number(value("denoise")), number(value("end_at_step"))
    return Pass(
        key=key,
        model=link("model"),
        prompt=link("positive", "conditioning"),
        negative=link("negative"),
        latent=graph.linked(key, "latent_image"),
        seed=_whole(value("seed", "noise_seed")),
        steps=_whole(value("steps")),
        guidance=number(value("cfg", "guidance")),
        sampler=str(value("sampler_name") or ""),
        schedule=str(value("scheduler") or ""),
        denoise=1.0 if denoise is None or not 0 < denoise <= 1 else denoise,
        start=_whole(value("start_at_step")) or 0,
        end=None if end is None else int(end),
    )


def number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**64:
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
