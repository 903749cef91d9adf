"""The parts under the mark: work by rows of tiles gives what the whole gives, and strength goes where it is allowed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data, metrics

from nonesuch.provenance.watermark import detect, embed
from nonesuch.provenance.watermark.embedding import shaping
from nonesuch.provenance.watermark.pattern import luma

PAYLOAD = 0x1122334455667788


def photo() -> np.ndarray:
    return np.ascontiguousarray(data.coffee()[:400, :520])


@pytest.mark.parametrize("shape", [(400, 520), (128, 128), (129, 300), (64, 65)])
def test_rows_of_tiles_give_what_the_whole_gives(shape: tuple[int, int]) -> None:
    plane = luma.luma(photo()[: shape[0], : shape[1]])
    flat, deviation = luma.flattened(plane)
    assert np.allclose(luma.folded(plane), luma.fold(flat), atol=1e-3)
    groups, some = luma.folded_and_deviation(plane, 4)
    assert np.allclose(groups, luma.folded(plane))
    assert np.allclose(some, deviation[::4, ::4])


@pytest.mark.parametrize("quarters", [2, 3, 4])
def test_strength_is_a_power_of_local_contrast(quarters: int) -> None:
    plane = luma.luma(photo())
    around = shaping.surroundings(plane)
    strength = shaping.local_strength(plane, quarters)
    expected = np.minimum(around.variance + 0.5, 256.0) ** (quarters / 8) * around.hiding
    assert np.allclose(strength, expected, rtol=1e-3)


def test_busy_pictures_get_the_flatter_mark_and_calm_ones_the_proportional() -> None:
    chosen = {}
    for name, image in {"busy": data.grass(), "calm": data.moon()}.items():
        plane = image.astype(np.float32)
        host = shaping.ring_powers(luma.carriers(luma.folded(plane).sum(axis=0)) / luma.PASSED)
        limits = {"least_psnr": 44.0, "least_ssim": 0.99, "loudness": 1.0}
        shape = shaping.best_shape(shaping.sampled(plane), host / plane.size, **limits)
        chosen[name] = shape.quarters
    assert chosen == {"busy": 2, "calm": 4}


@pytest.mark.parametrize("name", ["grass", "moon", "camera"])
def test_quality_floors_on_busy_and_calm_pictures(name: str) -> None:
    before = np.repeat(getattr(data, name)()[..., None], 3, axis=2)
    after = embed(before, PAYLOAD)
    assert metrics.peak_signal_noise_ratio(before, after) >= 44.0
    assert metrics.structural_similarity(before[..., 0], after[..., 0]) >= 0.99


def test_quality_floor_where_hard_edges_stand_on_calm_ground() -> None:
    rng = np.random.default_rng(3)
    plane = np.full((512, 512), 90.0) + rng.normal(0.0, 1.0, (512, 512))
    plane[rng.integers(0, 512, 900), rng.integers(0, 512, 900)] = 250.0
    before = np.repeat(np.clip(np.rint(plane), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    after = embed(before, PAYLOAD)
    assert metrics.structural_similarity(before[..., 0], after[..., 0]) >= 0.99
    found = detect(after)
    assert found is not None
    assert found.payload == PAYLOAD


def test_painted_surfaces_stay_within_half_a_grey_level() -> None:
    flat = np.full((512, 512, 3), 140, np.uint8)
    change = embed(flat, PAYLOAD).astype(float) - 140
    assert np.sqrt((change**2).mean()) <= 0.65  # 0.55 and what rounding adds


@pytest.mark.parametrize("name", ["grass", "gravel", "brick"])
def test_strong_blur_of_busy_pictures_is_read(name: str) -> None:
    marked = embed(np.repeat(getattr(data, name)()[..., None], 3, axis=2), PAYLOAD)
    found = detect(np.asarray(cv2.GaussianBlur(marked, (0, 0), 2.0)))
    assert found is not None
    assert found.payload == PAYLOAD


def test_equalising_evens_out_the_spectrum_that_blur_bent() -> None:
    plane = luma.luma(photo())
    blurred = np.asarray(cv2.GaussianBlur(plane, (0, 0), 2.0), dtype=np.float32)
    spread = {}
    for way in (luma.flatten, luma.equalised):
        rings = shaping.ring_powers(luma.carriers(luma.fold(way(blurred)).sum(axis=0)))[3:14]
        spread[way] = float(rings.max() / rings.min())
    assert spread[luma.equalised] < 0.1 * spread[luma.flatten]
