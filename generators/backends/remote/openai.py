"""OpenAI's Images API: DALL·E 2 and 3, GPT Image.

After the API reference at platform.openai.com (OpenAPI description 2.x): POST /v1/images/generations, /v1/images/edits,
GET /v1/models/{model}; errors as {"error": {"code", "type", "message"}}. It has no seed: an image can't be drawn again.
Not tried against the real service.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.remote.a1111 import png_bytes
from nonesuch.generators.backends.remote.drawing import Picture, request_key
from nonesuch.generators.backends.remote.http import Answer, Caller, NoImage, Problem, by_status
from nonesuch.generators.backends.remote.pace import retry_after
from nonesuch.generators.init_images import DEFAULT_FIT, start_mask, start_picture
from nonesuch.generators.models import Defaults, ModelFacts, Remote
from nonesuch.generators.prices import price_of, price_of_tokens
from nonesuch.generators.recipe import Recipe

URL: Final = "https://api.openai.com/v1"
KEY: Final = "env:OPENAI_API_KEY"
IGNORES: Final = frozenset({"steps", "guidance", "scheduler", "dtype", "negative"})
# Options of a request by family of models, with their values; None leaves the value to the service.
_OPTIONS: Final[dict[str, dict[str, tuple[str, ...] | None]]] = {
    "dall-e-2": {},
    "dall-e-3": {"quality": ("standard", "hd"), "style": ("vivid", "natural")},
    "gpt-image": {
        "quality": ("low", "medium", "high", "auto"),
        "background": ("opaque", "transparent", "auto"),
        "moderation": ("auto", "low"),
    },
}
_MOST_WORDS: Final = {"dall-e-2": 1000, "dall-e-3": 4000, "gpt-image": 32_000}  # characters of a prompt
_REFUSED: Final = frozenset({"content_policy_violation", "moderation_blocked", "content_filter"})
_NO_MONEY: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_SIDES: Final = {
    "dall-e-2": ((256, 256), (512, 512), (1024, 1024)),
    "dall-e-3": ((1024, 1024), (1792, 1024), (1024, 1792)),
    "gpt-image": ((1024, 1024), (1536, 1024), (1024, 1536)),
}


def family(name: str) -> str:
    """The family that a model belongs to. Raises InputError for models that draw nothing."""
    for known in _OPTIONS:
        if name == known or (known == "gpt-image" and name.startswith("gpt-image-")):
            return known
    raise InputError(
        f"OpenAI has no image model {name!r} that is known here",
        where="model",
        hint="Use openai:gpt-image-1, openai:gpt-image-1-mini, openai:dall-e-3, or a newer openai:gpt-image-….",
    )


def facts_of(model: str, name: str, remote: Remote) -> ModelFacts:
    """What is known of a model; the service names no weights, so its name is its digest."""
    kind = family(name)
    free_sizes = kind == "gpt-image" and re.match(r"gpt-image-([2-9]|\d\d)", name) is not None
    return ModelFacts(
        model,
        "openai",
        model,
        Defaults(width=1024, height=1024, steps=0, guidance_scale=0.0),
        size_multiple=16,
        min_size=256,
        max_size=4096,
        sizes=() if free_sizes else _SIDES[kind],
        remote=remote,
    )


class OpenAI:
    """A painter that buys images from OpenAI."""

    def __init__(self, facts: ModelFacts, caller: Caller) -> None:
        self._facts = facts
        self._caller = caller
        self._name = facts.model.split(":", 1)[1]
        self._family = family(self._name)

    def ready(self) -> None:
        """Ask whether the key may use the model."""
        self._caller.ask("GET", f"/models/{self._name}", judge=judge)

    def check(self, recipe: Recipe) -> None:
        """Refuse options and values that the model does not have, and prompts that are too long."""
        known = _OPTIONS[self._family]
        for name, value in recipe.options:
            if name not in known:
                raise InputError(
                    f"{self._facts.model} takes no option {name!r}",
                    where="options",
                    hint=f"Known: {', '.join(known) or 'none'}.",
                )
            allowed = known[name]
            if allowed is not None and value not in allowed:
                raise InputError(f"{name}: {value!r} is none of {', '.join(allowed)}", where="options")
        if len(recipe.prompt) > _MOST_WORDS[self._family]:
            raise InputError(
                f"the prompt has {len(recipe.prompt):,} characters; {self._facts.model} takes {_MOST_WORDS[self._family]:,}",
                where="prompt",
            )

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """One image, bought; with `anew` as a request that the service has not seen."""
        self.check(recipe)
        fields: dict[str, Any] = {
            "model": self._name,
            "prompt": recipe.prompt,
            "n": 1,
            "size": f"{recipe.width}x{recipe.height}",
            **dict(recipe.options),
        }
        fields |= {"response_format": "b64_json"} if self._family != "gpt-image" else {"output_format": "png"}
        headers = request_key(recipe, anew=anew)
        if recipe.init_image is None:
            answer = self._caller.ask(
                "POST", "/images/generations", judge=judge, json=fields, headers=headers
            )
        else:
            files = _pictures(recipe)
            form = {name: str(value) for name, value in fields.items()}
            answer = self._caller.ask(
                "POST", "/images/edits", judge=judge, data=form, files=files, headers=headers
            )
        told = answer.json()
        usage = told.get("usage") if isinstance(told, dict) else None
        cost = self._facts.remote.connection.price if self._facts.remote else None
        if cost is None:
            cost = price_of_tokens(self._name, usage)
        if cost is None:
            cost = price_of(recipe, self._facts)
        image = _first(told, cost)
        said = {"revised_prompt": image["revised_prompt"]} if image.get("revised_prompt") else {}
        if isinstance(usage, dict):
            said["usage"] = usage
        if request_id := answer.headers.get("x-request-id"):
            said["request_id"] = request_id
        return Picture(_decoded(image["b64_json"], cost), said, cost)

    def close(self) -> None:
        """End waits and let connections go."""
        self._caller.close()


def judge(answer: Answer) -> Problem | None:
    """What OpenAI's errors mean: by their code, which says more than the status."""
    error = answer.words().get("error") if isinstance(answer.words(), dict) else None
    code = str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
    if code in _NO_MONEY:
        return Problem(
            "stop",
            f"says that the account has no quota left ({code})",
            hint="Buy credits, then run it again to continue.",
        )
    if code in _REFUSED:
        return Problem("recipe", "refused the prompt (content policy)")
    if answer.status == 401:
        return Problem("stop", "refuses the key (401)", hint="Check the key that the sweep names.")
    if answer.status == 403:
        return Problem(
            "stop", f"does not let this key use the model (403 {code})", hint="See the account's page."
        )
    if code == "model_not_found" or answer.status == 404:
        return Problem("stop", "has no such model, or not for this key", hint="Check the model's name.")
    if answer.status == 429:
        wait = retry_after(answer.headers.get("retry-after")) or _reset(answer)
        return Problem(
            "again", "asks to slow down (429)", wait, in_the_end="stop", hint="Set per_minute lower."
        )
    return by_status(answer) if answer.status >= 500 else None


def _reset(answer: Answer) -> float | None:
    """Seconds until the limit is fresh, as x-ratelimit-reset-requests says ("12s", "1m30s", "250ms")."""
    text = answer.headers.get("x-ratelimit-reset-requests", "")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    scale = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * scale[unit] for number, unit in parts) or None


def _first(told: Any, cost: float | None) -> dict[str, Any]:
    data = told.get("data") if isinstance(told, dict) else None
    if not isinstance(data, list) or not data or not isinstance(data[0], dict) or not data[0].get("b64_json"):
        raise NoImage("the answer holds no image", cost=cost)
    first: dict[str, Any] = data[0]
    return first


def _decoded(text: Any, cost: float | None) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise NoImage("the image is not base64", cost=cost) from None


def _pictures(recipe: Recipe) -> list[tuple[str, tuple[str, bytes, str]]]:
    """What an edit starts from: the image, and a mask that is transparent where it is drawn anew."""
    fit, size = recipe.fit or DEFAULT_FIT, (recipe.width, recipe.height)
    picture = start_picture(Path(str(recipe.init_image)), str(recipe.init_image_digest), *size, fit)
    files = [("image", ("image.png", png_bytes(picture), "image/png"))]
    if recipe.mask is not None:
        mask = start_mask(Path(recipe.mask), str(recipe.mask_digest), *size, fit)
        packed = io.BytesIO()
        Image.fromarray(np.dstack([picture, 255 - mask])).save(packed, "PNG")
        files.append(("mask", ("mask.png", packed.getvalue(), "image/png")))
    return files
