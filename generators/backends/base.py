"""What every backend is: it knows its model, loads it, and draws recipes one batch after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

from nonesuch.foundation.errors import DrawingError
from nonesuch.foundation.images import RGB
from nonesuch.generators.models import ModelFacts
from nonesuch.generators.recipe import Recipe
from nonesuch.generators.sweepfile.connections import Connection


@dataclass(frozen=True, slots=True)
class Origin:
    """Whether an image was drawn when it was asked for, and how that is known."""

    drawn: bool | None  # False: it lay ready somewhere; None: what it came from does not say
    evidence: str  # how that is known, as words for a report


DRAWN_HERE: Final = Origin(True, "drawn here, by this process")
NOT_SAID: Final = Origin(None, "its backend does not say whether it drew")


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
    original: bytes | None = field(
        default=None, repr=False
    )  # the file of a service, whose credential stays a parent
    facts: Mapping[str, Any] = field(
        default_factory=dict
    )  # catalog columns that only the backend knows, such as cost
    origin: Origin = NOT_SAID  # whether it was drawn for this call


class BackendStopped(DrawingError):
    """Nothing more can be drawn in this run: a refused key, a used-up quota, an engine that is gone.

    What was drawn before is kept; the run ends with this message.
    """


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


@runtime_checkable
class RemoteKind(BackendKind, Protocol):
    """A kind whose models another program or service draws with."""

    def describe_remote(
        self, model: str, revision: str | None, *, folder: Path, network: bool, connection: Connection
    ) -> ModelFacts:
        """As describe, with the sweep's settings of the engine. An engine on this machine is asked in any case,
        another one only where `network` allows it."""
        ...


@runtime_checkable
class Anew(Protocol):
    """A backend whose `draw` may bring an image that lies ready: an engine's history, a kept answer."""

    def draw_anew(self, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
        """As `draw`, past everything that is kept here or there, as far as the engine allows; each drawing's
        `origin` says whether that is known to have worked."""
        ...


@runtime_checkable
class Spooling(Protocol):
    """A backend that keeps what was paid for until the catalog has it."""

    def published(self, recipes: Sequence[Recipe]) -> None:
        """The rows of these recipes are in the catalog."""
        ...


def draw_anew(backend: Backend, recipes: Sequence[Recipe]) -> Iterator[Drawing]:
    """The recipes' drawings, none of them an image that lay ready where the backend can avoid it."""
    return backend.draw_anew(recipes) if isinstance(backend, Anew) else backend.draw(recipes)
