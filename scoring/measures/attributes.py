"""Zero-shot attributes of stored image embeddings: which of a few words is nearest to each image.

The answer is the encoder's, learnt from captions of the web: it says how images look to that model, never who or
what is shown. Zero-shot classification: Radford et al. 2021 (arXiv:2103.00020), section 3.1; its biases: section 7.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from nonesuch.foundation.errors import InputError
from nonesuch.scoring.base import Encoder, Floats

TEMPLATES: Final = ("a picture of a {}", "a photo of a {}", "a painting of a {}", "a drawing of a {}")
UNSURE: Final = "(unsure)"  # no attribute reaches the share that is asked for
MAX_SETS: Final = 32


@dataclass(frozen=True, slots=True)
class AttributeShare:
    """How often one attribute was found among images of one group."""

    attribute: str
    count: int  # images for which it was the likeliest, and likely enough
    images: int  # of the group
    share: float  # count / images
    low: float  # Wilson's 95 % interval of the share (Wilson 1927)
    high: float
    probability: float  # mean softmax over the set; NaN for (unsure)


def parse_attributes(text: str) -> tuple[tuple[str, ...], ...]:
    """Sets of attributes from "woman,man;young person,old person". Raises InputError for a set of fewer than two."""
    sets = tuple(
        tuple(dict.fromkeys(word.strip() for word in part.split(",") if word.strip()))
        for part in text.split(";")
        if part.strip()
    )
    if not sets or any(len(one) < 2 for one in sets) or len(sets) > MAX_SETS:
        raise InputError(
            "each set of attributes needs two or more, and there is at least one set",
            where="--attributes",
            hint='For example "woman,man;young person,old person".',
        )
    return sets


def probabilities(encoder: Encoder, embeddings: Floats, attributes: Sequence[str]) -> Floats:
    """Softmax over the attributes of each image, float32 [N, attributes]; texts are means over TEMPLATES."""
    texts = [template.format(name) for name in attributes for template in TEMPLATES]
    vectors = encoder.texts(texts).reshape(len(attributes), len(TEMPLATES), -1).mean(axis=1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = encoder.logit_scale * (np.asarray(embeddings, np.float32) @ vectors.T)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def shares(
    found: Floats, attributes: Sequence[str], rows: npt.NDArray[np.bool_], *, sure: float
) -> list[AttributeShare]:
    """The distribution of the attributes over the chosen rows; images whose best is below `sure` count as unsure."""
    chosen = found[rows]
    best = np.where(chosen.max(axis=1) >= sure, chosen.argmax(axis=1), len(attributes))
    result = []
    for place, name in enumerate([*attributes, UNSURE]):
        count = int(np.sum(best == place))
        interval = binomtest(count, len(chosen)).proportion_ci(method="wilson") if len(chosen) else (0.0, 1.0)
        low, high = float(interval[0]), float(interval[1])
        mean = float(chosen[:, place].mean()) if place < len(attributes) and len(chosen) else math.nan
        share = count / len(chosen) if len(chosen) else 0.0
        result.append(AttributeShare(name, count, len(chosen), share, low, high, mean))
    return result
