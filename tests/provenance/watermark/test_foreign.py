"""Marks of other programs, made by the real invisible-watermark package (see data/README.md), and none elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from nonesuch.provenance.watermark.other_packages import TARGET, chance_agreement, read_foreign

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("file", "name", "channels"),
    [
        ("sd1.png", "StableDiffusionV1", "rgb"),
        ("sdxl.png", "SDXL", "rgb"),
        ("sdxl-swapped.png", "SDXL", "bgr"),
    ],
)
def test_known_marks_are_read(file: str, name: str, channels: str) -> None:
    found = read_foreign(np.asarray(Image.open(DATA / file).convert("RGB")))
    assert [(mark.name, mark.channels) for mark in found] == [(name, channels)]
    assert found[0].false_alarm <= TARGET
    assert found[0].matched / found[0].length > 0.9


def test_crop_by_one_block_loses_the_mark() -> None:
    marked = np.asarray(Image.open(DATA / "sdxl.png").convert("RGB"))
    assert read_foreign(np.ascontiguousarray(np.pad(marked, ((0, 0), (4, 20), (0, 0)), "edge"))) == []


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "chelsea", "gravel"])
def test_unmarked_photographs_have_none(name: str) -> None:
    picture = getattr(data, name)()
    rgb = np.repeat(picture[..., None], 3, 2) if picture.ndim == 2 else picture
    assert read_foreign(np.ascontiguousarray(rgb)) == []


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (17, 130, 200)])
def test_flat_colours_have_none(colour: tuple[int, int, int]) -> None:
    assert read_foreign(np.full((512, 512, 3), colour, np.uint8)) == []


def test_small_pictures_have_none() -> None:
    assert read_foreign(np.zeros((255, 255, 3), np.uint8)) == []


@settings(max_examples=50)
@given(st.lists(st.floats(-1, 1, allow_nan=False), min_size=8, max_size=12), st.floats(0, 12))
def test_bound_holds_for_every_sign_pattern(means: list[float], agreement: float) -> None:
    values = np.array(means)
    signs = 1 - 2 * ((np.arange(2 ** len(means))[:, None] >> np.arange(len(means))) & 1)
    share = float(((signs @ values) >= agreement).mean())
    assert share <= chance_agreement(values, agreement) + 1e-12


def test_full_agreement_costs_two_to_the_length() -> None:
    assert chance_agreement(np.ones(48), 48.0) == pytest.approx(2.0**-48, rel=0.01)
