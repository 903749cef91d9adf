"""Sizes, tilts and their mixtures: the payload comes back, and what was done to the picture is told rightly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from nonesuch.provenance.watermark import detect, embed
from nonesuch.provenance.watermark.detecting import geometry, message, scan
from nonesuch.provenance.watermark.pattern import bounds, layout, luma

pytestmark = pytest.mark.slow

PAYLOAD = 0x0123456789ABCDEF


@pytest.fixture(scope="module")
def marked() -> np.ndarray:
    return embed(np.ascontiguousarray(data.astronaut()), PAYLOAD)


@pytest.fixture(scope="module")
def calm() -> np.ndarray:
    return embed(np.repeat(data.moon()[..., None], 3, axis=2), PAYLOAD)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC))


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=way))


@pytest.mark.parametrize("factor", [0.5, 0.63, 0.9, 1.31, 2.0])
def test_unknown_scale(marked: np.ndarray, factor: float) -> None:
    found = detect(scaled(marked, factor))
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.transform.scale == pytest.approx(factor, rel=0.01)
    assert found.transform.rotation == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("degrees", [-5.0, 1.3])
def test_unknown_rotation(marked: np.ndarray, degrees: float) -> None:
    found = detect(turned(marked, degrees))
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.transform.rotation == pytest.approx(degrees, abs=0.5)
    assert found.transform.scale == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("degrees", [3.0, 30.0])
def test_flipped_turned_and_scaled(calm: np.ndarray, degrees: float) -> None:
    found = detect(scaled(turned(np.ascontiguousarray(calm[:, ::-1]), degrees), 0.8))
    assert found is not None
    assert found.payload == PAYLOAD
    assert found.transform.flip
    assert found.transform.rotation == pytest.approx(degrees, abs=0.5)
    assert found.transform.scale == pytest.approx(0.8, rel=0.01)


def test_aligned_search_does_not_look_at_scales(marked: np.ndarray) -> None:
    assert detect(scaled(marked, 0.63), search="aligned") is None


def test_autocorrelation_finds_the_lattice(calm: np.ndarray) -> None:
    flat = luma.flatten(luma.luma(scaled(turned(calm, -7.0), 1.2)))
    best = geometry.candidates(flat, 4)[0]
    assert best.scale == pytest.approx(1.2, rel=0.01)
    assert best.rotation == pytest.approx(-7.0, abs=0.5)


@pytest.mark.parametrize("shape", [(48, 48), (64, 900), (50, 51), (700, 49)])
def test_odd_shapes_are_searched_without_harm(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert detect(noise) is None


def test_a_scan_looks_at_no_more_than_its_bound_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    heights = []

    def counted(*given: object) -> float:
        heights.append(pilot_height(*given))
        return heights[-1]

    pilot_height = message.pilot_height
    monkeypatch.setattr(message, "pilot_height", counted)
    guesses = scan.scan(luma.flatten(luma.luma(np.ascontiguousarray(data.astronaut()))), layout.PUBLIC_KEY)
    assert len(guesses) == bounds.SCAN_KEPT
    assert guesses[0].score == max(heights)
    assert bounds.SCAN_HYPOTHESES - 16 < len(heights) <= bounds.SCAN_HYPOTHESES
