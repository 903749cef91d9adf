"""Styles built on lines and flat blocks: pencil sketch, woodblock print, pixel art."""

from __future__ import annotations

import cv2
import numpy as np

from nonesuch.training.workshop.world.picture import (
    SIZE,
    Picture,
    Pixels,
    edges,
    grid,
    luminance,
    nearest_colour,
    outline,
    saturate,
    smooth_noise,
    to_bytes,
)

_WOODBLOCK = np.array(
    [[24, 36, 86], [44, 74, 140], [104, 144, 186], [184, 202, 204], [240, 228, 198], [186, 84, 66]],
    np.float32,
)
# Targets in the photo's own colours that the inks above stand for.
_WOODBLOCK_FROM = np.array(
    [[30, 30, 40], [80, 80, 95], [130, 132, 140], [180, 182, 186], [232, 232, 230], [214, 60, 40]],
    np.float32,
)
_PIXEL_STEPS = 5


def sketch(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Graphite on paper: thick contour lines, hatching in the shadows."""
    grey = luminance(picture.pixels)
    tone = grey * picture.alpha + (0.62 + 0.38 * grey) * (1 - picture.alpha)
    lines = edges(picture.pixels, 1.1, 0.045) * (0.3 + 0.7 * picture.alpha)
    lines = np.maximum(lines, outline(picture.alpha, 1) * 0.9)
    x, y = grid()
    angle = rng.uniform(0.6, 1.0)
    hatch = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / 6.0)
    shadow = np.clip((0.72 - tone) * 1.5, 0, 1)
    dark = np.clip(shadow * (0.35 + 0.65 * hatch), 0, 0.85)
    ink = np.clip(1 - (1 - dark) * (1 - 0.92 * lines), 0, 1)
    ink = cv2.GaussianBlur(ink.astype(np.float32), (0, 0), 0.6)
    paper = np.array([246, 243, 235], np.float32) + 2.0 * smooth_noise(rng, 3)[..., None]
    return to_bytes(paper * (1 - ink[..., None]) + np.array([52, 52, 58], np.float32) * ink[..., None])


def hokusai(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Woodblock print: flat indigo inks on cream, a shaded sky, wave arcs, a red seal."""
    smooth = cv2.bilateralFilter(picture.pixels, 5, 60, 3)
    plate = _WOODBLOCK[nearest_colour(saturate(smooth, 0.9), _WOODBLOCK_FROM)]
    x, y = grid()
    cream, deep = _WOODBLOCK[4], _WOODBLOCK[0]
    shade = np.clip(1 - y / rng.uniform(24, 44), 0, 1)[..., None] ** 1.2
    ground = cream * (1 - shade) + _WOODBLOCK[1] * shade
    top = SIZE * rng.uniform(0.62, 0.74)
    radius, row = 13.0, 8.0
    waves = np.zeros((SIZE, SIZE), bool)
    inside = np.zeros((SIZE, SIZE), bool)
    for line in range(int((SIZE - top) / row) + 3):
        centre_y = top + line * row + radius
        dx = (x + (line % 2) * radius) % (2 * radius) - radius
        distance = np.hypot(dx, y - centre_y)
        disc = (distance < radius) & (y < centre_y)
        waves = np.where(disc, (distance > radius - 2.2) | (np.abs(distance - radius / 2) < 1.0), waves)
        inside |= disc | (y >= centre_y)
    sea = np.where(waves[..., None], cream, _WOODBLOCK[1])
    ground = np.where(inside[..., None], sea, ground)
    alpha = picture.alpha[..., None]
    print_ = ground * (1 - alpha) + plate * alpha
    contour = np.maximum(outline(picture.alpha, 1), edges(smooth, 1.0, 0.06) * (picture.alpha > 0.5))
    print_ = print_ * (1 - contour[..., None]) + deep * contour[..., None]
    left = 5 if rng.random() < 0.5 else SIZE - 15
    print_[8:24, left : left + 10] = np.array([196, 48, 40], np.float32)
    print_[11:21, left + 4 : left + 6] = cream
    return to_bytes(print_ + 3.0 * smooth_noise(rng, 4)[..., None])


def pixel(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Pixel art: blocks of four pixels, few tones, a dark one-block outline."""
    vivid = saturate(picture.pixels, 1.35)
    small = cv2.resize(vivid, (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(picture.alpha, (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA) > 0.45
    step = 255.0 / _PIXEL_STEPS
    small = np.round(small / step) * step
    rim = cv2.dilate(alpha.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~alpha
    small[rim] = np.array([26, 22, 44], np.float32)
    return to_bytes(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST))
