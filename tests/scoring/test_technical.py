"""Technical figures on pictures whose answers are known by construction."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.images import RGB
from nonesuch.scoring import Batch, Caption, Setting
from nonesuch.scoring.measures.technical import Technical
from tests.scoring.samples import picture


def _figures(image: RGB) -> dict[str, float]:
    scores = Technical(cast(Setting, None)).score(Batch([image], np.zeros((1, 1), np.float32), [Caption("")]))
    return {name: float(values[0]) for name, values in scores.items()}


def _grey(luma: np.ndarray) -> RGB:  # type: ignore[type-arg]
    return np.repeat(luma.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("level", "clipping"), [(0, 1), (2, 1), (3, 0), (128, 0), (252, 0), (253, 1), (255, 1)]
)
def test_a_single_colour(level: int, clipping: float) -> None:
    figures = _figures(_grey(np.full((64, 80), level)))
    assert figures == {"sharpness": 0, "contrast": 0, "clipping": clipping, "blankness": 1}


def test_half_black_half_white() -> None:
    figures = _figures(_grey(np.repeat([[0, 255]], 32, axis=1) * np.ones((64, 1))))
    assert figures["contrast"] == pytest.approx(0.5)
    assert figures["clipping"] == 1
    assert figures["blankness"] == 1  # the edge lies between two cells


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    luma = np.random.default_rng(0).integers(0, 256, (40, 50))
    padded = np.pad(luma, 1, mode="reflect")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    assert _figures(_grey(luma))["sharpness"] == pytest.approx(np.var(around - 4 * luma), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_blur_lowers_sharpness_and_fading_lowers_contrast(seed: int) -> None:
    image = picture(seed, 40, 40)
    whole, blurred = _figures(image), _figures(cv2.GaussianBlur(image, (0, 0), 2))
    faded = _figures((image // 3 + 100).astype(np.uint8))
    assert blurred["sharpness"] < whole["sharpness"] / 4
    assert faded["contrast"] == pytest.approx(whole["contrast"] / 3, rel=0.1)
    assert whole["blankness"] < 0.05


def test_blankness_is_the_empty_share() -> None:
    image = np.full((160, 160, 3), 200, np.uint8)
    image[:, :40] = np.random.default_rng(0).integers(0, 256, (160, 40, 3))
    assert _figures(image)["blankness"] == pytest.approx(0.75)


def test_colour_alone_is_not_blank() -> None:
    """Red and green of one luma: nothing for a grey eye, a picture all the same."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0], image[..., 1] = 98, 50
    image[::2] = (0, 100, 0)
    assert _figures(image)["contrast"] < 0.01
    assert _figures(image)["blankness"] == 0


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    low=st.integers(0, 255),
    span=st.integers(0, 255),
    seed=st.integers(0, 99),
)
def test_figures_stay_in_their_ranges(height: int, width: int, low: int, span: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(low, min(low + span, 255) + 1, (height, width, 3)).astype(np.uint8)
    figures = _figures(image)
    assert figures["sharpness"] >= 0
    assert 0 <= figures["contrast"] <= 0.5
    assert 0 <= figures["clipping"] <= 1
    assert 0 <= figures["blankness"] <= 1
