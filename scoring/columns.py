"""Which columns scoring adds to a catalog: names, types and meanings, known without loading a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from nonesuch.foundation.errors import InputError

ColumnType = Literal["float32", "int32", "bool", "string"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a catalog, described in plain data so that other rooms need not import this one."""

    name: str  # lower case with underscores
    type: ColumnType  # the Arrow type's name
    doc: str  # meaning, range, unit


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
    from nonesuch.scoring.scorers import scorer_kind  # the registry knows the scorers, which know Column

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
