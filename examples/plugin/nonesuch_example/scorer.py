"""The scorer `warmth`: how much more red than blue a picture is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nonesuch.plugins import Batch, Column, Setting


class Warmth:
    """The mean of red minus blue, -1 to 1."""

    name = "warmth"

    def __init__(self, setting: Setting) -> None:
        self.facets: Sequence[str] = ()
        self.facts: dict[str, str] = {}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (Column("warmth", "float32", "mean of red minus blue, -1 to 1"),)

    def score(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        warmth = [image[..., 0].mean() - image[..., 2].mean() for image in batch.images]
        return {"warmth": np.array(warmth, np.float32) / 255}
