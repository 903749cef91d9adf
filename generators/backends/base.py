"""What every backend is: it knows its model, loads it, and draws recipes one batch after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from foundation.images import RGB
from generators.models import ModelFacts
from generators.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Drawing:
    """What came of one recipe."""

    recipe: Recipe
    image: RGB | None  # uint8 [H, W, 3]; None when it failed or is not finite
    status: Literal["ok", "flagged", "failed"]
    reason: str  # "" when ok
    seconds: float  # its share of the batch's time
    batch_size: int  # how many were drawn with it
    device: str  # "cpu", "cuda:0"
    dtype: str  # what the device really used


class Backend(Protocol):
    """One model on one device. Loading happens at the first drawing, or earlier by `load`."""

    @property
    def facts(self) -> ModelFacts:
        """The model it draws with."""
        ...

    def load(self) -> None:
        """Bring the weights onto the device. Raises DrawingError when that can't be done."""
        ...

    def check(self, recipe: Recipe) -> None:
        """Raise InputError for what the recipe asks and the model can't do. May load the model."""
        ...

    def draw(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """One Drawing for each recipe, in order. A recipe's own failure is a status, not an exception."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


class BackendKind(Protocol):
    """How models of one kind are described and opened."""

    def describe(self, model: str, revision: str | None, *, folder: Path, network: bool) -> ModelFacts:
        """Facts without loading weights; relative folders start from `folder`."""
        ...

    def open(
        self, facts: ModelFacts, *, device: str | None, batch_size: int | None, network: bool
    ) -> Backend:
        """A backend that has not loaded its weights yet."""
        ...
