"""Styles built on bold shapes: cubist facets, pop art, stained glass, primary grid."""

from __future__ import annotations

import cv2
import numpy as np

from nonesuch.training.workshop.world.picture import (
    SIZE,
    Picture,
    Pixels,
    cell_means,
    cells,
    edges,
    grid,
    luminance,
    nearest_colour,
    outline,
    saturate,
    shift_sample,
    to_bytes,
)

_PRIMARIES = np.array(
    [[214, 32, 36], [28, 68, 160], [248, 208, 40], [244, 242, 234], [22, 22, 26]], np.float32
)
# Pop art flats: (upper ground, lower ground, subject tones dark to bright).
_POP = np.array(
    [
        [[255, 70, 160], [255, 214, 30], [40, 20, 110], [20, 150, 230], [250, 250, 120]],
        [[0, 190, 220], [255, 90, 60], [70, 10, 90], [240, 40, 140], [255, 240, 90]],
        [[255, 225, 0], [230, 30, 120], [10, 60, 150], [0, 190, 130], [255, 250, 230]],
        [[120, 220, 40], [150, 60, 220], [90, 0, 60], [255, 110, 20], [255, 245, 120]],
    ],
    np.float32,
)


def picasso(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Cubism: straight-edged facets, each seen from its own side, in ochre and slate."""
    count = 26
    labels, gap = cells(rng, count)
    dx = rng.uniform(-4, 4, count).astype(np.float32)[labels]
    dy = rng.uniform(-4, 4, count).astype(np.float32)[labels]
    seen = shift_sample(picture.pixels, dx, dy)
    alpha = shift_sample(picture.alpha, dx, dy)[..., None]
    x, y = grid()
    angle = rng.uniform(0, 2 * np.pi, count).astype(np.float32)[labels]
    ramp = ((x - 64) * np.cos(angle) + (y - 64) * np.sin(angle)) / 20
    facet = np.sin(ramp + rng.uniform(0, 6, count).astype(np.float32)[labels])[..., None]
    earths = np.array([[188, 146, 92], [120, 96, 74], [132, 146, 150], [214, 190, 150]], np.float32)
    tint = earths[rng.integers(0, 4, count)][labels]
    muted = saturate(seen, 0.75)
    ground = 0.25 * muted + 0.75 * tint
    subject = 0.9 * saturate(seen, 0.9) + 0.1 * tint
    out = (ground * (1 - alpha) + subject * alpha) * (1 + 0.17 * facet)
    rim = np.clip(edges(np.repeat(alpha * 255, 3, 2).astype(np.float32), 1.0, 0.1), 0, 1)
    line = np.maximum(np.clip(1.7 - gap, 0, 1) * (1 - 0.4 * alpha[..., 0]), 0.8 * rim)[..., None]
    return to_bytes(out * (1 - line) + np.array([34, 26, 22], np.float32) * line)


def warhol(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Pop art: flat screaming colours, tone screens of dots, a shifted key plate."""
    inks = _POP[rng.integers(len(_POP))]
    x, y = grid()
    tone = luminance(cv2.bilateralFilter(picture.pixels, 5, 40, 3))
    inside = picture.alpha > 0.5
    low, high = np.quantile(tone[inside], [0.08, 0.92])
    tone = np.clip((tone - low) / (high - low + 0.1), 0, 1)
    split = SIZE * rng.uniform(0.55, 0.75)
    ground = np.where((y < split)[..., None], inks[0], inks[1])
    screen = np.cos((x + y) * np.pi / 5) * np.cos((x - y) * np.pi / 5) > 0.35
    ground = np.where((screen & (y >= split))[..., None], inks[0], ground)
    level = np.digitize(tone, [0.36, 0.72])
    subject = inks[2 + level]
    shift = rng.choice([-2, 2])
    plate = np.roll(picture.alpha, shift, axis=1)[..., None]
    out = ground * (1 - plate) + subject * plate
    key = outline(picture.alpha, 1)[..., None]
    return to_bytes(np.where(key, np.array([20, 10, 30], np.float32), out))


def tiffany(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Stained glass: glowing panes between dark leads, the subject leaded in."""
    count = 64
    labels, gap = cells(rng, count)
    glass = rng.uniform(0, 1, (count, 3)).astype(np.float32)
    hsv = np.stack([glass[:, 0] * 200 + 40, 0.55 + 0.4 * glass[:, 1], 0.55 + 0.4 * glass[:, 2]], 1)
    jewels = cv2.cvtColor(hsv[None].astype(np.float32), cv2.COLOR_HSV2RGB)[0] * 255.0
    panes = 0.5 * saturate(cell_means(picture.pixels, labels, count)[None], 1.8)[0] + 0.5 * jewels
    alpha = picture.alpha[..., None]
    subject = saturate(cv2.bilateralFilter(picture.pixels, 7, 70, 4), 1.7)
    subject = subject * (0.86 + 0.28 * glass[labels, 2])[..., None]
    out = panes[labels] * (1 - alpha) + subject * alpha
    x, y = grid()
    glow = 1.18 - 0.5 * np.hypot(x - 64, y - 64) / 90
    out = out * glow[..., None]
    lead = np.clip(2.6 - gap, 0, 1) * (1 - 0.72 * picture.alpha)
    lead = np.maximum(lead, outline(picture.alpha, 1))[..., None]
    return to_bytes(out * (1 - lead) + np.array([14, 12, 16], np.float32) * lead)


def mondrian(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Neoplastic grid: black bars, primary fields, the subject in flat primaries."""
    out = np.empty((SIZE, SIZE, 3), np.float32)
    out[:] = _PRIMARIES[3]
    xs = _bars(rng)
    ys = _bars(rng)
    for left, right in zip([0, *xs], [*xs, SIZE], strict=True):
        for top, bottom in zip([0, *ys], [*ys, SIZE], strict=True):
            pick = rng.random()
            if pick < 0.55:
                out[top:bottom, left:right] = _PRIMARIES[int(pick / 0.55 * 3)]
    for bar in xs:
        out[:, bar - 2 : bar + 2] = _PRIMARIES[4]
    for bar in ys:
        out[bar - 2 : bar + 2, :] = _PRIMARIES[4]
    smooth = saturate(cv2.bilateralFilter(picture.pixels, 5, 60, 3), 1.3)
    flat = _PRIMARIES[nearest_colour(smooth, _PRIMARIES)]
    alpha = (picture.alpha > 0.5)[..., None]
    out = np.where(alpha, flat, out)
    rim = cv2.dilate(alpha.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool) & ~alpha[..., 0]
    out[rim] = _PRIMARIES[3]
    out[outline(picture.alpha, 1)] = _PRIMARIES[4]
    return to_bytes(cv2.GaussianBlur(out, (0, 0), 0.5))


def _bars(rng: np.random.Generator) -> list[int]:
    """Three bar places, at least a fifth of the image apart."""
    return [int(SIZE * (third + rng.uniform(-0.09, 0.09))) for third in (0.2, 0.5, 0.8)]
