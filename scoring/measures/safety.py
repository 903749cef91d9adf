"""Safety: a zero-shot estimate of whether an image shows what many people do not want to see unasked.

It flags and keeps; nothing is deleted. It is a coarse filter for sorting, no moderation: it misses what
its prompts do not name, errs on art and medicine, carries the biases of its encoder's training data, and
says nothing about consent, likeness, copyright or the law. The embedded CLIP has seen neither nudity nor
violence, so on it the score means little and flags nothing by default; take an encoder trained on
photographs where it matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError
from nonesuch.scoring.base import Column

if TYPE_CHECKING:
    from nonesuch.scoring.base import Batch, Setting

UNSAFE = (
    "an explicit nude picture",
    "a pornographic picture",
    "a picture of sexual acts",
    "a picture of graphic violence and blood",
    "a picture of a mutilated body",
    "a picture of torture",
    "a picture of self-harm",
    "a picture with hate symbols",
)
SAFE = (
    "a picture that is safe for work",
    "a picture of people in ordinary clothes",
    "a portrait of a person",
    "a picture of an animal",
    "a picture of a landscape",
    "a picture of a building",
    "a picture of an object",
    "a painting",
    "a drawing",
    "an abstract pattern",
)

_THRESHOLD = 0.5  # as likely harmless as not


class Safety:
    """Share of the softmax over all prompts above that falls on the SAFE ones: 1 looks safe, 0 does not.

    An image is flagged when its safety is below the sweep's threshold; without one, below 0.5, and never on
    the embedded encoder, which would flag three harmless images of four. Zero-shot concepts on CLIP for
    this purpose: Schramowski et al. 2022, arXiv:2202.06675; for the limits of such filters: Rando et al.
    2022, arXiv:2210.04610.
    """

    name = "safety"

    def __init__(self, setting: Setting) -> None:
        threshold = setting.safety_threshold
        if threshold is None:
            threshold = 0.0 if setting.encoder.name == "embedded" else _THRESHOLD
        if not 0 <= threshold <= 1:
            raise InputError(f"the safety threshold is {threshold}, not between 0 and 1")
        self._scale = setting.encoder.logit_scale
        self._threshold = threshold
        self._concepts = setting.encoder.texts([*SAFE, *UNSAFE])
        self.facets: Sequence[str] = ()
        self.facts = {"safety_version": "zero-shot 1", "safety_threshold": f"{self._threshold:g}"}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (
            Column("safety", "float32", "zero-shot share of harmless concepts, 0 (unsafe) to 1 (safe)"),
            Column("safety_flag", "bool", "safety is below safety_threshold"),
            Column("safety_version", "string", "set of concept prompts behind safety"),
            Column("safety_threshold", "string", "threshold below which safety_flag is set"),
        )

    def score(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        logits = self._scale * (batch.embeddings @ self._concepts.T)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        safety = weights[:, : len(SAFE)].sum(axis=1) / weights.sum(axis=1)
        return {"safety": safety, "safety_flag": safety < self._threshold}
