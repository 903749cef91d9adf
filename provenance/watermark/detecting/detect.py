"""Searching for the watermark: first as if the image were unchanged, then over scale and rotation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError
from nonesuch.provenance.watermark.detecting import geometry, message, scan
from nonesuch.provenance.watermark.pattern import bounds, layout, luma

SMALLEST = 48  # pixels on the shorter side below which nothing is looked for
_SMALL = 0.75  # scale under which the wide window shows more

RGB = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Transform:
    """What happened to the marked image, as far as the watermark tells."""

    scale: float  # size now over size when marked
    rotation: float  # degrees counter-clockwise, after the flip
    flip: bool  # mirrored left to right
    shift: tuple[int, int]  # rows and columns of the tile's origin, 0 to 127


@dataclass(frozen=True, slots=True)
class Detection:
    """A watermark that was found."""

    payload: int  # 64 bits
    score: float  # agreement of image and whole pattern, in standard deviations
    pilot: float  # height of the pilot's peak, in standard deviations
    false_alarm: float  # upper bound on the probability that this search reports an unmarked image
    transform: Transform


@dataclass(frozen=True, slots=True)
class _Look:
    guess: geometry.Geometry
    spare: int = 0  # peaks below the threshold that are believed when their check agrees
    turns: int = len(layout.DIHEDRAL)  # a scan looks at unturned images only
    other_window: bool = False

    @property
    def window(self) -> int:
        # an image made smaller has lost its fine structure, and shows none when it is made larger again
        wide = (self.guess.scale < _SMALL) != self.other_window
        return luma.WIDE if wide else luma.WINDOW


def detect(
    image: RGB, *, key: bytes | None = None, search: Literal["aligned", "full"] = "full"
) -> Detection | None:
    """The watermark of `image`, uint8 [H, W, 3], or None.

    "aligned" finds it at its own scale, cropped anywhere, mirrored or turned by quarters; "full"
    continues with scales from 0.5 to 2 and any rotation. `key` as given to `embed`.
    Raises InputError for another kind of array or search.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"an image to check is {image.dtype} {list(image.shape)}", hint="Pass uint8 [H, W, 3]."
        )
    if search not in ("aligned", "full"):
        raise InputError(f"there is no search {search!r}", hint='It is "aligned" or "full".')
    if min(image.shape[:2]) < SMALLEST:
        return None
    secret = layout.PUBLIC_KEY if key is None else key
    grey = luma.grey(image)
    found = message.read(luma.carriers(luma.folded(grey)), secret, bounds.ALIGNED_THRESHOLD, spare=1)
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
        found = message.read(groups, secret, bounds.SEARCH_THRESHOLD, spare=spare, tries=4, fft=fft)
        if found is not None:
            return _detection(found, 1.0, 0.0, whole)
    for look in _looks(plane, secret):
        upright = geometry.undo(plane, look.guess.scale, look.guess.rotation)
        groups = luma.carriers(luma.folded(upright, look.window), fft)
        found = message.read(
            groups, secret, bounds.SEARCH_THRESHOLD, spare=look.spare, tries=1, turns=look.turns, fft=fft
        )
        if found is not None:
            return _detection(found, look.guess.scale, look.guess.rotation, whole)
    return None


def _looks(plane: luma.Floats, key: bytes) -> Iterator[_Look]:
    """What to look at, likeliest first."""
    flat = luma.flatten(plane)
    lattices = geometry.candidates(flat, bounds.LATTICES)
    yield from map(_Look, lattices[:4])
    scanned = scan.scan(flat, key)
    # only busy images come this far, whose pilot may stand just under the threshold
    best = scanned[0]
    yield _Look(best, spare=1, turns=1)
    yield _Look(best, other_window=True, turns=1)
    yield from (_Look(guess, turns=1) for guess in scanned[1:])
    yield from map(_Look, lattices[4:])


def _detection(found: message.Reading, scale: float, rotation: float, bound: float) -> Detection:
    flip = found.turn >= 4
    rotation = (rotation + 90.0 * (found.turn % 4) + 180.0) % 360.0 - 180.0
    return Detection(
        found.payload, found.margin, found.pilot, bound, Transform(scale, rotation, flip, found.shift)
    )
