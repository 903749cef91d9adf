"""The protocol of a watermark algorithm, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Found:
    """A payload that a watermark's reader believes in."""

    payload: int  # 64 bits
    false_alarm: float  # upper bound on the probability that a check reports an unmarked image


class Algorithm(Protocol):
    """A watermark of 64 bits."""

    @property
    def name(self) -> str:
        """The algorithm in a C2PA soft binding."""

    def embed(self, image: RGB, payload: int) -> RGB:
        """A marked copy of `image`, uint8 [H, W, 3]. Raises InputError for what can't be marked."""

    def detect(self, image: RGB) -> Found | None:
        """What `image`, uint8 [H, W, 3], bears, or None."""
