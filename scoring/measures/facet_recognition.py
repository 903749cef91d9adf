"""Facet recognition: would the encoder name the right value of each facet among all of the sweep's?

Each candidate value is put where it stood in the prompt: for "a painting of a fox by Hokusai" the
candidates of the facet artist are "a painting of a fox by …" with every artist of the sweep. That asks
whether this fox is a Hokusai, not whether the image resembles the bare word, and is the prompt
template of zero-shot classification (Radford et al. 2021, arXiv:2103.00020, section 3.1.4).
"""

from __future__ import annotations

import math
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import InputError
from nonesuch.scoring.base import Column, Floats

if TYPE_CHECKING:
    from nonesuch.scoring.base import Batch, Caption, Setting

# All combinations of the facets' values are candidates of some image. Above so many texts (about 20 s
# of a GPU's or 10 min of a core's work with ViT-L-14) the bare values are compared instead.
MAX_CONTEXTS = 10_000


class Facets:
    """Rank and probability of the right value of each facet in `facet_texts`.

    For a facet with V values and an image with embedding e, the candidates' text embeddings t_1 … t_V give
    cosines e·t_v; rank is 1 + the number of values with a larger cosine than the right one's (1 is best),
    probability the softmax of logit_scale × cosine at the right value. A facet that the template does not
    name (it appears in the negative prompt only, say) and sweeps over MAX_CONTEXTS combinations use the bare
    value texts. The fact `facet_context` names the facets that were asked in the prompt.
    """

    name = "facets"

    def __init__(self, setting: Setting) -> None:
        self._encoder = setting.encoder
        self._texts = {facet: dict(values) for facet, values in setting.facet_texts.items()}
        for facet, values in self._texts.items():
            if not values:
                raise InputError(f"the facet {facet!r} has no values to be recognised among")
        self._template = setting.template
        self._named = _named_facets(setting.template, self._texts)
        self.facets: Sequence[str] = list(self._texts)
        self.facts = {"facet_context": ",".join(facet for facet in self._texts if facet in self._named)}

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        declared = [
            Column(
                "facet_context", "string", "facets whose values were compared inside the prompt; others bare"
            )
        ]
        for facet in facets:
            declared += [
                Column(f"rank_{facet}", "int32", f"rank of the right {facet} among the sweep's, 1 is best"),
                Column(
                    f"prob_{facet}", "float32", f"probability of the right {facet} among the sweep's, 0 to 1"
                ),
            ]
        return tuple(declared)

    def score(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        columns: dict[str, npt.NDArray[Any]] = {}
        for facet, values in self._texts.items():
            places = {value: place for place, value in enumerate(values)}
            right = np.array([places[self._value(caption, facet)] for caption in batch.captions], np.intp)
            cosines = self._cosines(facet, batch)
            own = np.take_along_axis(cosines, right[:, None], axis=1)
            columns[f"rank_{facet}"] = 1 + (cosines > own).sum(axis=1)
            logits = self._encoder.logit_scale * (cosines - own)
            columns[f"prob_{facet}"] = 1 / np.exp(np.minimum(logits, 80)).sum(axis=1)
        return columns

    def _cosines(self, facet: str, batch: Batch) -> Floats:
        """float32 [N, V]: each image against every value of `facet` in that image's own context."""
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, caption in enumerate(batch.captions):
            groups[self._candidates(facet, caption)].append(place)
        # one call, so that all new texts share batches
        everything = list(dict.fromkeys(text for group in groups for text in group))
        rows = {text: row for row, text in enumerate(everything)}
        vectors = self._encoder.texts(everything)
        cosines = np.empty((len(batch.captions), len(self._texts[facet])), np.float32)
        for candidates, members in groups.items():
            cosines[members] = batch.embeddings[members] @ vectors[[rows[text] for text in candidates]].T
        return cosines

    def _candidates(self, facet: str, caption: Caption) -> tuple[str, ...]:
        values = self._texts[facet]
        if facet not in self._named or self._template is None:
            return tuple(values.values())
        others = {name: self._texts[name][self._value(caption, name)] for name in self._named}
        return tuple(self._template.format(**{**others, facet: text}) for text in values.values())

    def _value(self, caption: Caption, facet: str) -> str:
        value = caption.facets.get(facet)
        if value not in self._texts[facet]:
            raise InputError(
                f"the caption's {facet} {value!r} is not among the sweep's values", where=caption.prompt
            )
        return value


def _named_facets(template: str | None, texts: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
    """The facets that can be exchanged inside the template; none when it holds anything else in braces."""
    if template is None:
        return frozenset()
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        return frozenset()
    contexts = math.prod(len(texts[name]) for name in fields & set(texts))
    return frozenset(fields) if fields <= set(texts) and contexts <= MAX_CONTEXTS else frozenset()
