"""The protocol of a scorer, the registry of scorers, and opening those that a sweep names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.registry import Registry
from nonesuch.scoring.base import Column, Encoder, Scorer, Setting
from nonesuch.scoring.measures.aesthetic import Aesthetic
from nonesuch.scoring.measures.alignment import Alignment
from nonesuch.scoring.measures.facet_recognition import Facets
from nonesuch.scoring.measures.safety import Safety
from nonesuch.scoring.measures.technical import Technical

DEFAULT_SCORERS = ("alignment", "facets", "aesthetic", "technical", "safety")


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


ENCODER_COLUMNS = (
    Column("encoder", "string", "open_clip model that made the embedding, or 'embedded'"),
    Column("encoder_tag", "string", "pretrained tag, hub revision or start of the weights' digest"),
    Column(
        "encoder_preprocessing", "string", "size, resize mode, interpolation, mean and std before the encoder"
    ),
    Column("encoder_precision", "string", "fp32, or bf16 for bfloat16 autocast"),
    Column("encoder_digest", "string", "SHA-256 of the encoder's weight file, empty when it is not known"),
)


def scoring_columns(names: Iterable[str], facets: Sequence[str] = ()) -> tuple[Column, ...]:
    """Every column that the scorers `names` fill for a sweep with these facets, the encoder's facts first.

    `facets` are the facets that have texts (the keys of `facet_texts`). Loads no weights.
    Raises InputError for an unknown scorer and for two scorers that fill one column.
    """

    columns = list(ENCODER_COLUMNS)
    owners = {column.name: "the encoder" for column in columns}
    for name in names:
        for column in scorer_kind(name).columns(facets):
            if column.name in owners:
                raise InputError(
                    f"scorer {name!r} and {owners[column.name]} both fill the column {column.name!r}",
                    hint="Leave one of them out.",
                )
            owners[column.name] = f"scorer {name!r}"
            columns.append(column)
    return tuple(columns)
