"""ComfyUI's HTTP API: a workflow in API format, queued once per recipe.

After server.py and execution.py of ComfyUI 0.3 (routes /prompt, /history/{id}, /queue, /interrupt, /view,
/upload/image, /object_info/{class}, /view_metadata/{folder}, /system_stats), and tried with 0.3.64.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from nonesuch.foundation.errors import DrawingError, InputError
from nonesuch.generators.backends.base import BackendStopped, Origin
from nonesuch.generators.backends.remote import comfy_graph, comfy_history
from nonesuch.generators.backends.remote.a1111 import png_bytes
from nonesuch.generators.backends.remote.comfy_graph import Graph
from nonesuch.generators.backends.remote.drawing import MAX_IMAGE, Picture
from nonesuch.generators.backends.remote.http import Answer, Caller, NoImage, Problem
from nonesuch.generators.init_images import DEFAULT_FIT, start_mask, start_picture
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe

_FIRST_LOOK: Final = 0.1  # seconds between two looks at the history, growing to the next
_LOOK: Final = 2.0
# Friendly scheduler names in ComfyUI's words: sampler_name, scheduler.
SAMPLERS: Final[dict[str, tuple[str, str]]] = {
    "ddim": ("ddim", "ddim_uniform"),
    "ddpm": ("ddpm", "normal"),
    "deis": ("deis", "normal"),
    "dpmpp_2m": ("dpmpp_2m", "normal"),
    "dpmpp_2m_karras": ("dpmpp_2m", "karras"),
    "dpmpp_2m_sde": ("dpmpp_2m_sde", "normal"),
    "dpmpp_2m_sde_karras": ("dpmpp_2m_sde", "karras"),
    "dpmpp_2s": ("dpmpp_2s_ancestral", "normal"),
    "euler": ("euler", "normal"),
    "euler_karras": ("euler", "karras"),
    "euler_a": ("euler_ancestral", "normal"),
    "heun": ("heun", "normal"),
    "kdpm2": ("dpm_2", "normal"),
    "kdpm2_a": ("dpm_2_ancestral", "normal"),
    "lcm": ("lcm", "sgm_uniform"),
    "lms": ("lms", "normal"),
    "unipc": ("uni_pc", "normal"),
}
# Folder of ComfyUI's models by the input that names a file in it.
_FOLDERS: Final = {
    "ckpt_name": "checkpoints", "lora_name": "loras", "vae_name": "vae", "unet_name": "diffusion_models",
    "clip_name": "text_encoders", "clip_name1": "text_encoders", "clip_name2": "text_encoders",
    "control_net_name": "controlnet", "model_name": "upscale_models", "style_model_name": "style_models",
}  # fmt: skip
# Where safetensors files say their own hash: ModelSpec 1.0, and kohya's trainers.
_HASHES: Final = ("modelspec.hash_sha256", "sshs_model_hash")


class ComfyUI:
    """A painter that queues a workflow."""

    def __init__(self, facts: ModelFacts, caller: Caller, timeout: float) -> None:
        assert facts.remote is not None
        self._remote = facts.remote
        self._caller = caller
        self._timeout = timeout
        self._graph: Graph = json.loads(facts.remote.workflow)
        self._version = ""

    def ready(self) -> None:
        """Ask whether it is there, and for its version."""
        told = self._caller.ask("GET", "/system_stats").json()
        system = told.get("system") if isinstance(told, dict) else None
        self._version = str(system.get("comfyui_version") or "") if isinstance(system, dict) else ""

    def check(self, recipe: Recipe) -> None:
        """Refuse options that are no inputs of the workflow, and settings without a counterpart in it."""
        self._values(recipe, {})

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """Queue the recipe's workflow and wait for its image; one that was drawn under the recipe's id before is
        fetched, unless `anew` asks for a prompt of its own that takes nothing from the server's node cache."""
        if anew:
            return self._drawn_anew(recipe)
        number = str(UUID(recipe.id[:32]))
        earlier = self._history(number)
        if earlier is not None:
            fetched = Origin(False, f"fetched from the server's history: prompt {number}")
            try:
                return self._picture(earlier, self._remote.output, fetched)
            except NoImage:  # it failed then, or its file is gone
                number = str(uuid4())
        graph = self._filled(recipe)
        number = self._queued(graph, number)
        entry = self._waited(number)
        origin = comfy_history.origin_of(entry, graph, self._remote.output, number)
        try:
            return self._picture(entry, self._remote.output, origin)
        except NoImage:
            if origin.drawn is not False:
                raise
            return self._drawn_anew(recipe)  # the node cache names a file that is gone

    def close(self) -> None:
        """End waits and let connections go."""
        self._caller.close()

    def _drawn_anew(self, recipe: Recipe) -> Picture:
        mark = f"{uuid4().int % 10**9:09d}"
        graph, output = comfy_graph.marked_anew(self._filled(recipe), mark), self._remote.output + mark
        number = self._queued(graph, str(uuid4()))
        entry = self._waited(number)
        return self._picture(entry, output, comfy_history.origin_of(entry, graph, output, number, whole=True))

    def _filled(self, recipe: Recipe) -> Graph:
        """The workflow with the recipe's values."""
        graph = comfy_graph.filled(self._graph, self._values(recipe, self._uploaded(recipe)))
        saver = graph[self._remote.output]["inputs"]
        if "filename_prefix" in saver:
            # With a name of its own an image is saved again even when the server has all of it cached.
            saver["filename_prefix"] = f"nonesuch/{recipe.id[:16]}"
        return graph

    def _queued(self, graph: Graph, wanted: str) -> str:
        """The id under which the server knows the prompt: the one asked for, or its own where it is older."""
        request = {"prompt": graph, "prompt_id": wanted, "client_id": "nonesuch"}
        told = self._caller.ask("POST", "/prompt", judge=_judge, json=request).json()
        number = told.get("prompt_id") if isinstance(told, dict) else None
        if not isinstance(number, str) or not number:
            raise NoImage("ComfyUI gave the workflow no id")
        return number

    def _picture(self, entry: Mapping[str, Any], output: str, origin: Origin) -> Picture:
        comfy_history.check_ended(entry)
        image = comfy_history.image_of(entry, output)
        answer = self._caller.ask("GET", "/view", judge=_judge_view, params=image, limit=MAX_IMAGE)
        told = {"comfyui_version": self._version} if self._version else {}
        return Picture(answer.body, told, origin=origin)

    def _waited(self, number: str) -> Mapping[str, Any]:
        ends = time.monotonic() + self._timeout
        pause = _FIRST_LOOK
        while time.monotonic() < ends:
            entry = self._history(number)
            if entry is not None:
                return entry
            self._caller.pace.sleep(pause)
            if self._caller.pace.stopped:
                raise BackendStopped(f"{self._caller.what}: the run ends")
            pause = min(_LOOK, 1.5 * pause)
        self._give_up(number)
        raise NoImage(f"ComfyUI had no image within {self._timeout:g} s")

    def _give_up(self, number: str) -> None:
        """Take the workflow out of the queue; stop it only if it is the one that runs."""
        try:
            self._caller.ask("POST", "/queue", json={"delete": [number]}, retries=0)
            running = self._caller.ask("GET", "/queue", retries=0).json().get("queue_running") or []
            if any(isinstance(one, list) and number in one[:2] for one in running):
                self._caller.ask("POST", "/interrupt", json={"prompt_id": number}, retries=0)
        except (DrawingError, AttributeError):
            return

    def _history(self, number: str) -> Mapping[str, Any] | None:
        told = self._caller.ask("GET", f"/history/{number}").json()
        entry = told.get(number) if isinstance(told, dict) else None
        return entry if isinstance(entry, dict) else None

    def _values(self, recipe: Recipe, uploaded: Mapping[str, str]) -> dict[str, Any]:
        """What goes to which NODE.INPUT. Raises InputError for what the workflow has no place for."""
        told: dict[str, Any] = {
            "prompt": recipe.prompt,
            "negative": recipe.negative_prompt,
            "seed": recipe.seed,
            "steps": recipe.steps,
            "guidance": recipe.guidance_scale,
            "width": recipe.width,
            "height": recipe.height,
            "strength": recipe.strength,
            **uploaded,
        }
        bound = self._remote.bound
        values = {
            one: told[name] for name, inputs in bound.items() if told.get(name) is not None for one in inputs
        }
        if recipe.scheduler != "default":
            values |= _sampler(recipe.scheduler, bound.get("scheduler", ()))
        for name in ("init_image", "mask"):
            if getattr(recipe, name) is not None and name not in bound:
                raise InputError(
                    f"the workflow has no place for {name}",
                    where=name,
                    hint=f"Bind it: connections: {{comfyui: {{bind: {{{name}: NODE.image}}}}}}.",
                )
        for option, value in recipe.options:
            values[comfy_graph.resolved(self._graph, option, where="options")] = value
        return values

    def _uploaded(self, recipe: Recipe) -> dict[str, str]:
        """Names on the server of the images that the recipe starts from, by field."""
        fit, size = recipe.fit or DEFAULT_FIT, (recipe.width, recipe.height)
        names = {}
        if recipe.init_image is not None:
            digest = str(recipe.init_image_digest)
            names["init_image"] = self._upload(
                png_bytes(start_picture(Path(recipe.init_image), digest, *size, fit)), digest, fit, size
            )
        if recipe.mask is not None:
            digest = str(recipe.mask_digest)
            names["mask"] = self._upload(
                png_bytes(start_mask(Path(recipe.mask), digest, *size, fit)), digest, fit, size
            )
        return names

    def _upload(self, data: bytes, digest: str, fit: str, size: tuple[int, int]) -> str:
        name = (
            f"nonesuch-{digest[:16]}-{fit}-{size[0]}x{size[1]}.png"  # what it holds, so that it is sent once
        )
        told = self._caller.ask(
            "POST",
            "/upload/image",
            files={"image": (name, data, "image/png")},
            data={"overwrite": "true", "type": "input"},
        ).json()
        if not isinstance(told, dict) or not told.get("name"):
            raise NoImage("ComfyUI did not accept the init image")
        folder = str(told.get("subfolder") or "")
        return f"{folder}/{told['name']}" if folder else str(told["name"])


def weights(caller: Caller, graph: Graph, *, where: str) -> dict[str, str]:
    """The hash, or where the engine gives none the name, of every weights file of a graph; nodes, files and choices
    that the engine does not have raise InputError."""
    classes: dict[str, Mapping[str, Any]] = {}
    for key, node in graph.items():
        kind = node["class_type"]
        if kind not in classes:
            told = caller.ask("GET", f"/object_info/{kind}").json()
            info = told.get(kind) if isinstance(told, dict) else None
            if not isinstance(info, dict):
                raise InputError(
                    f"{caller.what} has no node {kind!r}", where=where, hint="Install the custom node there."
                )
            classes[kind] = info
        _check_choices(caller, key, node, classes[kind], where)
    return {f"{key}.{name}": _hash(caller, name, file) for key, name, file in comfy_graph.model_inputs(graph)}


def _hash(caller: Caller, name: str, file: str) -> str:
    folder = _FOLDERS.get(name)
    if folder is None or not file.endswith(".safetensors"):
        return f"name:{file}"
    try:
        told = caller.ask("GET", f"/view_metadata/{folder}", params={"filename": file}, retries=1).json()
    except DrawingError:  # a file without metadata is answered with 404
        return f"name:{file}"
    said = next((str(told[one]) for one in _HASHES if isinstance(told, dict) and told.get(one)), "")
    return f"sha256:{said.lower().removeprefix('0x')}" if said else f"name:{file}"


def _check_choices(
    caller: Caller, key: str, node: Mapping[str, Any], info: Mapping[str, Any], where: str
) -> None:
    inputs = info.get("input")
    kinds = [inputs.get(part) for part in ("required", "optional")] if isinstance(inputs, dict) else []
    for told in kinds:
        for name, spec in (told or {}).items():
            choices, value = _choices(spec), node["inputs"].get(name)
            uploaded = node["class_type"].startswith("LoadImage")
            if choices and isinstance(value, str) and value not in choices and not uploaded:
                raise InputError(
                    f"{caller.what} has no {name} {value!r} (node {key})",
                    where=where,
                    hint=f"It has: {', '.join(map(str, choices[:20]))}.",
                )


def _choices(spec: Any) -> list[Any]:
    """The values that an input may have: [[…], {}] until 0.3.40, ["COMBO", {"options": […]}] since."""
    if not isinstance(spec, list) or not spec:
        return []
    if isinstance(spec[0], list):
        return spec[0]
    more = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    options = more.get("options")
    return options if spec[0] == "COMBO" and isinstance(options, list) else []


def _sampler(scheduler: str, inputs: tuple[str, ...]) -> dict[str, str]:
    if scheduler not in SAMPLERS:
        raise InputError(
            f"ComfyUI has no counterpart of the scheduler {scheduler}",
            where="scheduler",
            hint=f"Use one of {', '.join(SAMPLERS)}, or options: {{NODE.sampler_name: …}}.",
        )
    sampler, schedule = SAMPLERS[scheduler]
    return {one: sampler if one.endswith(".sampler_name") else schedule for one in inputs}


def _judge_view(answer: Answer) -> Problem | None:
    return Problem("recipe", "has lost the image's file") if answer.status == 404 else None


def _judge(answer: Answer) -> Problem | None:
    """A workflow that does not validate is answered with 400 and errors for each node."""
    told = answer.words()
    if answer.status != 400 or not isinstance(told, dict):
        return None
    nodes = told.get("node_errors")
    parts = [
        f"node {key}: {error.get('message')}: {error.get('details')}"
        for key, node in (nodes.items() if isinstance(nodes, dict) else ())
        for error in ((node.get("errors") or ()) if isinstance(node, dict) else ())
        if isinstance(error, dict)
    ]
    error = told.get("error")
    if not parts and isinstance(error, dict):
        parts.append(str(error.get("message")))
    return Problem("recipe", f"refuses the workflow: {'; '.join(parts[:3]) or error}")
