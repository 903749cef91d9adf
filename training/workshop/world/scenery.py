"""Backgrounds that subjects stand on: skies, hills, seas, rooms and plain grounds."""

from __future__ import annotations

import cv2
import numpy as np

from nonesuch.training.workshop.world.picture import SIZE, Floats, grid, smooth_noise


def background(rng: np.random.Generator) -> Floats:
    """Draw one random background, ``float32 [128, 128, 3]`` RGB, 0 to 255."""
    makers = (_backdrop, _hills, _sea, _room, _night, _meadow)
    return makers[rng.integers(len(makers))](rng)


def _colour(rng: np.random.Generator, hue: tuple[float, float], sat: float, val: float) -> Floats:
    """One RGB colour with the hue in degrees and up to 10 % play in the rest."""
    play = rng.uniform(-0.1, 0.1, 2)
    hsv = np.array(
        [[[rng.uniform(*hue) % 360.0, np.clip(sat + play[0], 0, 1), np.clip(val + play[1], 0, 1)]]],
        np.float32,
    )
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] * 255.0, np.float32)


def _fade(top: Floats, bottom: Floats, power: float = 1.0) -> Floats:
    t = np.linspace(0, 1, SIZE, dtype=np.float32)[:, None, None] ** power
    return np.broadcast_to(top * (1 - t) + bottom * t, (SIZE, SIZE, 3)).astype(np.float32)


def _backdrop(rng: np.random.Generator) -> Floats:
    ground = _fade(_colour(rng, (0, 360), 0.25, 0.9), _colour(rng, (0, 360), 0.3, 0.7))
    x, y = grid()
    centre = rng.uniform(0.2, 0.8, 2) * SIZE
    distance = np.hypot(x - centre[0], y - centre[1]) / SIZE
    return np.asarray(ground * (1.12 - 0.45 * distance)[..., None], np.float32)


def _sky(rng: np.random.Generator) -> Floats:
    if rng.random() < 0.3:
        return _fade(_colour(rng, (220, 290), 0.4, 0.7), _colour(rng, (15, 45), 0.55, 0.95))
    sky = _fade(_colour(rng, (195, 220), 0.5, 0.85), _colour(rng, (190, 215), 0.15, 0.97))
    cloud = np.clip(smooth_noise(rng, 26) - 0.5, 0, 1)[..., None] * 0.8
    return np.asarray(sky * (1 - cloud) + 250.0 * cloud, np.float32)


def _ridge(rng: np.random.Generator, height: float, swing: float) -> Floats:
    """Height of a hill line per column, in pixels from the top."""
    x = np.arange(SIZE, dtype=np.float32) / SIZE
    phases = rng.uniform(0, 2 * np.pi, 3)
    waves = sum(np.sin(2 * np.pi * f * x + p) / f for f, p in zip((1.0, 2.3, 3.9), phases, strict=True))
    return np.asarray(SIZE * height + swing * waves, np.float32)


def _hills(rng: np.random.Generator) -> Floats:
    picture = _sky(rng)
    _, y = grid()
    for step, height in enumerate((0.55, 0.68, 0.8)):
        line = _ridge(rng, height + rng.uniform(-0.04, 0.04), 7.0)
        below = np.clip(y - line[None, :], 0, 1)[..., None]
        colour = _colour(rng, (80, 150), 0.3 + 0.12 * step, 0.72 - 0.12 * step)
        picture = picture * (1 - below) + colour * below
    return np.asarray(picture, np.float32)


def _sea(rng: np.random.Generator) -> Floats:
    picture = _sky(rng)
    x, y = grid()
    horizon = SIZE * rng.uniform(0.5, 0.68)
    sea = _fade(_colour(rng, (185, 215), 0.5, 0.75), _colour(rng, (190, 225), 0.7, 0.5))
    glint = np.sin(y * 0.9 + 2.5 * np.sin(x * 0.11 + rng.uniform(0, 6))) > 0.86
    sea = sea + 28.0 * glint[..., None]
    below = np.clip(y - horizon, 0, 1)[..., None]
    return np.asarray(picture * (1 - below) + sea * below, np.float32)


def _room(rng: np.random.Generator) -> Floats:
    x, y = grid()
    wall = _fade(_colour(rng, (0, 360), 0.22, 0.85), _colour(rng, (0, 360), 0.22, 0.8))
    if rng.random() < 0.5:
        stripe = (np.floor(x / rng.uniform(9, 16)) % 2)[..., None]
        wall = wall * (1 - 0.09 * stripe)
    floor = _colour(rng, (18, 38), 0.5, 0.55)
    horizon = SIZE * rng.uniform(0.66, 0.82)
    planks = 1.0 - 0.14 * (np.abs(((x - 64) / (y - horizon + 40)) * 6 % 1 - 0.5) < 0.06)
    below = np.clip(y - horizon, 0, 1)[..., None]
    return np.asarray(wall * (1 - below) + floor * planks[..., None] * below, np.float32)


def _night(rng: np.random.Generator) -> Floats:
    picture = _fade(_colour(rng, (225, 260), 0.7, 0.25), _colour(rng, (215, 290), 0.5, 0.5))
    stars = rng.random((SIZE, SIZE)) < 0.004
    glow = cv2.GaussianBlur(stars.astype(np.float32), (0, 0), 0.8)[..., None] * 5.0
    return np.asarray(picture + 220.0 * np.clip(glow, 0, 1), np.float32)


def _meadow(rng: np.random.Generator) -> Floats:
    picture = _sky(rng)
    _, y = grid()
    grass = _fade(_colour(rng, (70, 110), 0.45, 0.85), _colour(rng, (90, 140), 0.6, 0.5))
    grass = grass + 10.0 * smooth_noise(rng, 6)[..., None]
    below = np.clip((y - SIZE * rng.uniform(0.58, 0.76)) / 3.0, 0, 1)[..., None]
    return np.asarray(picture * (1 - below) + grass * below, np.float32)
