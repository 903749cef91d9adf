"""Trying scales, and small rotations, one by one against the pilot.

In busy images the watermark is so faint that its repetition does not show, though its pilot would at the
right geometry: matched filtering gains with the amplitude, autocorrelation with its square. So the
commonest changes, a new size or a slight tilt alone, are searched outright on the middle of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from nonesuch.provenance.watermark.detecting import message
from nonesuch.provenance.watermark.detecting.geometry import Geometry, middle
from nonesuch.provenance.watermark.pattern import luma
from nonesuch.provenance.watermark.pattern.bounds import SCAN_KEPT
from nonesuch.provenance.watermark.pattern.luma import Floats

_SIDE = 512  # pixels looked at, at the size when marked
_STEP = 0.0065  # of log scale and, in radians, of angle: 0.8 of a pixel at the edge, half a step off
_SCALES = (0.49, 2.04)
_TILT = 5.5  # degrees each way
_FINER = (0.003, 0.0015)  # steps by which a good guess is improved, one after the other
_STEPS = int(np.log(_SCALES[1] / _SCALES[0]) / _STEP) + 1
_TILTS = 2 * int(np.radians(_TILT) / _STEP) + 1


@dataclass(frozen=True, slots=True)
class _Planes:
    usual: Floats  # flattened
    soft: Floats  # without what lies above the band, for images made larger


def scan(flat: Floats, key: bytes) -> list[Geometry]:
    """The best guesses at scale alone or tilt alone for a flattened luma plane [H, W], best first.

    A guess's score is the height of its pilot's peak.
    """
    planes = _Planes(flat, np.asarray(cv2.GaussianBlur(flat, (0, 0), 0.7), dtype=np.float32))
    guesses = [_tried(planes, scale, tilt, key) for scale, tilt in _hypotheses()]
    guesses.sort(key=lambda guess: -guess.score)
    refined = [_refined(planes, guess, key) for guess in guesses[:SCAN_KEPT]]
    return sorted(refined, key=lambda guess: -guess.score)


def _refined(planes: _Planes, guess: Geometry, key: bytes) -> Geometry:
    for step in _FINER:
        near = [guess]
        for way in (-step, step):
            scale = guess.scale if guess.rotation else guess.scale * float(np.exp(way))
            tilt = guess.rotation + float(np.degrees(way)) if guess.rotation else 0.0
            near.append(_tried(planes, scale, tilt, key))
        guess = max(near, key=lambda found: found.score)
    return guess


def _hypotheses() -> Iterator[tuple[float, float]]:
    for number in range(_STEPS):
        yield _SCALES[0] * float(np.exp(number * _STEP)), 0.0
    for number in range(_TILTS):
        yield 1.0, float(np.degrees((number - _TILTS // 2) * _STEP))


def _tried(planes: _Planes, scale: float, tilt: float, key: bytes) -> Geometry:
    from scipy import fft

    source = planes.soft if scale > 1.3 else planes.usual
    plane = middle(source, round(_SIDE * scale))
    height, width = plane.shape
    if tilt:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -tilt, 1.0)
        upright = cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_LINEAR)
    else:
        columns, rows = round(width / scale), round(height / scale)
        way = cv2.INTER_CUBIC if scale < 0.9 else cv2.INTER_LINEAR
        upright = cv2.resize(plane, (columns, rows), interpolation=way)
        scale = (width / columns + height / rows) / 2.0  # whole pixels allow no other
    groups = luma.carriers(luma.fold(np.asarray(upright, dtype=np.float32)), fft)
    return Geometry(scale, tilt, message.pilot_height(groups, key, fft))
