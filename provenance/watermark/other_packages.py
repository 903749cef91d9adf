"""Reading the watermarks that other programs embed by default: SD 1.x's scripts and diffusers' SDXL pipelines.

Both use the dwtDct method of the package invisible-watermark (ShieldMnt, MIT): one level of a Haar
transform of the U plane, and in each 4 x 4 block of its low band the value of largest magnitude,
the corner excepted, moved to a quarter or three quarters of a step of 36. Blocks take the message's
bits in turn, row by row, so that a crop or a new size destroys the watermark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

_STEP = 36.0
_HAAR = 0.7071067811865476
_BLOCK = 4
_STRIP = 8  # rows of blocks at a time: memory that stays in the cache
_LEAST_PIXELS = 256 * 256  # the package marks nothing smaller
TARGET = 1e-9  # false alarms a check of one image for one watermark

RGB = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KnownMark:
    """A message that a program writes into everything it makes."""

    name: str
    generator: str  # what writes it
    bits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForeignMark:
    """A known message that was found."""

    name: str
    generator: str
    matched: int  # bits that agree
    length: int  # bits of the message
    false_alarm: float  # upper bound on the chance that an unmarked image agrees as well
    channels: Literal["rgb", "bgr"]  # colour order that the writer took the image to have


def _bits_of(data: bytes) -> tuple[int, ...]:
    return tuple(int(bit) for byte in data for bit in f"{byte:08b}")


KNOWN_MARKS = (
    KnownMark("StableDiffusionV1", "Stable Diffusion 1.x reference scripts", _bits_of(b"StableDiffusionV1")),
    KnownMark(
        "SDXL",
        "Stable Diffusion XL (diffusers and reference scripts)",
        tuple(int(bit) for bit in f"{0b101100111110110010010000011110111011000110011110:048b}"),
    ),
)


def read_foreign(image: RGB) -> list[ForeignMark]:
    """The known watermarks found in uint8 [H, W, 3], each with its own bound; most often an empty list."""
    if image.shape[0] * image.shape[1] < _LEAST_PIXELS:
        return []
    found = []
    orders: tuple[Literal["rgb", "bgr"], ...] = ("rgb", "bgr")
    for channels in orders:
        votes = _votes(image, channels)
        for mark in KNOWN_MARKS:
            agreed = _agreement(votes, mark, channels)
            if agreed is not None:
                found.append(agreed)
    return found


def _votes(image: RGB, channels: Literal["rgb", "bgr"]) -> Doubles:
    """What each block says, row by row: +1 for a bit of 1, -1 for 0."""
    code = cv2.COLOR_RGB2YUV if channels == "rgb" else cv2.COLOR_BGR2YUV
    chroma = cv2.cvtColor(image, code)[..., 1]
    side = 2 * _BLOCK  # of a block, in pixels
    rows, columns = chroma.shape[0] // side, chroma.shape[1] // side
    largest = np.empty((rows, columns))
    for first in range(0, rows, _STRIP):
        last = min(first + _STRIP, rows)
        # in the steps of PyWavelets, whose last digit decides where a value lies on a border between bits
        scaled = chroma[side * first : side * last, : side * columns] * _HAAR
        across = (scaled[0::2] + scaled[1::2]) * _HAAR
        low = (across[:, 0::2] + across[:, 1::2]).reshape(last - first, _BLOCK, columns, _BLOCK)
        low[:, 0, :, 0] = 0.0
        largest[first:last] = low.max(axis=1).max(axis=2)
    return np.where(largest.ravel() % _STEP > _STEP / 2.0, 1.0, -1.0)


def _agreement(votes: Doubles, mark: KnownMark, channels: Literal["rgb", "bgr"]) -> ForeignMark | None:
    length = len(mark.bits)
    if len(votes) < length:
        return None
    place = np.arange(len(votes)) % length
    means = np.bincount(place, votes, minlength=length) / np.bincount(place, minlength=length)
    message = 2.0 * np.array(mark.bits) - 1.0
    # two colour orders are looked at
    bound = 2.0 * chance_agreement(means, float(message @ means))
    if bound > TARGET:
        return None
    matched = int((message * means > 0).sum())
    return ForeignMark(mark.name, mark.generator, matched, length, bound, channels)


def chance_agreement(means: Doubles, agreement: float) -> float:
    """Chernoff's bound on P(sum of +-means >= agreement) for fair and independent signs.

    The signs are the message's: whatever the image says in `means`, a message that was not
    chosen with this image in mind agrees so well no more often than this.
    """
    if agreement <= 0.0:
        return 1.0
    slopes = np.geomspace(0.05, 200.0, 80)[:, None]
    exponents = np.logaddexp(slopes * means, -slopes * means).sum(axis=1) - len(means) * np.log(2.0)
    return float(np.exp(min(0.0, float((exponents - slopes[:, 0] * agreement).min()))))
