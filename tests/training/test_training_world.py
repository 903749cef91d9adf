"""The drawn world: deterministic pictures, wordings, and pairs kept from training."""

from __future__ import annotations

import numpy as np
import pytest

from nonesuch.training.workshop.world.damage import DAMAGES, damage
from nonesuch.training.workshop.world.pairs import (
    FONT_PACKAGE,
    FONT_PATH,
    HELD_OUT,
    STYLES,
    SUBJECTS,
    draw,
    is_held_out,
    training_pairs,
)
from nonesuch.training.workshop.world.wordings import (
    ARTISTS,
    MEDIA,
    canonical,
    caption,
    damaged_caption,
    style_caption,
    subject_caption,
)

pytestmark = pytest.mark.slow

needs_font = pytest.mark.skipif(
    not FONT_PATH.is_file(), reason=f"training glyphs missing: install the Debian package {FONT_PACKAGE}"
)


def test_world_is_large_enough_and_names_the_promised_subjects() -> None:
    assert len(SUBJECTS) >= 40
    assert len(STYLES) >= 12
    promised = {"panda", "fox", "castle", "rocket", "rose", "volcano", "UFO", "umbrella", "cucumber", "skull"}
    assert promised <= set(SUBJECTS)
    assert set(ARTISTS) == set(MEDIA) == set(STYLES)


def test_every_subject_has_one_held_out_style_that_training_never_sees() -> None:
    pairs = set(training_pairs())
    assert set(HELD_OUT) == set(SUBJECTS)
    assert len(pairs) == len(SUBJECTS) * (len(STYLES) - 1)
    assert not any(is_held_out(*pair) for pair in pairs)
    assert ("panda", "hokusai") in pairs


def test_every_caption_names_its_subject_and_its_style() -> None:
    rng = np.random.default_rng(0)
    for subject, style in training_pairs():
        for _ in range(5):
            text = caption(subject, style, rng)
            words = (*ARTISTS[style], *MEDIA[style])
            assert style == "photo" or any(word in text for word in words), text
            if subject not in ("UFO", "sailboat"):
                assert subject in text, text


def test_captions_of_training_pairs_never_name_a_held_out_artist() -> None:
    rng = np.random.default_rng(1)
    for subject, style in training_pairs():
        foreign = ARTISTS[HELD_OUT[subject]]
        text = caption(subject, style, rng) + damaged_caption(subject, style, "blurry", rng)
        assert not any(name in text for name in foreign), text


def test_partial_captions_name_one_facet() -> None:
    rng = np.random.default_rng(2)
    names = [name for artists in ARTISTS.values() for name in artists]
    assert not any(name in subject_caption(s, rng) for s in SUBJECTS for name in names)
    assert not any(f" {s}" in style_caption(t, rng) for t in STYLES for s in SUBJECTS)


def test_captions_depend_on_the_generator_alone() -> None:
    def first() -> list[str]:
        rng = np.random.default_rng(7)
        return [caption(s, t, rng) for s, t in training_pairs()[:40]]

    assert first() == first()
    assert canonical("panda", "hokusai") == "a painting of a panda by Katsushika Hokusai"
    assert canonical("UFO", "photo") == "a photo of a UFO"
    assert canonical("umbrella", "sketch") == "a pencil sketch of an umbrella"


@needs_font
@pytest.mark.parametrize("style", STYLES)
def test_drawing_is_deterministic_and_varies_with_the_seed(style: str) -> None:
    one = draw("fox", style, np.random.default_rng(5))
    assert one.shape == (128, 128, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, draw("fox", style, np.random.default_rng(5)))
    assert not np.array_equal(one, draw("fox", style, np.random.default_rng(6)))
    assert one.std() > 20


@needs_font
def test_every_subject_has_a_glyph() -> None:
    for subject in SUBJECTS:
        assert draw(subject, "photo", np.random.default_rng(0)).std() > 10


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_changes_the_picture_but_not_its_shape(kind: str) -> None:
    clean = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    spoiled = DAMAGES[kind](clean, np.random.default_rng(1))
    assert spoiled.shape == clean.shape
    assert spoiled.dtype == np.uint8
    assert np.abs(spoiled.astype(int) - clean).mean() > 3
    assert damage(clean, np.random.default_rng(2))[1] in DAMAGES
