"""The noise backend: a seeded noise image for every recipe, for dry runs of everything around drawing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from nonesuch.generators.backends.base import DRAWN_HERE, Drawing
from nonesuch.generators.models import Defaults, ModelFacts
from nonesuch.generators.recipe import Recipe

_FACTS: Final = ModelFacts(
    model="noise",
    backend="noise",
    digest="noise/1",
    defaults=Defaults(width=128, height=128, steps=1, guidance_scale=0.0, dtype="float32"),
    size_multiple=1,
    min_size=8,
    max_size=16384,
)


class NoiseBackend:
    """Uniform noise, the same for the same recipe id on every machine."""

    facts = _FACTS

    def load(self) -> None:
        """There is nothing to load."""

    def check(self, recipe: Recipe) -> None:
        """Noise can be drawn for every recipe."""

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """One noise image for each recipe."""
        for recipe in recipes:
            start = time.perf_counter()
            words = np.random.PCG64(int(recipe.id, 16)).random_raw(-(-recipe.width * recipe.height * 3 // 8))
            pixels = words.astype("<u8").view(np.uint8)[: recipe.width * recipe.height * 3]
            image = pixels.reshape(recipe.height, recipe.width, 3)
            seconds = time.perf_counter() - start
            yield Drawing(recipe, image, "ok", "", seconds, 1, "cpu", "uint8", origin=DRAWN_HERE)

    def close(self) -> None:
        """There is nothing to give back."""


class NoiseKind:
    """Describes and opens the noise backend."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """The noise backend's facts."""
        return _FACTS

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> NoiseBackend:
        """A noise backend."""
        return NoiseBackend()
