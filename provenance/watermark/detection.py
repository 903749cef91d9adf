"""Looking for the mark: first as if nothing had happened to the picture, then over scale and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from foundation.errors import InputError
from provenance.watermark import bounds, geometry, layout, luma, reading, scan

SMALLEST = 48  # pixels on the shorter side below which nothing is looked for
_SMALL = 0.75  # scale under which the wide window shows more

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Transform:
    """What happened to the marked picture, as far as the mark tells."""

    scale: float  # size now over size when marked
    rotation: float  # degrees counter-clockwise, after the flip
    flip: bool  # mirrored left to right
    shift: tuple[int, int]  # rows and columns of the tile's origin, 0 to 127


@dataclass(frozen=True, slots=True)
class Detection:
    """A watermark that was found."""

    payload: int  # 64 bits
    score: float  # agreement of picture and whole pattern, in standard deviations
    pilot: float  # height of the pilot's peak, in standard deviations
    false_alarm: float  # upper bound on the probability that this search reports an unmarked picture
    transform: Transform


def detect(
    image: RGB, *, key: bytes | None = None, search: Literal["aligned", "full"] = "full"
) -> Detection | None:
    """The watermark of `image`, uint8 [H, W, 3], or None.

    "aligned" finds it at its own scale, cropped anywhere, mirrored or turned by quarters; "full"
    goes on to scales from 0.5 to 2 and any rotation. `key` as given to `embed`.
    Raises InputError for another kind of array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"a picture to check is {image.dtype} {list(image.shape)}", hint="Pass uint8 [H, W, 3]."
        )
    if min(image.shape[:2]) < SMALLEST:
        return None
    secret = layout.PUBLIC_KEY if key is None else key
    grey = luma.grey(image)
    found = reading.read(luma.carriers(luma.folded(grey)), secret, bounds.ALIGNED_THRESHOLD, spare=1)
    if found is not None:
        return _detection(found, 1.0, 0.0, bounds.ALIGNED_BOUND)
    if search == "aligned":
        return None
    from scipy import fft

    plane = grey.astype(np.float32)
    whole = bounds.ALIGNED_BOUND + bounds.SEARCH_BOUND
    # blur asks for the one, codecs that spare only coarse structure for the other
    even = luma.equalised(geometry.middle(plane, geometry.LARGEST))
    for flat, spare in ((even, 0), (luma.flatten(plane, luma.WIDE), 1)):
        groups = luma.carriers(luma.fold(flat), fft)
        found = reading.read(groups, secret, bounds.SEARCH_THRESHOLD, spare=spare, tries=4, fft=fft)
        if found is not None:
            return _detection(found, 1.0, 0.0, whole)
    for guess, window, spare in _guesses(plane, secret):
        upright = geometry.undo(plane, guess.scale, guess.rotation)
        groups = luma.carriers(luma.folded(upright, window), fft)
        found = reading.read(groups, secret, bounds.SEARCH_THRESHOLD, spare=spare, tries=1, fft=fft)
        if found is not None:
            return _detection(found, guess.scale, guess.rotation, whole)
    return None


def _guesses(plane: luma.Floats, key: bytes) -> Iterator[tuple[geometry.Geometry, int, int]]:
    """Guesses, likeliest first, the window to flatten with, and how many peaks below the threshold to decode."""
    flat = luma.flatten(plane)
    lattices = geometry.candidates(flat, bounds.LATTICES)
    yield from ((guess, _window(guess), 0) for guess in lattices[:4])
    guesses = scan.scan(flat, key)
    # only busy pictures come this far, whose pilot may stand just under the threshold
    best = guesses[0]
    yield best, _window(best), 1
    yield best, luma.WIDE + luma.WINDOW - _window(best), 0
    yield from ((guess, _window(guess), 0) for guess in [*guesses[1:], *lattices[4:]])


def _window(guess: geometry.Geometry) -> int:
    # a picture made smaller has lost its fine structure, and shows none when it is made larger again
    return luma.WIDE if guess.scale < _SMALL else luma.WINDOW


def _detection(found: reading.Reading, scale: float, rotation: float, bound: float) -> Detection:
    flip = found.turn >= 4
    rotation = (rotation + 90.0 * (found.turn % 4) + 180.0) % 360.0 - 180.0
    return Detection(
        found.payload, found.margin, found.pilot, bound, Transform(scale, rotation, flip, found.shift)
    )
