"""What many marked pictures give away, and how rarely an unmarked one is taken for marked."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from nonesuch.provenance.watermark import detect, embed
from nonesuch.provenance.watermark.detecting import message
from nonesuch.provenance.watermark.pattern import bounds, layout, luma

pytestmark = pytest.mark.slow

PAYLOAD = 77


def cuts(count: int, side: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    sources = [data.astronaut(), data.coffee(), data.rocket(), data.chelsea()]
    found = []
    for number in range(count):
        source = sources[number % len(sources)]
        top, left = (int(rng.integers(0, n - side)) for n in source.shape[:2])
        found.append(np.ascontiguousarray(source[top : top + side, left : left + side]))
    return found


def test_averaging_a_thousand_marked_pictures_reveals_nothing() -> None:
    # the strongest form: one payload throughout, and the attacker even has the originals to subtract
    total = np.zeros((128, 128, 3))
    alone = 0.0
    for cut in cuts(1000, 128):
        change = embed(cut, PAYLOAD).astype(float) - cut
        total += change
        alone += float((change**2).mean()) / 1000
    average = total / 1000
    # no common pattern: what is left is what a thousand independent patterns leave, give or take a half
    assert float((average**2).mean()) < 1.5 * alone / 1000
    revealed = np.clip(np.rint(128 + average * 10 / average.std()), 0, 255).astype(np.uint8)
    assert detect(revealed) is None
    groups = luma.carriers(luma.fold(luma.flatten(luma.luma(revealed))))
    assert message.pilot_height(groups, layout.PUBLIC_KEY) < bounds.ALIGNED_THRESHOLD


def test_same_payload_looks_different_on_different_pictures() -> None:
    one, other = cuts(2, 256)
    changes = [embed(cut, PAYLOAD).astype(float)[..., 0] - cut[..., 0] for cut in (one, other)]
    likeness = np.corrcoef(changes[0].ravel(), changes[1].ravel())[0, 1]
    assert abs(likeness) < 0.2


def test_even_on_flat_pictures_the_place_varies_with_the_payload() -> None:
    flat = np.full((128, 128, 3), 128, np.uint8)
    changes = [embed(flat, payload)[..., 0].astype(float) - 128 for payload in range(12)]
    likeness = np.corrcoef(np.stack([change.ravel() for change in changes]))
    assert np.abs(likeness - np.eye(12)).max() < 0.5


def test_embedding_is_deterministic() -> None:
    (cut,) = cuts(1, 200)
    assert (embed(cut, PAYLOAD) == embed(cut, PAYLOAD)).all()


@pytest.mark.parametrize("kind", ["noise", "flat", "gradient", "stripes", "photograph"])
def test_unmarked_pictures_raise_no_alarm(kind: str) -> None:
    rng = np.random.default_rng(7)
    if kind == "noise":
        pictures = [rng.integers(0, 256, (160, 160, 3)).astype(np.uint8) for _ in range(2)]
    elif kind == "flat":
        pictures = [np.full((160, 160, 3), level, np.uint8) for level in (0, 90)]
    elif kind == "gradient":
        pictures = [np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, axis=2)]
    elif kind == "stripes":
        pictures = [
            np.repeat((np.indices((256, 256)).sum(0) // 8 % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
        ]
    else:
        pictures = cuts(2, 200)
    assert [detect(picture) for picture in pictures] == [None] * len(pictures)


def test_bound_is_the_one_that_is_promised() -> None:
    whole = bounds.ALIGNED_BOUND + bounds.SEARCH_BOUND
    assert whole <= bounds.TARGET * (1 + 1e-9)
    by_pilot = bounds.false_alarm_bound(bounds.ALIGNED_THRESHOLD, 1, 1)
    # the rest is what agreement of pilot and message may cost, over all 2^64 messages and every hypothesis
    steps = (7.5 - bounds.LEAST_PILOT) / 0.5 + 1
    hypotheses = 8 * 128 * 128 * 16 * (1 + bounds.GEOMETRIES) * steps
    by_agreement = hypotheses * 2.0**64 * np.exp(-(bounds.AGREEMENT**2) / 2)
    assert by_pilot + by_agreement == pytest.approx(bounds.ALIGNED_BOUND)


@pytest.mark.parametrize(
    ("pilot", "message", "believed"),
    [(5.0, 12.6, True), (5.4, 12.3, False), (3.4, 30.0, False), (20.0, 10.0, False), (20.0, 11.5, True)],
)
def test_agreement_needs_pilot_and_message(pilot: float, message: float, believed: bool) -> None:
    assert bounds.agrees(pilot, message) is believed


def test_pilot_statistic_keeps_its_tail() -> None:
    # over the draw of the key, for one fixed picture: P(z >= t) <= exp(-t^2 / 2) at a fixed shift
    values = luma.carriers(luma.fold(luma.flatten(luma.luma(cuts(1, 256)[0])))).sum(axis=0)
    heights = []
    for number in range(300):
        for variant in layout.layouts(number.to_bytes(4, "big")):
            carriers = values[variant.pilot]
            scale = np.sqrt(0.5 * float((np.abs(carriers) ** 2).sum()))
            heights.append(float((carriers * variant.pilot_values.conj()).real.sum()) / scale)
    drawn = np.array(heights)
    for height in (1.0, 1.5, 2.0, 2.5):
        assert (drawn >= height).mean() <= np.exp(-(height**2) / 2)
