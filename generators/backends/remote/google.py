"""Google's Imagen, by the Gemini API or by Vertex AI.

After ai.google.dev/gemini-api/docs/imagen (POST v1beta/models/{model}:predict, key in x-goog-api-key) and Vertex AI's
Imagen reference (POST …/publishers/google/models/{model}:predict, OAuth token as bearer). One shape of
instances/parameters/predictions serves both. Without a seed: its invisible watermark (SynthID) rules seeds out.
Not tried against the real service.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from nonesuch.foundation.errors import InputError
from nonesuch.generators.backends.remote.drawing import Picture
from nonesuch.generators.backends.remote.http import Answer, Caller, NoImage, Problem
from nonesuch.generators.backends.remote.pace import retry_after
from nonesuch.generators.backends.remote.shapes import nearest_shape
from nonesuch.generators.models import Defaults, ModelFacts, Remote
from nonesuch.generators.prices import price_of
from nonesuch.generators.recipe import Recipe

URL: Final = "https://generativelanguage.googleapis.com/v1beta/models"
KEY: Final = "env:GEMINI_API_KEY"
VERTEX_KEY: Final = "env:GOOGLE_ACCESS_TOKEN"
IGNORES: Final = frozenset({"steps", "guidance", "scheduler", "dtype", "negative"})
SHAPES: Final = ("1:1", "3:4", "4:3", "9:16", "16:9")
_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "personGeneration": ("dont_allow", "allow_adult", "allow_all"),
    "sampleImageSize": ("1K", "2K"),
    "safetySetting": ("block_low_and_above", "block_medium_and_above", "block_only_high"),
    "language": ("auto", "en", "es", "hi", "ja", "ko", "pt", "zh", "zh-TW"),
}


def is_vertex(url: str) -> bool:
    """Whether an address is Vertex AI's, whose paths go by publisher."""
    return "/publishers/" in url


def facts_of(model: str, name: str, remote: Remote) -> ModelFacts:
    """What is known of a model; the service names no weights, so its name is its digest."""
    if not name.startswith("imagen-"):
        raise InputError(
            f"Google has no Imagen model {name!r}", where="model", hint="Use google:imagen-4.0-generate-001."
        )
    return ModelFacts(
        model,
        "google",
        model,
        Defaults(width=1024, height=1024, steps=0, guidance_scale=0.0),
        size_multiple=8,
        min_size=256,
        max_size=2816,
        remote=remote,
    )


class Imagen:
    """A painter that buys images from Google."""

    def __init__(self, facts: ModelFacts, caller: Caller, *, vertex: bool) -> None:
        self._facts = facts
        self._caller = caller
        self._name = facts.model.split(":", 1)[1]
        self._vertex = vertex

    def ready(self) -> None:
        """Ask for the model: the key is good for it. Vertex AI has no such question for Google's own models."""
        if not self._vertex:
            self._caller.ask("GET", f"/{self._name}", judge=_judge)

    def check(self, recipe: Recipe) -> None:
        """Refuse shapes and options that the model does not have."""
        nearest_shape(recipe.width, recipe.height, SHAPES, self._facts.model)
        for name, value in recipe.options:
            if name not in _OPTIONS:
                raise InputError(
                    f"{self._facts.model} takes no option {name!r}",
                    where="options",
                    hint=f"Known: {', '.join(_OPTIONS)}.",
                )
            if value not in _OPTIONS[name]:
                raise InputError(f"{name}: {value!r} is none of {', '.join(_OPTIONS[name])}", where="options")

    def paint(self, recipe: Recipe, *, anew: bool = False) -> Picture:
        """One image, bought; the API knows no request again, so `anew` changes nothing."""
        self.check(recipe)
        parameters: dict[str, Any] = {
            "sampleCount": 1,
            "aspectRatio": nearest_shape(recipe.width, recipe.height, SHAPES, self._facts.model),
            "includeRaiReason": True,
            **dict(recipe.options),
        }
        request = {"instances": [{"prompt": recipe.prompt}], "parameters": parameters}
        told = self._caller.ask("POST", f"/{self._name}:predict", judge=_judge, json=request).json()
        predictions = told.get("predictions") if isinstance(told, dict) else None
        first = predictions[0] if isinstance(predictions, list) and predictions else {}
        first = first if isinstance(first, dict) else {}
        image = first.get("bytesBase64Encoded")
        if not isinstance(image, str):
            # Filtered prompts are answered with 200 and without an image, and are not billed.
            why = first.get("raiFilteredReason") or (
                told.get("raiFilteredReason") if isinstance(told, dict) else None
            )
            raise NoImage(
                self._caller.clean(f"Google refused the prompt (content policy): {why or 'no reason given'}")
            )
        cost = price_of(recipe, self._facts)
        try:
            data = base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            raise NoImage("the image is not base64", cost=cost) from None
        rewritten = first.get("prompt")
        return Picture(data, {"revised_prompt": rewritten} if isinstance(rewritten, str) else {}, cost)

    def close(self) -> None:
        """End waits and let connections go."""
        self._caller.close()


def _judge(answer: Answer) -> Problem | None:
    """What Google's errors mean: {"error": {"code", "status", "message", "details": […]}}."""
    told = answer.words()
    error = told.get("error") if isinstance(told, dict) else None
    error = error if isinstance(error, dict) else {}
    details = [one for one in error.get("details") or () if isinstance(one, dict)]
    reasons = {str(one.get("reason")) for one in details}
    message = str(error.get("message") or "")
    if answer.status in (401, 403) or "API_KEY_INVALID" in reasons:
        return Problem(
            "stop", f"refuses the key ({answer.status})", hint="Check the key that the sweep names."
        )
    if answer.status == 404:
        return Problem("stop", "has no such model, or not for this key", hint="Check the model's name.")
    if answer.status == 429:
        quotas = " ".join(str(one.get("violations")) for one in details)
        if "PerDay" in quotas or "billing" in message.lower():
            return Problem(
                "stop", "the quota is used up", hint="Run the same command when there is quota again."
            )
        wait = retry_after(answer.headers.get("retry-after")) or _delay(details)
        return Problem(
            "again", "asks to slow down (429)", wait, in_the_end="stop", hint="Set per_minute lower."
        )
    if answer.status == 400 and re.search(r"responsible ai|safety|sensitive|violat", message, re.IGNORECASE):
        return Problem("recipe", f"refused the prompt (content policy): {message}")
    return None


def _delay(details: list[dict[str, Any]]) -> float | None:
    """Seconds of google.rpc.RetryInfo ("34.07s")."""
    for one in details:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(one.get("retryDelay") or ""))
        if found:
            return float(found[1])
    return None
