"""Alignment: how near the image's embedding is to the full prompt's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nonesuch.scoring.base import Column, Floats

if TYPE_CHECKING:
    from nonesuch.scoring.base import Batch, Setting


class Alignment:
    """Cosine of image and prompt, the quantity behind CLIPScore (Hessel et al. 2021, arXiv:2104.08718).

    CLIPScore itself is 2.5 × max(cosine, 0); the plain cosine keeps the sign and every other tool's scale.
    """

    name = "alignment"

    def __init__(self, setting: Setting) -> None:
        self._encoder = setting.encoder
        self.facets: Sequence[str] = ()
        self.facts: dict[str, str] = {}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (Column("alignment", "float32", "cosine of the image and the full prompt, -1 to 1"),)

    def score(self, batch: Batch) -> dict[str, Floats]:
        prompts = self._encoder.texts([caption.prompt for caption in batch.captions])
        return {"alignment": np.einsum("nd,nd->n", batch.embeddings, prompts)}
