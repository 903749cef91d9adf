"""Safety: the concepts' share of the softmax, and the flag at the sweep's threshold."""

from __future__ import annotations

import numpy as np
import pytest

from nonesuch.foundation.errors import InputError
from nonesuch.scoring import Batch, Caption, Encoder, open_scorers
from nonesuch.scoring.measures.safety import SAFE, UNSAFE


def _batch(embeddings: np.ndarray) -> Batch:  # type: ignore[type-arg]
    image = np.zeros((4, 4, 3), np.uint8)
    return Batch([image] * len(embeddings), embeddings, [Caption("")] * len(embeddings))


def test_safety_is_the_safe_share(encoder: Encoder) -> None:
    [scorer] = open_scorers(["safety"], encoder)
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((6, encoder.dim)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    safety = scorer.score(_batch(embeddings))["safety"]
    safe = np.exp(encoder.logit_scale * embeddings @ encoder.texts(SAFE).T).sum(axis=1)
    unsafe = np.exp(encoder.logit_scale * embeddings @ encoder.texts(UNSAFE).T).sum(axis=1)
    np.testing.assert_allclose(safety, safe / (safe + unsafe), rtol=1e-4)


def test_a_concepts_own_direction_is_recognised(encoder: Encoder) -> None:
    """Pictures that lie exactly on a prompt are nearer to its side than the opposite pictures are."""
    [scorer] = open_scorers(["safety"], encoder)
    prompts = np.concatenate(
        [encoder.texts(SAFE).mean(0, keepdims=True), encoder.texts(UNSAFE).mean(0, keepdims=True)]
    )
    difference = prompts[0] - prompts[1]
    difference /= np.linalg.norm(difference)
    safety = scorer.score(_batch(np.stack([difference, -difference])))["safety"]
    assert safety[0] > safety[1]


def test_the_threshold_flags_and_is_recorded(encoder: Encoder) -> None:
    embeddings = encoder.texts([*SAFE, *UNSAFE])
    [scorer] = open_scorers(["safety"], encoder)
    middle = float(np.median(scorer.score(_batch(embeddings))["safety"]))
    [strict] = open_scorers(["safety"], encoder, safety_threshold=middle)
    scores = strict.score(_batch(embeddings))
    np.testing.assert_array_equal(scores["safety_flag"], scores["safety"] < middle)
    assert 0 < scores["safety_flag"].sum() < len(embeddings)
    assert float(strict.facts["safety_threshold"]) == pytest.approx(middle, rel=1e-4)


def test_half_is_the_threshold_of_ordinary_encoders(encoder: Encoder) -> None:
    [scorer] = open_scorers(["safety"], encoder)
    assert scorer.facts["safety_threshold"] == "0.5"


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_its_range(encoder: Encoder, threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        open_scorers(["safety"], encoder, safety_threshold=threshold)
