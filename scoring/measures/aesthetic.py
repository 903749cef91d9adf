"""Aesthetic: how much people liked images whose embeddings were like this one's, by a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nonesuch.foundation.errors import InputError
from nonesuch.scoring.base import Column, Floats
from nonesuch.scoring.heads import open_head

if TYPE_CHECKING:
    from nonesuch.scoring.base import Batch, Setting


class Aesthetic:
    """The head's answer for the image's embedding.

    LAION's linear heads (trained on ratings 1 to 10 of Simulacra) and the improved predictor (on Simulacra,
    AVA and logos; Schuhmann 2022) answer roughly 1 to 10, without bounds; higher is better liked. The
    embedded head was trained to prefer clean images over damaged ones and knows nothing of taste; its
    scale is its own. Scores of different heads can't be compared, so every row names its head.
    """

    name = "aesthetic"

    def __init__(self, setting: Setting) -> None:
        self._head = open_head(setting.aesthetic_head, setting.encoder, online=setting.online)
        if self._head.dim != setting.encoder.dim:
            raise InputError(
                f"the aesthetic head {self._head.name!r} takes embeddings of {self._head.dim} numbers, "
                f"the encoder {setting.encoder.name} makes {setting.encoder.dim}"
            )
        self.facets: Sequence[str] = ()
        self.facts = {
            "aesthetic_head": self._head.name,
            "aesthetic_digest": self._head.digest,
        }

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (
            Column("aesthetic", "float32", "answer of the aesthetic head, without bounds, higher is better"),
            Column("aesthetic_head", "string", "name of the head"),
            Column("aesthetic_digest", "string", "SHA-256 of the head's weight file, its version"),
        )

    def score(self, batch: Batch) -> dict[str, Floats]:
        return {"aesthetic": self._head.score(batch.embeddings)}
