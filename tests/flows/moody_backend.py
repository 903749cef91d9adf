"""A backend in a bad mood, for tests of recipes that fail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nonesuch.generators.backends import Backend, Drawing, open_backend
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe


class Moody:
    """The noise backend with a temper: seed 1 fails while `failing` is set, seed 2 comes out black."""

    failing = True

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts
        self._noise: Backend = open_backend("noise")

    def load(self) -> None:
        self._noise.load()

    def check(self, recipe: Recipe) -> None:
        self._noise.check(recipe)

    def close(self) -> None:
        self._noise.close()

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        for drawing in self._noise.draw(recipes):
            if drawing.recipe.seed == 1 and Moody.failing:
                yield replace(drawing, image=None, status="failed", reason="in a bad mood")
            elif drawing.recipe.seed == 2:
                black = np.zeros((64, 64, 3), np.uint8)
                yield replace(drawing, image=black, status="flagged", reason="every pixel is black")
            else:
                yield drawing


class MoodyKind:
    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        return replace(open_backend("noise").facts, model=model, backend="moody", digest="moody/1")

    def open(self, facts: ModelFacts, **_: Any) -> Backend:
        return Moody(facts)
