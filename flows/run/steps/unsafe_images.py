"""Images whose safety score is below the sweep's threshold: kept, blurred or discarded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np

from nonesuch.flows.run.job import Job
from nonesuch.foundation.images import RGB
from nonesuch.generators.backends import Drawing

_CELLS: Final = (
    8  # a blurred image keeps this many means per side: its colours, nothing that can be recognised
)


def dealt_with(drawing: Drawing, scores: Mapping[str, Any], job: Job) -> tuple[Drawing, str | None]:
    """The drawing that is marked next, and what was done to it; without an image it was discarded.

    A service's own file goes with the image that it holds. The scores and the embedding are those of what was drawn.
    """
    way = job.sweep.scoring.unsafe
    if drawing.image is None or way == "keep" or not scores.get("safety_flag"):
        return drawing, None
    told = f"its safety score {scores['safety']:.2f} is below the sweep's threshold"
    if way == "discard":
        return dataclasses.replace(drawing, image=None, original=None), f"discarded: {told}"
    return dataclasses.replace(drawing, image=blurred(drawing.image), original=None), f"blurred: {told}"


def blurred(image: RGB) -> RGB:
    """uint8 [H, W, 3] with 8 x 8 colours, smoothly between them; what was lost can't be got back."""
    height, width = image.shape[:2]
    means = cv2.resize(image, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(means, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
