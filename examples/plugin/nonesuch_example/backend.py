"""The backend `stripes`: stripes in the colour that the prompt names; no model is needed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from nonesuch import InputError
from nonesuch.plugins import DRAWN_HERE, Defaults, Drawing, ModelFacts, Recipe

WIDTHS = {"narrow": 4, "wide": 16}  # px
COLOURS = {"red": (220, 40, 30), "blue": (30, 60, 220)}


class StripesKind:
    """Models named stripes:narrow and stripes:wide."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        if model.partition(":")[2] not in WIDTHS:
            raise InputError(f"{model!r} is none of stripes:narrow, stripes:wide", where="model")
        defaults = Defaults(width=128, height=128, steps=1, guidance_scale=0.0, dtype="float32")
        # The digest stands for the weights: another one is another picture.
        return ModelFacts(model=model, backend="stripes", digest=f"{model}/1", defaults=defaults)

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> Stripes:
        return Stripes(facts)


class Stripes:
    """Draws with one of the two models."""

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts

    def load(self) -> None:
        """Here weights would be brought onto the device."""

    def check(self, recipe: Recipe) -> None:
        if not any(colour in recipe.prompt for colour in COLOURS):
            raise InputError(
                f"names none of the colours {', '.join(COLOURS)}", where=f"prompt {recipe.prompt!r}"
            )

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        for recipe in recipes:
            start = time.perf_counter()
            colour = next(rgb for name, rgb in COLOURS.items() if name in recipe.prompt)
            width = WIDTHS[self.facts.model.partition(":")[2]]
            image = np.full((recipe.height, recipe.width, 3), 235, np.uint8)
            image[:, (np.arange(recipe.width) + recipe.seed) // width % 2 == 0] = colour
            seconds = time.perf_counter() - start
            yield Drawing(recipe, image, "ok", "", seconds, 1, "cpu", "uint8", origin=DRAWN_HERE)

    def close(self) -> None:
        """Here the memory would be given back."""
