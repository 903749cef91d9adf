"""Technical quality of the pixels themselves: sharpness, contrast, clipping, blankness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nonesuch.foundation.images import RGB
from nonesuch.scoring.base import Column, Floats

if TYPE_CHECKING:
    from nonesuch.scoring.base import Batch, Setting

_EDGE = 2  # bytes from the ends of the scale that count as clipped
_GRID = 16  # blankness looks at 16 × 16 cells
_FLAT = 2.0  # standard deviation in bytes up to which a cell is empty: compression and dither stay below


class Technical:
    """Four figures from the pixels, none of which knows what the image shows.

    Luma is Rec. 601, 0 to 255. Sharpness depends on the image's size; compare images of one size.
    """

    name = "technical"

    def __init__(self, setting: Setting) -> None:
        self.facets: Sequence[str] = ()
        self.facts: dict[str, str] = {}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        return (
            Column(
                "sharpness",
                "float32",
                "variance of the luma's Laplacian, 0 up; photographs below about 100 look blurred",
            ),
            Column("contrast", "float32", "standard deviation of the luma divided by 255, 0 to 0.5"),
            Column("clipping", "float32", "share of pixels with luma at an end of the scale, 0 to 1"),
            Column("blankness", "float32", "share of 16 x 16 cells without any variation, 0 to 1"),
        )

    def score(self, batch: Batch) -> dict[str, Floats]:
        figures = np.array([_measure(image) for image in batch.images], np.float32).reshape(-1, 4)
        names = ("sharpness", "contrast", "clipping", "blankness")
        return {name: figures[:, place] for place, name in enumerate(names)}


def _measure(image: RGB) -> tuple[float, float, float, float]:
    """Sharpness, contrast, clipping and blankness of one uint8 [H, W, 3] image.

    - Sharpness: variance of the 4-neighbour Laplacian (Pech-Pacheco et al. 2000, "Diatom autofocusing in
      brightfield microscopy: a comparative study", ICPR). Noise raises it as detail does.
    - Contrast: RMS contrast (Peli 1990, "Contrast in complex images", JOSA A 7).
    - Clipping: share of pixels whose luma is at most 2 or at least 253.
    - Blankness: share of cells of a 16 × 16 grid in which every channel's standard deviation is at most 2;
      1 for a single colour, the black frames of a failed decoder among them.
    """
    import cv2

    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, spread = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S, ksize=1))
    _, deviation = cv2.meanStdDev(luma)
    clipped = np.count_nonzero(luma <= _EDGE) + np.count_nonzero(luma >= 255 - _EDGE)
    return (
        float(spread[0, 0]) ** 2,
        float(deviation[0, 0]) / 255,
        clipped / luma.size,
        _blank_share(image),
    )


def _blank_share(image: RGB) -> float:
    import cv2

    pixels = image.astype(np.float32)
    mean = cv2.resize(pixels, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    square = cv2.resize(pixels * pixels, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    variance = (square - mean * mean).max(axis=2)
    return float((variance <= _FLAT**2).mean())
