"""The undecorated image every style starts from, and helpers shared by styles."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

SIZE: Final = 128
"""Side of every image in pixels."""

Floats = npt.NDArray[Any]
"""``float32`` arrays; ``Any`` because cv2 types its results as integer or floating."""
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A composed scene before any style.

    Attributes:
        pixels: ``float32 [128, 128, 3]`` RGB, 0 to 255.
        alpha: ``float32 [128, 128]`` coverage of the subject, 0 to 1.
    """

    pixels: Floats
    alpha: Floats


def to_bytes(pixels: Floats) -> Pixels:
    """Round float RGB (0 to 255) to ``uint8``."""
    rounded: Pixels = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)
    return rounded


def luminance(pixels: Floats) -> Floats:
    """Rec. 601 luma, 0 to 1, ``float32 [H, W]``."""
    grey: Floats = (pixels @ np.array([0.299, 0.587, 0.114], np.float32)) / 255.0
    return grey


def saturate(pixels: Floats, factor: float) -> Floats:
    """Scale the distance of every colour from its own grey."""
    grey = luminance(pixels)[..., None] * 255.0
    out: Floats = np.clip(grey + (pixels - grey) * factor, 0, 255).astype(np.float32)
    return out


def outline(alpha: Floats, width: int) -> npt.NDArray[np.bool_]:
    """Band of ``width`` pixels inside and outside the subject's border."""
    inside = (alpha > 0.5).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    band: npt.NDArray[np.bool_] = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    return band


def edges(pixels: Floats, sigma: float, threshold: float) -> Floats:
    """Soft dark lines where brightness changes (difference of Gaussians), 0 to 1."""
    grey = cv2.cvtColor(pixels / 255.0, cv2.COLOR_RGB2GRAY)
    fine = cv2.GaussianBlur(grey, (0, 0), sigma)
    wide = cv2.GaussianBlur(grey, (0, 0), sigma * 2.2)
    lines: Floats = np.clip((wide - fine) / threshold, 0.0, 1.0)
    return lines


def smooth_noise(rng: np.random.Generator, grain: float) -> Floats:
    """Zero-mean, unit-variance noise of about ``grain`` pixels, ``float32 [128, 128]``."""
    cells = max(2, int(SIZE / grain) + 2)
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    field = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    noise: Floats = (field - field.mean()) / (field.std() + 1e-6)
    return noise


@functools.lru_cache(maxsize=1)
def grid() -> tuple[Floats, Floats]:
    """Pixel coordinates ``(x, y)``, each ``float32 [128, 128]``."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    return x, y


def shift_sample(pixels: Floats, dx: Floats, dy: Floats) -> Floats:
    """Sample ``pixels`` at every place moved by ``(dx, dy)`` pixels."""
    x, y = grid()
    # cv2.remap never returns when it is handed float64 maps.
    to_x, to_y = (x + dx).astype(np.float32), (y + dy).astype(np.float32)
    moved = cv2.remap(pixels, to_x, to_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def cells(rng: np.random.Generator, count: int) -> tuple[npt.NDArray[np.int32], Floats]:
    """Random Voronoi cells.

    Returns:
        ``labels int32 [128, 128]`` in ``0..count-1`` and ``gap float32 [128, 128]``,
        how many pixels nearer the nearest seed is than the second nearest.
    """
    seeds = rng.uniform(0, SIZE, (count, 2)).astype(np.float32)
    return nearest(seeds)


def nearest(seeds: Floats) -> tuple[npt.NDArray[np.int32], Floats]:
    """Nearest seed of every pixel; see ``cells`` for what is returned."""
    x, y = grid()
    # |p-s|^2 without the |p|^2 that all seeds share: one small matrix product.
    points = np.stack([x.ravel(), y.ravel()], 1)
    score = points @ (-2.0 * seeds.T) + (seeds**2).sum(1)
    order = np.argpartition(score, 1, axis=1)[:, :2]
    two = np.take_along_axis(score, order, 1) + (points**2).sum(1, keepdims=True)
    two = np.sqrt(np.maximum(two, 0.0))
    first = np.where(two[:, 0] <= two[:, 1], order[:, 0], order[:, 1])
    gap = np.abs(two[:, 0] - two[:, 1])
    return first.reshape(SIZE, SIZE).astype(np.int32), gap.reshape(SIZE, SIZE).astype(np.float32)


def cell_means(pixels: Floats, labels: npt.NDArray[np.int32], count: int) -> Floats:
    """Mean colour of every cell, ``float32 [count, 3]``."""
    flat = labels.ravel()
    sizes = np.maximum(np.bincount(flat, minlength=count), 1)
    sums = [np.bincount(flat, pixels[..., c].ravel(), minlength=count) for c in range(3)]
    return (np.stack(sums, 1) / sizes[:, None]).astype(np.float32)


def nearest_colour(pixels: Floats, palette: Floats) -> npt.NDArray[np.intp]:
    """Index of the palette colour (``[n, 3]``) nearest to every pixel."""
    score = pixels @ (-2.0 * palette.T) + (palette**2).sum(1)
    index: npt.NDArray[np.intp] = np.argmin(score, axis=-1)
    return index
