"""A ComfyUI graph as settings of a sweep file: first pass, LoRAs, ControlNets, refiner, second pass, enlarging.

What a sweep file has no word for is said with the ids and classes of its nodes.
"""

from __future__ import annotations

from typing import Any, Final

from nonesuch.formats.comfyui import MODEL_NAMES, model_of, record_of
from nonesuch.formats.graph import Graph, follow
from nonesuch.formats.graph_samplers import Pass, loras_of, number, passes_of
from nonesuch.formats.scaling import THERE_AND_BACK, Scaling, scaling_of
from nonesuch.generators.foreign.vocabulary_map import (
    Taken,
    bare,
    known_scheduler,
    lora_settings,
    prompt_syntax,
)
from nonesuch.generators.ways.again import FindFile

_MASKS: Final = ("VAEEncodeForInpaint", "SetLatentNoiseMask", "InpaintModelConditioning")
_SILENT: Final = (*THERE_AND_BACK, "ConditioningZeroOut", "Reroute", "PrimitiveNode")  # what loses nothing


def taken(nodes: Any, find: FindFile) -> Taken | None:
    """What a sweep takes over of a graph; None when no sampler is in it. `find` looks for pictures, LoRAs and models
    by name."""
    graph = follow(nodes)
    return None if graph is None else _Taker(graph, passes_of(graph), find).taken()


class _Taker:
    def __init__(self, graph: Graph, passes: list[Pass], find: FindFile) -> None:
        self._graph = graph
        self._passes = passes
        self._told = record_of(graph, passes)
        self._find = find
        self._recipe: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._said: list[str] = []

    def taken(self) -> Taken:
        base = self._passes[0]
        self._first(base)
        self._starts(base)
        self._loras()
        self._controls()
        self._image_prompts()
        self._clip_skip()
        for before, later in zip(self._passes, self._passes[1:], strict=False):
            self._later(base, before, later)
        self._enlarged()
        self._rest()
        return Taken(self._recipe, self._settings, tuple(self._said))

    def _first(self, base: Pass) -> None:
        found, lost = known_scheduler(base.sampler, base.schedule) if base.sampler else (None, None)
        graph, told = self._graph, self._told
        prompt, negative = told.prompt, told.negative_prompt
        taken = {
            "prompt": prompt, "negative_prompt": negative, "seed": told.seed, "width": told.width, "height": told.height,
            "guidance_scale": told.guidance_scale, "model": told.model,
        }  # fmt: skip
        self._recipe |= {name: value for name, value in taken.items() if value is not None}
        self._recipe["scheduler"] = found
        if base.steps:
            self._recipe["steps"] = _schedule(base)
        self._model(base)
        if lost:
            self._said.append(f"{lost[:-1]} ({graph.named(base.key)}).")
        syntax, unread = prompt_syntax(prompt or "", negative or "")
        if syntax:
            self._settings["prompt_syntax"] = syntax
            self._said.append(
                "ComfyUI weighs words in another way than prompt_syntax: a1111: nearer, not equal."
            )
        if unread:
            self._said.append(unread)
        if "embedding:" in f"{prompt} {negative}":
            self._said.append("The textual inversions in its prompts (embedding:…) are lost.")

    def _starts(self, base: Pass) -> None:
        """What it starts from: one of several empty latents, or a picture."""
        graph = self._graph
        for key in graph.way(base.latent):
            kind, inputs = graph.kind(key), graph.inputs(key)
            if "Empty" in kind and "width" in inputs:
                many = number(graph.value(key, "batch_size")) or 1
                if many > 1:
                    self._said.append(
                        f"It is one of {many:g} drawn at once, with noise of its own ({graph.named(key)})."
                    )
            elif kind == "LoadImage" and isinstance(inputs.get("image"), str):
                self._settings |= {
                    "init_image": self._picture(key, "The picture it starts from"), "strength": base.denoise,
                }  # fmt: skip
            elif kind in _MASKS:
                graph.seen.add(key)
                self._said.append(f"It was inpainted ({graph.named(key)}): name the mask as settings: mask.")

    def _loras(self) -> None:
        graph, written = self._graph, []
        for key, lora in loras_of(graph, self._passes[0]):
            setting, missing = lora_settings(lora, self._find, f"Its LoRA {lora.name!r} ({graph.named(key)})")
            written.append(setting)
            self._said += [missing] if missing else []
            clip, model = (number(graph.inputs(key).get(f"strength_{part}")) for part in ("clip", "model"))
            if clip is not None and model is not None and clip != model:
                self._said.append(f"The weight {clip:g} for the text encoder is lost ({graph.named(key)}).")
        if written:
            self._settings["loras"] = written

    def _controls(self) -> None:
        graph, written = self._graph, []
        of_base = graph.behind(self._passes[0].prompt)
        for key in [key for key in of_base if graph.kind(key).startswith("ControlNetApply")]:
            net = graph.first(graph.linked(key, "control_net"), "control_net_name")
            source = self._loaded(graph.linked(key, "image"))
            if net is None or source is None:
                continue
            graph.seen.update((key, net[0]))
            one: dict[str, Any] = {"model": self._named_model(net[1])}
            one["image"] = self._picture(source, f"The picture of a ControlNet ({graph.named(key)})")
            one |= self._prepared(key)
            for ours, theirs in (("scale", "strength"), ("start", "start_percent"), ("end", "end_percent")):
                value = number(graph.value(key, theirs))
                if value is not None:
                    one[ours] = value
            self._said.append(
                f"Its ControlNet was the file {net[1]!r} ({graph.named(key)}): name its folder or hub id (settings: control)."
            )
            written.append(one)
        if written:
            self._settings["control"] = written[0] if len(written) == 1 else written

    def _prepared(self, key: str) -> dict[str, Any]:
        """What a ControlNet's picture went through."""
        graph, found = self._graph, {}
        for step in graph.way(graph.linked(key, "image")):
            kind = graph.kind(step)
            if kind == "LoadImage":
                break
            graph.seen.add(step)
            if kind in ("Canny", "CannyEdgePreprocessor"):
                of_one = 255 if kind == "Canny" else 1  # the node of ComfyUI itself takes shares
                limits = (number(graph.value(step, f"{name}_threshold")) for name in ("low", "high"))
                found = {"preprocess": "canny"} | {
                    name: round(of_one * limit)
                    for name, limit in zip(("low", "high"), limits, strict=True)
                    if limit
                }
            else:
                self._said.append(f"The ControlNet's picture has to be what {graph.named(step)} made of it.")
        return found

    def _image_prompts(self) -> None:
        graph = self._graph
        keys = [key for key in graph.used if "ipadapter" in graph.kind(key).lower().replace("-", "")]
        if not keys:
            return
        graph.seen.update(keys)
        sources = [source for key in keys if (source := self._loaded(graph.linked(key, "image")))]
        graph.seen.update(sources)
        graph.seen.update(key for key in graph.used if graph.kind(key) == "CLIPVisionLoader")
        pictures = ", ".join(repr(graph.inputs(one)["image"]) for one in sources) or "a picture"
        self._said.append(
            f"Its image prompt from {pictures} is lost ({graph.named(*keys)}): name adapter, encoder and picture as "
            "settings: image_prompt."
        )

    def _clip_skip(self) -> None:
        for key in [key for key in self._graph.used if self._graph.kind(key) == "CLIPSetLastLayer"]:
            self._graph.seen.add(key)
            layer = number(self._graph.value(key, "stop_at_clip_layer"))
            if layer is not None and layer < -1:  # -1 is the last layer
                self._settings["options"] = {"clip_skip": -int(layer) - 1}

    def _later(self, base: Pass, before: Pass, later: Pass) -> None:
        """A further sampler: the refiner, the second half of the same steps, or a pass at a higher resolution."""
        graph = self._graph
        between = list(graph.way(later.latent, frozenset({before.key})))
        own, theirs = self._model(base), self._model(later)
        if later.start > 0 and base.steps and not set(between) - set(self._of_kind(between, THERE_AND_BACK)):
            graph.seen.update(between)
            if own == theirs:
                return
            if "refiner" not in self._settings and later.start < base.steps:
                self._settings["refiner"] = {
                    "model": self._named_model(theirs or ""),
                    "at": later.start / base.steps,
                }
                self._said.append(
                    f"Its refiner was the file {theirs!r} ({graph.named(later.key)}): name its folder or hub id "
                    "(settings: refiner)."
                )
                return
        found = scaling_of(graph, reversed(between), self._recipe.get("width"))
        if found.factor is not None and 1 < found.factor <= 8 and "hires" not in self._settings:
            upscaler = self._upscaler(found)
            self._settings["hires"] = {"scale": found.factor, "strength": later.denoise, "upscaler": upscaler}
            if later.steps:
                self._settings["hires"]["steps"] = _schedule(later)
            other = [
                f"{name} {value}"
                for name, value, first in (
                    ("checkpoint", theirs, own), ("cfg", later.guidance, base.guidance),
                    ("sampler", later.sampler, base.sampler), ("schedule", later.schedule, base.schedule),
                    ("prompt", graph.text(later.prompt, "positive"), self._recipe.get("prompt")),
                )
                if value != first
            ]  # fmt: skip
            if other:
                self._said.append(
                    f"What its second pass had of its own is lost ({graph.named(later.key)}): {'; '.join(other)}."
                )
            return
        self._said.append(
            f"A further sampler is lost ({graph.named(later.key)}): {later.steps} steps at denoise {later.denoise:g}"
            + (f" with {theirs!r}." if theirs != own else ".")
        )

    def _enlarged(self) -> None:
        """What was done after the last sampler."""
        graph, last = self._graph, self._passes[-1].key
        after = list(graph.way(graph.used[0], frozenset({last})))[1:]
        found = scaling_of(graph, reversed(after), self._recipe.get("width"))
        factor = found.factor
        if (
            after
            and factor is not None
            and "hires" in self._settings
            and graph.kind(after[0]) == "ImageScale"
        ):
            factor /= self._settings["hires"]["scale"]  # a width stands for the whole way
        if factor is not None and 1 < factor <= 16:
            self._settings["upscale"] = {"scale": factor, "upscaler": self._upscaler(found)}

    def _upscaler(self, found: Scaling) -> str:
        """As a sweep file names it; its nodes are spoken for."""
        self._graph.seen.update(found.nodes)
        if found.network is None:
            return found.upscaler
        name = bare(found.upscaler)
        path = self._find("", name)
        if path is None:
            what = f"Its upscaler {found.upscaler!r} ({self._graph.named(found.network)})"
            self._said.append(f"{what} is not here: {name}. Put it at {name}.")
        return path or name

    def _rest(self) -> None:
        graph = self._graph
        vaes = [key for key in graph.used if graph.kind(key) == "VAELoader"]
        for key in vaes:
            graph.seen.add(key)
            self._said.append(
                f"Its own VAE {graph.inputs(key).get('vae_name')!r} is lost ({graph.named(key)})."
            )
        left = [key for key in graph.used if key not in graph.seen and graph.kind(key) not in _SILENT]
        if left:
            self._said.append(f"What these do is lost: {graph.named(*left)}.")

    def _model(self, one: Pass) -> str | None:
        found = model_of(self._graph, one)
        if found is not None:
            self._graph.seen.update(
                key for key in self._graph.used if "Loader" in self._graph.kind(key)
                and any(name in self._graph.inputs(key) for name in (*MODEL_NAMES, "clip_name", "clip_name1"))
            )  # fmt: skip
        return found

    def _loaded(self, start: str | None) -> str | None:
        return next((key for key in self._graph.way(start) if self._graph.kind(key) == "LoadImage"
                     and isinstance(self._graph.inputs(key).get("image"), str)), None)  # fmt: skip

    def _picture(self, key: str, what: str) -> str:
        self._graph.seen.add(key)
        name = bare(str(self._graph.inputs(key)["image"]))
        path = self._find("", name)
        if path is None:
            self._said.append(f"{what} is not here: {name}. Put it at {name}.")
        return path or name

    def _named_model(self, name: str) -> str:
        return self._find("", bare(name)) or bare(name)

    def _of_kind(self, keys: list[str], kinds: tuple[str, ...]) -> list[str]:
        return [key for key in keys if self._graph.kind(key) in kinds]


def _schedule(one: Pass) -> int:
    """Steps of which a share of `denoise` is done: ComfyUI does all that it is told, at the end of more."""
    return min(1000, round((one.steps or 0) / one.denoise))
