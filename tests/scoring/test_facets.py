"""Facet recognition against its definition, spelled out picture by picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.foundation.errors import InputError
from nonesuch.foundation.images import RGB
from nonesuch.scoring import Batch, Caption, Encoder, open_scorers
from nonesuch.scoring.base import Floats
from nonesuch.scoring.measures.facet_recognition import MAX_CONTEXTS
from tests.scoring.samples import picture

TEMPLATE = "a painting of a {subject} by {artist}"
TEXTS = {
    "subject": {"panda": "panda", "fox": "fox", "elsa": "girl in a blue dress"},
    "artist": {"Hokusai": "Katsushika Hokusai", "Munch": "Edvard Munch"},
}


class Hashing:
    """An encoder of texts only: the direction of a text is drawn from its own bytes."""

    name, tag, preprocessing, precision, digest, dim = "hashing", "1", "none", "fp32", None, 8

    def __init__(self, logit_scale: float = 20.0) -> None:
        self.logit_scale = logit_scale
        self.asked: list[str] = []

    def images(self, images: Sequence[RGB]) -> Floats:
        raise AssertionError("facets work on the embeddings they are given")

    def texts(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        drawn = [np.random.default_rng([9, *text.encode()]).standard_normal(self.dim) for text in texts]
        vectors = np.array(drawn).reshape(-1, self.dim)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _embeddings(count: int, seed: int) -> Floats:
    vectors = np.random.default_rng(seed).standard_normal((count, Hashing.dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


cells = st.tuples(st.sampled_from(sorted(TEXTS["subject"])), st.sampled_from(sorted(TEXTS["artist"])))


@given(
    drawn=st.lists(cells, min_size=1, max_size=12),
    seed=st.integers(0, 1000),
    scale=st.floats(1, 100),
    in_prompt=st.booleans(),
)
def test_rank_and_probability_are_what_they_say(
    drawn: list[tuple[str, str]], seed: int, scale: float, in_prompt: bool
) -> None:
    encoder = Hashing(scale)
    [scorer] = open_scorers(["facets"], encoder, facet_texts=TEXTS, template=TEMPLATE if in_prompt else None)
    captions = [Caption("", {"subject": subject, "artist": artist}) for subject, artist in drawn]
    embeddings = _embeddings(len(drawn), seed)
    scores = scorer.score(Batch([picture(0)] * len(drawn), embeddings, captions))

    for place, caption in enumerate(captions):
        for facet, values in TEXTS.items():
            asked = {name: TEXTS[name][value] for name, value in caption.facets.items()}
            candidates = [
                TEMPLATE.format(**{**asked, facet: text}) if in_prompt else text for text in values.values()
            ]
            cosines = [float(embeddings[place] @ vector) for vector in encoder.texts(candidates)]
            right = list(values).index(caption.facets[facet])
            order = sorted(range(len(cosines)), key=lambda one: -cosines[one])
            weights = np.exp(scale * np.array(cosines))
            assert scores[f"rank_{facet}"][place] == 1 + order.index(right)
            assert scores[f"prob_{facet}"][place] == pytest.approx(weights[right] / weights.sum(), rel=1e-3)


def test_a_picture_of_the_prompt_itself_ranks_first() -> None:
    encoder = Hashing(100.0)
    [scorer] = open_scorers(["facets"], encoder, facet_texts=TEXTS, template=TEMPLATE)
    prompt = "a painting of a girl in a blue dress by Edvard Munch"
    batch = Batch(
        [picture(0)], encoder.texts([prompt]), [Caption(prompt, {"subject": "elsa", "artist": "Munch"})]
    )
    scores = scorer.score(batch)
    assert scores["rank_subject"][0] == scores["rank_artist"][0] == 1
    assert scores["prob_subject"][0] > 0.99
    assert scorer.facts["facet_context"] == "subject,artist"


def test_each_context_is_asked_for_once() -> None:
    encoder = Hashing()
    [scorer] = open_scorers(["facets"], encoder, facet_texts=TEXTS, template=TEMPLATE)
    captions = [Caption("", {"subject": "fox", "artist": artist}) for artist in ("Munch", "Hokusai") * 20]
    scorer.score(Batch([picture(0)] * 40, _embeddings(40, 1), captions))
    # subjects in two artists' contexts, artists in one subject's
    assert len(encoder.asked) == 2 * 3 + 2


@pytest.mark.parametrize(
    ("template", "context"),
    [
        (None, ""),
        ("a {subject}", "subject"),
        ("a {subject} in {place}", ""),  # something that is no facet with texts
        ("a {subject", ""),  # braces that are not a template
        ("nothing named", ""),
    ],
)
def test_facets_outside_the_template_are_compared_bare(template: str | None, context: str) -> None:
    encoder = Hashing()
    [scorer] = open_scorers(["facets"], encoder, facet_texts=TEXTS, template=template)
    scorer.score(Batch([picture(0)], _embeddings(1, 0), [Caption("", {"subject": "fox", "artist": "Munch"})]))
    assert scorer.facts["facet_context"] == context
    assert set(TEXTS["artist"].values()) <= set(encoder.asked)


def test_a_huge_sweep_is_compared_bare() -> None:
    side = int(MAX_CONTEXTS**0.5) + 1
    texts = {
        facet: {str(value): f"{facet} {value}" for value in range(side)} for facet in ("subject", "artist")
    }
    encoder = Hashing()
    [scorer] = open_scorers(["facets"], encoder, facet_texts=texts, template=TEMPLATE)
    scorer.score(Batch([picture(0)], _embeddings(1, 0), [Caption("", {"subject": "1", "artist": "2"})]))
    assert scorer.facts["facet_context"] == ""
    assert len(encoder.asked) == 2 * side


@pytest.mark.parametrize("facets", [{"subject": "fox"}, {"subject": "fox", "artist": "nobody"}])
def test_a_value_outside_the_sweep_is_named(facets: dict[str, str]) -> None:
    [scorer] = open_scorers(["facets"], Hashing(), facet_texts=TEXTS)
    with pytest.raises(InputError, match="artist"):
        scorer.score(Batch([picture(0)], _embeddings(1, 0), [Caption("", facets)]))


def test_a_facet_without_values_is_refused() -> None:
    with pytest.raises(InputError, match="artist"):
        open_scorers(["facets"], Hashing(), facet_texts={"artist": {}})


def test_hashing_is_an_encoder() -> None:
    encoder: Encoder = Hashing()
    assert encoder.texts(["a"]).shape == (1, 8)
