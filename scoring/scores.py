"""Scoring a batch: one embedding per image, passed to every scorer, collected into columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import NonesuchError, ScoringError
from nonesuch.foundation.images import RGB
from nonesuch.scoring.base import Batch, Caption, Encoder, Scores

if TYPE_CHECKING:
    from nonesuch.scoring.base import Scorer

_DTYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


def score_images(
    images: Sequence[RGB], captions: Sequence[Caption], encoder: Encoder, scorers: Sequence[Scorer]
) -> Scores:
    """Embed each image (uint8 [H, W, 3], any sizes) once and let every scorer work on the embeddings.

    Raises ScoringError when a scorer fails or does not fill its columns; the message names the scorer.
    """
    if len(images) != len(captions):
        raise ScoringError(f"{len(images)} images came with {len(captions)} captions")
    batch = Batch(images, encoder.images(images), captions)
    columns: dict[str, npt.NDArray[Any]] = {}
    facts = encoder_facts(encoder)
    for scorer in scorers:
        columns |= _run(scorer, batch)
        facts |= scorer.facts
    return Scores(columns, batch.embeddings, facts)


def encoder_facts(encoder: Encoder) -> dict[str, str]:
    """The values of ENCODER_COLUMNS for rows scored with `encoder`."""
    return {
        "encoder": encoder.name,
        "encoder_tag": encoder.tag,
        "encoder_preprocessing": encoder.preprocessing,
        "encoder_precision": encoder.precision,
        "encoder_digest": encoder.digest or "",
    }


def _run(scorer: Scorer, batch: Batch) -> dict[str, npt.NDArray[Any]]:
    """The scorer's columns in their declared types, each [N]."""
    try:
        scores = scorer.score(batch)
    except NonesuchError:
        raise
    except Exception as error:  # a user's own scorer may raise anything
        raise ScoringError(f"the scorer {scorer.name!r} failed: {error!r}") from error
    declared = {c.name: c.type for c in scorer.columns(scorer.facets) if c.type != "string"}
    if set(scores) != set(declared):
        raise ScoringError(
            f"the scorer {scorer.name!r} declares the columns {sorted(declared)} but filled {sorted(scores)}"
        )
    columns = {name: np.asarray(values) for name, values in scores.items()}
    for name, values in columns.items():
        if values.shape != (len(batch.images),):
            raise ScoringError(
                f"the scorer {scorer.name!r} filled {name!r} with shape {list(values.shape)}, "
                f"not one value for each of {len(batch.images)} images"
            )
    return {name: values.astype(_DTYPES[declared[name]]) for name, values in columns.items()}
