"""Ways to damage an image, and the words for each: what a negative prompt names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


def blur(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Gaussian blur, sigma 1.6 to 3.5 px."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(1.6, 3.5)), np.uint8)


def noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Independent Gaussian noise, standard deviation 25 to 60 of 255."""
    grain = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(25, 60)
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def blocks(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG at quality 3 to 10: visible 8 px blocks."""
    quality = int(rng.integers(3, 11))
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def fade(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Contrast cut to between a fifth and a half around a light grey, colours greyed."""
    keep = rng.uniform(0.2, 0.5)
    grey = pixels.mean(axis=2, keepdims=True)
    dull = grey + (pixels - grey) * 0.6
    faded: Pixels = np.clip(190.0 + (dull - 128.0) * keep, 0, 255).astype(np.uint8)
    return faded


DAMAGES: Final[dict[str, Callable[[Pixels, np.random.Generator], Pixels]]] = {
    "blurry": blur,
    "noisy": noise,
    "blocky": blocks,
    "washed out": fade,
}

WORDS: Final[dict[str, tuple[str, ...]]] = {
    "blurry": ("blurry", "blurred", "out of focus", "low quality"),
    "noisy": ("noisy", "grainy", "low quality"),
    "blocky": ("blocky", "jpeg artifacts", "low quality", "distorted"),
    "washed out": ("washed out", "faded", "dull", "low quality"),
}


def damage(pixels: Pixels, rng: np.random.Generator) -> tuple[Pixels, str]:
    """Spoil ``uint8 [H, W, 3]`` in one random way; returns it and the way's name."""
    kind = list(DAMAGES)[rng.integers(len(DAMAGES))]
    return DAMAGES[kind](pixels, rng), kind
