"""Finding how an image was scaled and rotated from the watermark's own repetition.

A tiled watermark makes the image's autocorrelation peak at every multiple of the tile, whatever the tile
shows: the lattice tells scale and rotation without any fixed template to attack (Kutter, SPIE 3528, 1998;
Deguillaume, Voloshynovskiy and Pun, SPIE 4675, 2002). In log-polar coordinates a lattice of any
scale and rotation is one constellation moved about (after O Ruanaidh and Pun, Signal Processing 66, 1998),
so that scoring every hypothesis is a few shifted sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from nonesuch.provenance.watermark.pattern.layout import HIGHEST, LOWEST, TILE
from nonesuch.provenance.watermark.pattern.luma import local_mean

LEAST_SCALE, MOST_SCALE = 0.45, 2.2
LARGEST = 1024  # pixels a side looked at: the middle of larger images
_STEP = 0.003  # of log radius and, in radians, of angle
_REACH = 3.2  # tiles: how far lattice points are counted
# each range of scales has its own band of frequencies; bounds overlap no other
_SCALE_RANGES = ((LEAST_SCALE, 0.75), (0.75, 1.35), (1.35, MOST_SCALE))
_TALLEST = (
    3.0  # standard deviations beyond which a lag counts no more: a texture's own period is one tall lag
)
_OUTLIER = 6.0  # whitened power is cut off here; noise alone has mean 1

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Geometry:
    """A guess at what was done to a marked image."""

    scale: float  # size now over size when marked
    rotation: float  # degrees counter-clockwise, -45 to 45: quarter turns look alike
    score: float  # in standard deviations of what noise gives


@dataclass(frozen=True, slots=True)
class _Constellation:
    radii: npt.NDArray[np.int64]  # shift along log radius of each lattice point, in steps
    angles: npt.NDArray[np.int64]  # shift along the angle, in steps of the half circle


def candidates(flat: Floats, count: int) -> list[Geometry]:
    """The `count` best guesses for a flattened luma plane [H, W], best first."""
    plane = middle(flat, LARGEST)
    spectrum, size = _whitened_power(plane)
    found: list[Geometry] = []
    for low, high in _SCALE_RANGES:
        lags = _autocorrelation(spectrum, size, LOWEST / TILE / high, HIGHEST / TILE / low)
        found += _best_lattices(lags, plane.shape[0], plane.shape[1], low, high, count)
    return sorted(found, key=lambda guess: -guess.score)[:count]


def middle(plane: Floats, side: int) -> Floats:
    """The middle of `plane`, at most `side` pixels each way."""
    top, left = max(0, plane.shape[0] - side) // 2, max(0, plane.shape[1] - side) // 2
    return plane[top : top + side, left : left + side]


def _whitened_power(plane: Floats) -> tuple[Floats, tuple[int, int]]:
    from scipy import fft

    reach = int(_REACH * TILE * MOST_SCALE)
    size = tuple(fft.next_fast_len(n + min(n, reach), real=True) for n in plane.shape)
    spectrum = fft.rfft2(plane, s=size)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    wide = 2 * (max(size) // 64) + 1
    power /= local_mean(power, wide) + np.float32(1e-6)
    np.minimum(power, np.float32(_OUTLIER), out=power)
    return power, (size[0], size[1])


def _autocorrelation(power: Floats, size: tuple[int, int], low: float, high: float) -> Floats:
    """Lags [2R + 1, R + 1] of unit noise: rows from -R to R, columns from 0 to R."""
    from scipy import fft

    rows = np.fft.fftfreq(size[0]).astype(np.float32)[:, None]
    columns = np.fft.rfftfreq(size[1]).astype(np.float32)[None, :]
    columns = columns[:, columns[0] < high]
    radius = rows * rows + columns * columns
    inside = (radius >= low * low) & (radius < high * high) & (rows != 0) & (columns != 0)
    band = np.where(inside, power[:, : columns.shape[1]], np.float32(0.0))
    band -= inside * np.float32(band.sum() / np.count_nonzero(inside))
    # power is real, and lags repeat through the origin: real transforms of half the rows tell them all
    lags = fft.irfft(fft.rfft(band, axis=0).conj(), n=size[1], axis=1)
    reach = min(int(_REACH * TILE * MOST_SCALE), size[0] // 2 - 1, size[1] // 2 - 1)
    half = np.empty((2 * reach + 1, reach + 1), np.float32)
    half[reach:] = lags[: reach + 1, : reach + 1]
    half[:reach, 0] = lags[reach:0:-1, 0]
    half[:reach, 1:] = lags[reach:0:-1, : -reach - 1 : -1]
    # the standard deviation that the middle half of the lags shows, free of the peaks
    spread = np.subtract(*np.percentile(half[::3, ::3], (75, 25))) / 1.349
    half /= max(float(spread), 1e-12)
    return np.asarray(np.clip(half, -_TALLEST, _TALLEST), dtype=np.float32)


@lru_cache(maxsize=1)
def _constellation() -> _Constellation:
    reach = int(_REACH)
    points = [
        (m, n)
        for m in range(-reach, reach + 1)
        for n in range(reach + 1)
        if (n > 0 or m > 0) and np.hypot(m, n) <= _REACH
    ]
    radii = [round(float(np.log(np.hypot(m, n))) / _STEP) for m, n in points]
    angles = [round(float(np.arctan2(n, m)) / _STEP) for m, n in points]
    return _Constellation(np.array(radii), np.array(angles))


def _best_lattices(
    lags: Floats, height: int, width: int, low: float, high: float, count: int
) -> list[Geometry]:
    stars = _constellation()
    turn = round(np.pi / _STEP)  # steps in the half circle; lags repeat after it
    start = np.log(TILE * low)
    rows = int((np.log(high) - np.log(low)) / _STEP) + 1
    radius = np.exp(start + _STEP * np.arange(rows + int(stars.radii.max()))).astype(np.float32)[:, None]
    angle = (np.arange(turn) * (np.pi / turn)).astype(np.float32)[None, :]
    # images have rows downwards: a counter-clockwise turn moves a rightward lag up
    x, y = radius * np.cos(angle), -radius * np.sin(angle)
    left = x < 0
    x, y = np.where(left, -x, x), np.where(left, -y, y)
    reach = lags.shape[1] - 1
    polar = cv2.remap(lags, x, y + reach, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    overlap = np.maximum(1.0 - x / width, 0.0) * np.maximum(1.0 - np.abs(y) / height, 0.0)
    overlap *= (x < reach) & (np.abs(y) < reach)
    weighted, squared = polar * overlap, overlap * overlap
    weighted = np.concatenate([weighted, weighted], axis=1)
    squared = np.concatenate([squared, squared], axis=1)
    quarter = turn // 2
    total = np.zeros((rows, quarter), np.float32)
    weight = np.full((rows, quarter), 1e-6, np.float32)
    for up, around in zip(stars.radii, stars.angles, strict=True):
        # hypotheses run from -45 to 45 degrees
        first = (int(around) - quarter // 2) % turn
        total += weighted[up : up + rows, first : first + quarter]
        weight += squared[up : up + rows, first : first + quarter]
    score = total / np.sqrt(weight)
    peaks = score == cv2.dilate(score, np.ones((5, 5), np.uint8))
    peaks &= weight > 0.2
    places = np.argwhere(peaks)
    heights = score[peaks]
    best = np.argsort(-heights)[:count]
    return [
        Geometry(
            float(np.exp(start + _STEP * places[i, 0]) / TILE),
            float(np.degrees((places[i, 1] - quarter // 2) * (np.pi / turn))),
            float(heights[i]),
        )
        for i in best
    ]


def undo(plane: Floats, scale: float, rotation: float) -> Floats:
    """Luma `plane` [H, W] at its size and angle when marked: its middle, at most LARGEST pixels per side."""
    if scale > 1.3:
        plane = np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.35 * scale), dtype=np.float32)
    way = cv2.INTER_CUBIC if scale < 1.3 else cv2.INTER_LINEAR
    height, width = plane.shape
    cosine, sine = abs(np.cos(np.radians(rotation))), abs(np.sin(np.radians(rotation)))
    rows = min(LARGEST, round((height * cosine + width * sine) / scale))
    columns = min(LARGEST, round((width * cosine + height * sine) / scale))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -rotation, 1.0 / scale)
    matrix[:, 2] += ((columns - width) / 2, (rows - height) / 2)
    turned = cv2.warpAffine(plane, matrix, (columns, rows), flags=way, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, dtype=np.float32)
