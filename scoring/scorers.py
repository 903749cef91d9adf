"""The protocol of a scorer, the registry of scorers, and opening the ones that a sweep asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy.typing as npt

from nonesuch.foundation.registry import Registry
from nonesuch.scoring.columns import Column, scoring_columns
from nonesuch.scoring.encoders import Encoder
from nonesuch.scoring.measures.aesthetic import Aesthetic
from nonesuch.scoring.measures.alignment import Alignment
from nonesuch.scoring.measures.facet_recognition import Facets
from nonesuch.scoring.measures.safety import Safety
from nonesuch.scoring.measures.technical import Technical
from nonesuch.scoring.scores import Batch

DEFAULT_SCORERS = ("alignment", "facets", "aesthetic", "technical", "safety")


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a scorer may need to know when it is opened."""

    encoder: Encoder  # the one whose embeddings it will see
    facet_texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # facet → value name → text
    template: str | None = None  # the prompt with {facet} in the facets' places
    aesthetic_head: str | None = None  # name or file of a head; None: the one that fits the encoder
    safety_threshold: float | None = None  # pictures whose safety is below it are flagged; None: see Safety
    online: bool = False  # whether weights may be fetched


class Scorer(Protocol):
    """One kind of score. Register the class itself: it is constructed with a Setting when a sweep opens it.

    A package adds its own under the entry point group `nonesuch.scorers`.
    """

    @property
    def name(self) -> str:
        """What a sweep file calls it."""

    @property
    def facets(self) -> Sequence[str]:
        """The facets it was opened for, handed to `columns`; empty where it needs none."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Values of its string columns, the same for every picture."""

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        """The columns it fills; `facets` are those that have texts. Called without any weights."""

    def score(self, batch: Batch) -> Mapping[str, npt.NDArray[Any]]:
        """One array [N] for each of its columns that is not a string."""


SCORERS: Registry[Scorer] = Registry("scorer", "scorers")
SCORERS.register("alignment", Alignment)
SCORERS.register("facets", Facets)
SCORERS.register("aesthetic", Aesthetic)
SCORERS.register("technical", Technical)
SCORERS.register("safety", Safety)


def scorer_kind(name: str) -> type[Scorer]:
    """The class registered as `name`. Raises InputError for an unknown one."""
    return cast(type[Scorer], SCORERS.get(name))


def open_scorers(
    names: Sequence[str],
    encoder: Encoder,
    *,
    facet_texts: Mapping[str, Mapping[str, str]] | None = None,
    template: str | None = None,
    aesthetic_head: str | None = None,
    safety_threshold: float | None = None,
    online: bool = False,
) -> list[Scorer]:
    """The scorers `names`, ready for score_images with the same `encoder`.

    facet_texts: for each facet, the text of every value by its name, in the sweep's order.
    template: the prompt with {facet} in the facets' places; see nonesuch.scoring.measures.facet_recognition.
    aesthetic_head: see nonesuch.scoring.measures.aesthetic. safety_threshold: 0 to 1, or None for the default; see nonesuch.scoring.measures.safety.
    Raises InputError for unknown names, clashing columns and a head that doesn't fit the encoder,
    DependencyError for weights that aren't on this machine.
    """
    setting = Setting(encoder, facet_texts or {}, template, aesthetic_head, safety_threshold, online)
    scoring_columns(names, list(setting.facet_texts))
    kinds = [SCORERS.get(name) for name in names]
    return [kind(setting) for kind in kinds]
