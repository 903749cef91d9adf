"""What an image of a hosted service costs, in US dollars, before it is drawn.

The table holds list prices as public pages gave them in mid-2026, without taxes, discounts and free credits; it was
not measured against a bill. `price` in the sweep's `engines` overrides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe

AS_OF: Final = "2026-06"
_SQUARE: Final = (1024, 1024)
# By quality, for square and for longer images.
_OPENAI: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "dall-e-3": {"standard": (0.04, 0.08), "hd": (0.08, 0.12)},
    "gpt-image-1": {"low": (0.01088, 0.01632), "medium": (0.04224, 0.06336), "high": (0.1664, 0.2496)},
    "gpt-image-1-mini": {"low": (0.002176, 0.003264), "medium": (0.008448, 0.012672), "high": (0.03328, 0.04992)},
    "gpt-image-1.5": {"low": (0.008704, 0.013056), "medium": (0.033792, 0.050688), "high": (0.13312, 0.19968)},
}  # fmt: skip
_DALL_E_2: Final = {256: 0.016, 512: 0.018, 1024: 0.02}  # by side
# Dollars per token of text and of images that go in, and of what comes out.
_TOKENS: Final[Mapping[str, tuple[float, float, float]]] = {
    "gpt-image-1": (5e-6, 10e-6, 40e-6),
    "gpt-image-1-mini": (2e-6, 2.5e-6, 8e-6),
    "gpt-image-1.5": (5e-6, 8e-6, 32e-6),
}
_FLAT: Final[Mapping[str, float]] = {
    "stability:core": 0.03,
    "stability:ultra": 0.08,
    "stability:sd3.5-large": 0.065,
    "stability:sd3.5-large-turbo": 0.04,
    "stability:sd3.5-medium": 0.035,
    "google:imagen-4.0-fast-generate-001": 0.02,
    "google:imagen-4.0-generate-001": 0.04,
    "google:imagen-4.0-ultra-generate-001": 0.06,
    "google:imagen-3.0-generate-002": 0.03,
}


def price_of(recipe: Recipe, facts: ModelFacts) -> float | None:
    """What a recipe's image will cost: 0 for models that cost nothing, None where no price is known.

    Where the service chooses a quality itself (`auto`, or none given), the dearest counts.
    """
    remote = facts.remote
    if remote is None or not remote.paid:
        return 0.0
    if remote.connection.price is not None:
        return remote.connection.price
    name = facts.model.split(":", 1)[-1]
    if facts.model in _FLAT:
        return _FLAT[facts.model]
    if name == "dall-e-2":
        return _DALL_E_2.get(recipe.width)
    qualities = _OPENAI.get(name) if facts.backend == "openai" else None
    if qualities is None:
        return None
    asked = dict(recipe.options).get("quality")
    default = "standard" if name == "dall-e-3" else "high"
    square, longer = qualities.get(str(asked), qualities[default])
    return square if (recipe.width, recipe.height) == _SQUARE else longer


def price_of_tokens(model: str, usage: Any) -> float | None:
    """What OpenAI's `usage` comes to, None where it says nothing or the model's token price is not known."""
    prices = _TOKENS.get(model)
    if prices is None or not isinstance(usage, dict):
        return None
    details = usage.get("input_tokens_details")
    details = details if isinstance(details, dict) else {}
    counts = (
        details.get("text_tokens", usage.get("input_tokens")),
        details.get("image_tokens", 0),
        usage.get("output_tokens"),
    )
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return None
    dollars = sum(price * float(count or 0) for price, count in zip(prices, counts, strict=True))
    return round(dollars, 6)
