"""Scores of imported images: the encoder of their catalog, and the columns they fill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nonesuch.catalogs.query import Catalog
from nonesuch.catalogs.schema import catalog_schema
from nonesuch.catalogs.storage.parts import part_files
from nonesuch.foundation.errors import ScoringError
from nonesuch.foundation.images import RGB

if TYPE_CHECKING:
    import pyarrow as pa

    from nonesuch.scoring.base import Encoder, Scorer


@dataclass(frozen=True, slots=True)
class Scoring:
    """The encoder and the scorers of one import."""

    encoder: Encoder
    scorers: Sequence[Scorer]
    names: tuple[str, ...]  # of the scorers


def open_scoring(out: Path, names: tuple[str, ...], encoder: str | None, *, online: bool) -> Scoring | None:
    """The scorers, with `encoder`, else with the encoder of the catalog's embeddings, else with the embedded one.

    None when no scorer is asked for. Raises as nonesuch.scoring.encoders.open_encoder and nonesuch.scoring.scorers.open_scorers.
    """
    if not names:
        return None
    from nonesuch.choosing.like import catalog_encoder
    from nonesuch.scoring.encoders import open_encoder
    from nonesuch.scoring.scorers import open_scorers

    if encoder is None and part_files(out) and Catalog(out).count("encoder is not null"):
        opened = catalog_encoder(Catalog(out))
    else:
        opened = open_encoder(encoder or "embedded", online=online)
    return Scoring(opened, open_scorers(names, opened, online=online), names)


def import_schema(scoring: Scoring | None) -> pa.Schema:
    """The columns of imported rows."""
    if scoring is None:
        return catalog_schema({}, {}, None)
    from nonesuch.scoring.scorers import scoring_columns

    declared = scoring_columns(scoring.names)
    scores = {column.name: column.type for column in declared if column.type != "string"}
    return catalog_schema({}, scores, scoring.encoder.dim)


def score_rows(
    scoring: Scoring | None, images: Sequence[RGB], prompts: Sequence[str]
) -> list[dict[str, Any]]:
    """The score columns of each image, uint8 [H, W, 3]; an image without a prompt has no alignment.

    A scorer that fails leaves the images unscored, and their rows say so.
    """
    from nonesuch.scoring.base import Caption
    from nonesuch.scoring.scores import score_images

    if scoring is None or not images:
        return [{} for _ in images]
    captions = [Caption(prompt) for prompt in prompts]
    try:
        scores = score_images(images, captions, scoring.encoder, scoring.scorers)
    except ScoringError as error:
        return [{"status": "flagged", "reason": f"scoring: {error.message}"} for _ in images]
    facts = {
        "encoder": " ".join(scores.facts[f"encoder{part}"] for part in ("", "_tag", "_preprocessing")),
        "score_facts": json.dumps(scores.facts),
    }
    rows = []
    for place, prompt in enumerate(prompts):
        row = {name: values[place].item() for name, values in scores.columns.items()}
        if "alignment" in row and not prompt:
            row["alignment"] = None
        if row.get("safety_flag"):
            row |= {"status": "flagged", "reason": "its safety score is below the threshold"}
        rows.append(row | facts | {"embedding": scores.embeddings[place].astype(np.float16)})
    return rows
