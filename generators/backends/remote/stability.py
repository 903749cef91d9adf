"""Stability AI's API, the one behind DreamStudio: Stable Image Core and Ultra, SD 3.5, and the v1 engines.

After the API reference at platform.stability.ai: v2beta POST /v2beta/stable-image/generate/{core,ultra,sd3} (multipart,
answers as JSON), v1 POST /v1/generation/{engine}/text-to-image, GET /v1/user/balance. Seeds are 1 … 4294967294; 0 would
mean a random one. Not tried against the real service.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.base import BackendStopped
from nonesuch.generators.backends.remote.a1111 import png_bytes
from nonesuch.generators.backends.remote.drawing import Picture, request_key
from nonesuch.generators.backends.remote.http import Answer, Caller, NoImage, Problem
from nonesuch.generators.backends.remote.shapes import nearest_shape
from nonesuch.generators.init_images import DEFAULT_FIT, start_picture
from nonesuch.generators.models import Defaults, ModelFacts, Remote
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe

URL: Final = "https://api.stability.ai"
KEY: Final = "env:STABILITY_API_KEY"
SHAPES: Final = ("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")
# v2beta draws about a megapixel (Core 1.5) in one of nine shapes; the sweep's size chooses the shape.
_SD3: Final = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")
_NO_SUCH: Final = frozenset({"steps", "guidance", "scheduler", "dtype"})
_V1_IGNORES: Final = frozenset({"dtype"})
_STYLES: Final = "style_preset"
MOST_SEED: Final = 4_294_967_294
# Friendly scheduler names as v1 samplers.
_SAMPLERS: Final = {
    "ddim": "DDIM", "ddpm": "DDPM", "dpmpp_2m": "K_DPMPP_2M", "dpmpp_2s": "K_DPMPP_2S_ANCESTRAL", "kdpm2": "K_DPM_2",
    "kdpm2_a": "K_DPM_2_ANCESTRAL", "euler": "K_EULER", "euler_a": "K_EULER_ANCESTRAL", "heun": "K_HEUN", "lms": "K_LMS",
}  # fmt: skip


def is_v2(name: str) -> bool:
    """Whether a model is drawn through v2beta; every other name is an engine of v1."""
    return name in ("core", "ultra", *_SD3)


def facts_of(model: str, name: str, remote: Remote) -> ModelFacts:
    """What is known of a model; the service names no weights, so its name is its digest."""
    from dataclasses import replace

    if not is_v2(name):
        if not name.startswith("stable-diffusion"):
            raise InputError(
                f"Stability has no model {name!r} that is known here",
                where="model",
                hint=f"Use stability:core, stability:ultra, {', '.join(f'stability:{one}' for one in _SD3)}, or an "
                "engine of v1 such as stability:stable-diffusion-xl-1024-v1-0.",
            )
        side = 1024 if "xl" in name else 512
        return ModelFacts(
            model, "stability", model, Defaults(width=side, height=side, steps=30, guidance_scale=7.0),
            size_multiple=64, min_size=320, max_size=1536, remote=replace(remote, ignores=_V1_IGNORES),
        )  # fmt: skip
    starts_from = frozenset({"init_image"}) if name != "core" else frozenset[str]()
    ignores = _NO_SUCH | ({"negative"} if name in ("sd3.5-large-turbo", "sd3.5-flash") else set())
    return ModelFacts(
        model, "stability", model, Defaults(width=1024, height=1024, steps=0, guidance_scale=0.0),
        size_multiple=8, min_size=256, max_size=2048, remote=replace(remote, ignores=ignores, starts_from=starts_from),
    )  # fmt: skip


class Stability:
    """A painter that buys images from Stability."""

    def __init__(self, facts: ModelFacts, caller: Caller) -> None:
        self._facts = facts
        self._caller = caller
        self._name = facts.model.split(":", 1)[1]

    def ready(self) -> None:
        """Ask for the balance: the key is good, and there is something left. Raises BackendStopped when not."""
        told = self._caller.ask("GET", "/v1/user/balance", judge=_judge).json()
        credits = told.get("credits") if isinstance(told, dict) else None
        if isinstance(credits, int | float) and credits <= 0:
            raise BackendStopped(
                f"{self._caller.what}: the account has no credits left",
                hint="Buy credits, then run it again to continue.",
            )

    def check(self, recipe: Recipe) -> None:
        """Refuse shapes, options and schedulers that the model does not have."""
        known = {_STYLES} if self._name in ("core", "ultra") or not is_v2(self._name) else set()
        for name, _ in recipe.options:
            if name not in known:
                raise InputError(
                    f"{self._facts.model} takes no option {name!r}",
                    where="options",
                    hint=f"Known: {', '.join(known) or 'none'}.",
                )
        if is_v2(self._name):
            nearest_shape(recipe.width, recipe.height, SHAPES, self._facts.model)
        elif recipe.scheduler != "default" and recipe.scheduler not in _SAMPLERS:
            raise InputError(
                f"{self._facts.model} has no scheduler {recipe.scheduler}",
                where="scheduler",
                hint=f"Use one of {', '.join(_SAMPLERS)}.",
            )
        if len(recipe.prompt) > 10_000:
            raise InputError("the prompt has over 10,000 characters", where="prompt")

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """One image, bought; with `anew` as a request that the service has not seen."""
        self.check(recipe)
        cost = price_of(recipe, self._facts)
        seed = recipe.seed % MOST_SEED + 1
        told = (self._v2 if is_v2(self._name) else self._v1)(recipe, seed, request_key(recipe, anew=anew))
        reason = str(told.get("finish_reason") or told.get("finishReason") or "SUCCESS")
        if reason == "CONTENT_FILTERED":
            raise NoImage("Stability filtered the image (content policy)")
        image = told.get("image") or told.get("base64")
        if reason != "SUCCESS" or not isinstance(image, str):
            raise NoImage(f"the answer holds no image ({reason})")
        try:
            data = base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            raise NoImage("the image is not base64", cost=cost) from None
        return Picture(data, {"seed": told.get("seed", seed)}, cost)

    def close(self) -> None:
        """End waits and let connections go."""
        self._caller.close()

    def _v2(self, recipe: Recipe, seed: int, key: Mapping[str, str]) -> dict[str, Any]:
        fields = {"prompt": recipe.prompt, "seed": str(seed), "output_format": "png"}
        fields |= {name: str(value) for name, value in recipe.options}
        if recipe.negative_prompt:
            fields["negative_prompt"] = recipe.negative_prompt
        files: dict[str, Any] = {"none": ("", b"")}  # the form is multipart also without a file
        if recipe.init_image is not None:
            size = (recipe.width, recipe.height)
            picture = start_picture(
                Path(recipe.init_image), str(recipe.init_image_digest), *size, recipe.fit or DEFAULT_FIT
            )
            files = {"image": ("image.png", png_bytes(picture), "image/png")}
            fields["strength"] = str(recipe.strength)
        if recipe.init_image is None or self._name == "ultra":
            fields["aspect_ratio"] = nearest_shape(recipe.width, recipe.height, SHAPES, self._facts.model)
        route = self._name if self._name in ("core", "ultra") else "sd3"
        if route == "sd3":
            fields |= {
                "model": self._name,
                "mode": "image-to-image" if recipe.init_image else "text-to-image",
            }
        answer = self._caller.ask(
            "POST",
            f"/v2beta/stable-image/generate/{route}",
            judge=_judge,
            data=fields,
            files=files,
            headers={"Accept": "application/json", **key},
        )
        told = answer.json()
        return told if isinstance(told, dict) else {}

    def _v1(self, recipe: Recipe, seed: int, key: Mapping[str, str]) -> dict[str, Any]:
        texts = [{"text": recipe.prompt, "weight": 1}]
        if recipe.negative_prompt:
            texts.append({"text": recipe.negative_prompt, "weight": -1})
        request: dict[str, Any] = {
            "text_prompts": texts,
            "cfg_scale": recipe.guidance_scale,
            "width": recipe.width,
            "height": recipe.height,
            "steps": recipe.steps,
            "samples": 1,
            "seed": seed,
            **dict(recipe.options),
        }
        if recipe.scheduler != "default":
            request["sampler"] = _SAMPLERS[recipe.scheduler]
        answer = self._caller.ask(
            "POST",
            f"/v1/generation/{self._name}/text-to-image",
            judge=_judge,
            json=request,
            headers={"Accept": "application/json", **key},
        )
        told = answer.json()
        found = told.get("artifacts") if isinstance(told, dict) else None
        return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def _judge(answer: Answer) -> Problem | None:
    """What Stability's errors mean: {"name": …, "errors": […]} in v2beta, {"name": …, "message": …} in v1."""
    told = answer.words()
    name = str(told.get("name") or "") if isinstance(told, dict) else ""
    if answer.status == 402 or name in ("payment_required", "insufficient_balance"):
        return Problem(
            "stop",
            "says that the account has no credits left",
            hint="Buy credits, then run it again to continue.",
        )
    if name in ("content_moderation", "invalid_prompts"):
        return Problem("recipe", "refused the prompt (content policy)")
    if answer.status in (401, 403):
        return Problem(
            "stop", f"refuses the key ({answer.status})", hint="Check the key that the sweep names."
        )
    return None
