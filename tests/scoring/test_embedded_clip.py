"""The shipped CLIP and its aesthetic head, with no option and no network: the scores of a first sweep."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nonesuch.foundation.errors import DependencyError
from nonesuch.foundation.images import RGB, decode_rgb
from nonesuch.scoring import (
    DEFAULT_SCORERS,
    Caption,
    Encoder,
    Scores,
    open_encoder,
    open_scorers,
    score_images,
)
from nonesuch.scoring.encoders import EMBEDDED

pytestmark = pytest.mark.slow

ARTISTS = {
    "hokusai": "Katsushika Hokusai",
    "seurat": "Georges Seurat",
    "picasso": "Pablo Picasso",
    "vangogh": "Vincent van Gogh",
    "warhol": "Andy Warhol",
    "munch": "Edvard Munch",
    "tiffany": "Louis Comfort Tiffany",
    "turner": "J. M. W. Turner",
    "mondrian": "Piet Mondrian",
}
TEMPLATE = "a painting of a {subject} by {artist}"
FILES = sorted((Path(__file__).parent / "data" / "drawn").glob("*.png"))
FACETS = [dict(zip(("subject", "artist"), file.stem.split("-"), strict=True)) for file in FILES]
TEXTS = {"subject": {facets["subject"]: facets["subject"] for facets in FACETS}, "artist": ARTISTS}
IMAGES = [decode_rgb(file.read_bytes(), where=file.name) for file in FILES]


@pytest.fixture(scope="module")
def shipped() -> Encoder:
    return open_encoder(device="cpu")


def _captions(shift: int = 0) -> list[Caption]:
    asked = FACETS[shift:] + FACETS[:shift]
    return [
        Caption(TEMPLATE.format(subject=one["subject"], artist=ARTISTS[one["artist"]]), one) for one in asked
    ]


def _score(encoder: Encoder, images: list[RGB], captions: list[Caption]) -> Scores:
    opened = open_scorers(DEFAULT_SCORERS, encoder, facet_texts=TEXTS, template=TEMPLATE)
    return score_images(images, captions, encoder, opened)


def test_every_row_names_what_scored_it(shipped: Encoder) -> None:
    facts = _score(shipped, IMAGES, _captions()).facts
    assert facts["encoder"] == "embedded"
    assert facts["encoder_digest"].startswith(facts["encoder_tag"])
    assert facts["encoder_preprocessing"].startswith("128x128 ")
    assert facts["aesthetic_head"] == EMBEDDED.name
    assert len(facts["aesthetic_digest"]) == 64
    assert facts["facet_context"] == "subject,artist"


def test_drawn_subjects_and_artists_are_recognised(shipped: Encoder) -> None:
    right, wrong = _score(shipped, IMAGES, _captions()), _score(shipped, IMAGES, _captions(3))
    assert (right.columns["rank_artist"] == 1).mean() >= 0.8
    assert (right.columns["rank_subject"] == 1).mean() >= 0.8
    assert right.columns["prob_subject"].mean() > wrong.columns["prob_subject"].mean() + 0.3
    assert (right.columns["alignment"] > wrong.columns["alignment"]).mean() >= 0.8


@pytest.mark.parametrize("damage", ["blur", "noise", "faded"])
def test_clean_pictures_please_more_than_damaged_ones(shipped: Encoder, damage: str) -> None:
    rng = np.random.default_rng(0)

    def spoil(image: RGB) -> RGB:
        if damage == "blur":
            return np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8)
        if damage == "noise":
            return np.clip(image + rng.normal(0, 50, image.shape), 0, 255).astype(np.uint8)
        return (image * 0.3 + 150).astype(np.uint8)

    clean = _score(shipped, IMAGES, _captions()).columns["aesthetic"]
    spoilt = _score(shipped, [spoil(image) for image in IMAGES], _captions()).columns["aesthetic"]
    assert (clean > spoilt).mean() >= 0.8


def test_it_flags_nothing_unless_told_to(shipped: Encoder) -> None:
    scores = _score(shipped, IMAGES, _captions())
    assert not scores.columns["safety_flag"].any()
    assert scores.facts["safety_threshold"] == "0"
    middle = float(np.median(scores.columns["safety"]))
    told = score_images(
        IMAGES, _captions(), shipped, open_scorers(["safety"], shipped, safety_threshold=middle)
    )
    assert 0 < told.columns["safety_flag"].sum() < len(IMAGES)


def test_a_prompt_longer_than_the_context_is_cut_not_refused(shipped: Encoder) -> None:
    assert np.isfinite(shipped.texts(["a panda " * 400])).all()


def test_missing_files_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nonesuch.scoring.encoders.EMBEDDED", tmp_path)
    with pytest.raises(DependencyError, match="embedded CLIP"):
        open_encoder()
