"""Scoring a batch of drawings: the score columns of their rows."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from nonesuch.flows.reporting import metrics
from nonesuch.flows.run import loaded_models
from nonesuch.flows.run.job import Job
from nonesuch.foundation.processor import waited
from nonesuch.generators.backends import Drawing
from nonesuch.scoring.base import Caption
from nonesuch.scoring.scores import score_images

_device = threading.Lock()  # two shards' batches side by side would only share the device between them


@dataclass(frozen=True, slots=True)
class Scored:
    """A drawing with what the scorers say of it."""

    drawing: Drawing
    scores: dict[str, Any]  # score columns of its row
    problem: str | None  # why it could not be scored


def score(drawings: Sequence[Drawing], job: Job) -> list[Scored]:
    """Each drawing with its row's score columns; drawings without an image have none.

    A scorer that fails leaves its batch unscored and says so; the images are kept.
    Raises DependencyError or ScoringError when the encoder can't be loaded.
    """
    drawn = [drawing for drawing in drawings if drawing.image is not None] if job.scorers else []
    if not drawn:
        return [Scored(drawing, {}, None) for drawing in drawings]
    encoder, scorers = loaded_models.scoring_for(job)
    captions = [Caption(d.recipe.prompt, dict(d.recipe.facets)) for d in drawn]
    try:
        with _device:
            begun, before = perf_counter(), waited()
            scores = score_images([d.image for d in drawn if d.image is not None], captions, encoder, scorers)
    except Exception as error:  # a user's own scorer may raise anything
        return [Scored(drawing, {}, f"scoring: {error}") for drawing in drawings]
    spent = perf_counter() - begun - (waited() - before)
    metrics.worked("score", spent, len(drawn))
    seconds = spent / len(drawn)
    by_id = {
        drawing.recipe.id: {
            **{name: values[place].item() for name, values in scores.columns.items()},
            "encoder": " ".join(scores.facts[f"encoder{part}"] for part in ("", "_tag", "_preprocessing")),
            "score_facts": json.dumps(scores.facts),
            "embedding": scores.embeddings[place].astype(np.float16),
            "score_seconds": seconds,
        }
        for place, drawing in enumerate(drawn)
    }
    return [Scored(drawing, by_id.get(drawing.recipe.id, {}), None) for drawing in drawings]
