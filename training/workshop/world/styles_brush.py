"""Styles built on brushwork and light: photo, pointillism, swirls, waves, watercolour."""

from __future__ import annotations

import cv2
import numpy as np

from nonesuch.training.workshop.world.picture import (
    SIZE,
    Floats,
    Picture,
    Pixels,
    edges,
    grid,
    luminance,
    outline,
    saturate,
    shift_sample,
    smooth_noise,
    to_bytes,
)


def photo(picture: Picture, rng: np.random.Generator) -> Pixels:
    """The plain image under a soft side light and a slight vignette."""
    x, y = grid()
    angle = rng.uniform(0, 2 * np.pi)
    light = 1.0 + 0.1 * ((x - 64) * np.cos(angle) + (y - 64) * np.sin(angle)) / 64
    vignette = 1.0 - 0.18 * ((x - 64) ** 2 + (y - 64) ** 2) / 64**2 / 2
    return to_bytes(picture.pixels * (light * vignette)[..., None])


def seurat(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Pointillism: round dabs of pure, jittered colour on a pale ground."""
    pitch = 5.0
    steps = np.arange(-0.5, SIZE / pitch + 1)
    gx, gy = np.meshgrid(steps * pitch, steps * pitch * 1.0)
    gx = gx + (np.arange(len(steps)) % 2)[:, None] * pitch / 2
    seeds = np.stack([gx.ravel(), gy.ravel()], 1) + rng.uniform(-0.9, 0.9, (gx.size, 2))
    seeds = seeds.astype(np.float32)
    index = _dab_owner(seeds)
    at = np.clip(seeds, 0, SIZE - 1).astype(int)
    rim = 0.45 * outline(picture.alpha, 1)[..., None]
    vivid = saturate(cv2.GaussianBlur(picture.pixels * (1 - rim), (0, 0), 1.0), 1.45)
    colours = vivid[at[:, 1], at[:, 0]]
    spread = 30.0 - 14.0 * picture.alpha[at[:, 1], at[:, 0]]
    colours = colours + rng.standard_normal(colours.shape) * spread[:, None]
    x, y = grid()
    distance = np.hypot(x - seeds[index, 0], y - seeds[index, 1])
    cover = np.clip(2.9 - distance, 0, 1)[..., None]
    pale = 0.55 - 0.3 * picture.alpha[..., None]
    ground = (1 - pale) * vivid + pale * np.array([244, 232, 205], np.float32)
    return to_bytes(ground * (1 - cover) + np.clip(colours, 0, 255)[index] * cover)


def _dab_owner(seeds: np.ndarray) -> np.ndarray:
    """Nearest dab of every pixel by growing labels from the seeds (exact L2)."""
    mark = np.full((SIZE + 16, SIZE + 16), 255, np.uint8)
    at = np.clip(np.round(seeds).astype(int) + 8, 0, SIZE + 15)
    mark[at[:, 1], at[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(mark, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(int(labels.max()) + 1, np.int64)
    owner[labels[at[:, 1], at[:, 0]]] = np.arange(len(seeds))
    nearest: np.ndarray = owner[labels[8 : 8 + SIZE, 8 : 8 + SIZE]]
    return nearest


def vangogh(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Thick strokes smeared along a field of whirls, in blues and yellows."""
    x, y = grid()
    flow_x = np.full((SIZE, SIZE), 0.6, np.float32)
    flow_y = 0.4 * smooth_noise(rng, 40)
    for _ in range(4):
        cx, cy = rng.uniform(0, SIZE, 2)
        pull = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(16, 26) ** 2))
        spin = rng.choice([-1.0, 1.0]) * 0.16
        flow_x = flow_x + spin * pull * (y - cy)
        flow_y = flow_y - spin * pull * (x - cx)
    # Inside the subject strokes follow its own contours, so that it stays readable.
    grey = cv2.GaussianBlur(luminance(picture.pixels), (0, 0), 2.0)
    edge_x, edge_y = cv2.Sobel(grey, cv2.CV_32F, 0, 1), -cv2.Sobel(grey, cv2.CV_32F, 1, 0)
    flow_x, flow_y = flow_x + 14 * edge_x, flow_y + 14 * edge_y
    length = np.hypot(flow_x, flow_y) + 1e-3
    flow_x, flow_y = (flow_x / length).astype(np.float32), (flow_y / length).astype(np.float32)
    grain: Floats = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 1.15)
    grain /= grain.std()
    layer = np.dstack([picture.pixels, grain])
    total, ahead_x, ahead_y = layer.copy(), flow_x.copy(), flow_y.copy()
    for step in range(1, 8):
        total[..., 3] += shift_sample(grain, ahead_x, ahead_y) + shift_sample(grain, -ahead_x, -ahead_y)
        if step <= 3:
            total[..., :3] += shift_sample(picture.pixels, ahead_x, ahead_y)
            total[..., :3] += shift_sample(picture.pixels, -ahead_x, -ahead_y)
        ahead_x, ahead_y = ahead_x + flow_x, ahead_y + flow_y
    stroke = np.clip(total[..., 3] / (total[..., 3].std() + 1e-6), -2, 2)[..., None]
    colour = saturate(total[..., :3] / 7.0, 1.4)
    warm = luminance(colour)[..., None]
    tint = np.array([40, 72, 168], np.float32) * (1 - warm) + np.array([250, 214, 84], np.float32) * warm
    outside = 0.62 - 0.42 * picture.alpha[..., None]
    return to_bytes(colour * (1 - outside) + tint * outside + 25.0 * stroke)


def munch(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Long wavy bands: a burning orange sky over a dark blue-green ground."""
    x, y = grid()
    phase = rng.uniform(0, 2 * np.pi, 3)
    wave = 5.0 * np.sin(x / 17 + phase[0]) + 3.0 * np.sin((x + y) / 23 + phase[1])
    warped = shift_sample(picture.pixels, 2.4 * np.sin(y / 7 + phase[2]).astype(np.float32), 0.35 * wave)
    alpha = shift_sample(picture.alpha, 2.4 * np.sin(y / 7 + phase[2]).astype(np.float32), 0.35 * wave)
    alpha = alpha[..., None]
    level = y + wave
    bands = 0.5 + 0.5 * np.sin(level * 2 * np.pi / 11)
    red, gold = np.array([204, 62, 30], np.float32), np.array([248, 170, 66], np.float32)
    navy, moss = np.array([24, 36, 64], np.float32), np.array([58, 92, 98], np.float32)
    sky = red + (gold - red) * bands[..., None]
    ground = navy + (moss - navy) * bands[..., None]
    below = np.clip((level - SIZE * rng.uniform(0.58, 0.74)) / 4, 0, 1)[..., None]
    scene = sky * (1 - below) + ground * below
    rim = cv2.GaussianBlur(alpha[..., 0], (0, 0), 2.2)[..., None]
    scene = scene * (1 - 0.75 * rim)
    subject = saturate(cv2.bilateralFilter(warped, 5, 50, 3), 0.8) * 0.82
    subject = subject * (0.86 + 0.2 * bands[..., None]) + np.array([24, 8, -6], np.float32)
    return to_bytes(scene * (1 - alpha) + subject * alpha)


def turner(picture: Picture, rng: np.random.Generator) -> Pixels:
    """Watercolour: pale bleeding washes with a golden haze, fading into the paper."""
    bleed = 1.6
    wet = shift_sample(picture.pixels, bleed * smooth_noise(rng, 9), bleed * smooth_noise(rng, 9))
    wet = cv2.bilateralFilter(cv2.GaussianBlur(wet, (0, 0), 1.2), 7, 45, 4)
    wash = 255.0 - (255.0 - saturate(wet, 1.15)) * 0.72
    wash = wash + np.array([8, 2, -14], np.float32)
    pool = edges(wet, 1.6, 0.06)[..., None]
    wash = wash * (1 - 0.22 * pool) + 9.0 * smooth_noise(rng, 12)[..., None]
    x, y = grid()
    border = np.minimum.reduce([x, y, SIZE - 1 - x, SIZE - 1 - y]) + 3.5 * smooth_noise(rng, 8)
    fade = np.clip((border - 3) / 9, 0, 1)[..., None]
    inner = picture.alpha[..., None]
    haze = 0.42 * (1 - inner) * np.exp(-(((y - 40) / 40) ** 2))[..., None]
    wash = wash * (1 - haze) + np.array([250, 226, 160], np.float32) * haze
    paper = np.array([250, 247, 239], np.float32)
    return to_bytes(paper * (1 - fade) + wash * fade)
