"""The types that scoring is made of: columns, encoders, scorers, captions and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.images import RGB

ColumnType = Literal["float32", "int32", "bool", "string"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a catalog, described in plain data so that other rooms need not import this one."""

    name: str  # lower case with underscores
    type: ColumnType  # the Arrow type's name
    doc: str  # meaning, range, unit


Floats = npt.NDArray[np.float32]


Precision = Literal["auto", "fp32", "bf16"]


class Encoder(Protocol):
    """A contrastive image-text model (Radford et al. 2021, arXiv:2103.00020), loaded and ready."""

    @property
    def name(self) -> str:
        """The model's name: 'embedded', an open_clip model, 'hf-hub:…' or 'local-dir:…'."""

    @property
    def tag(self) -> str:
        """What pins the weights: pretrained tag, hub revision, or the first 12 digits of their digest."""

    @property
    def preprocessing(self) -> str:
        """What happens to an image before the network: size, resize mode, interpolation, mean, std."""

    @property
    def precision(self) -> str:
        """'fp32', or 'bf16' for bfloat16 autocast."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the weight file, 64 hex digits, or None when it is not known."""

    @property
    def dim(self) -> int:
        """Length D of an embedding."""

    @property
    def logit_scale(self) -> float:
        """Factor from cosines to logits that the model was trained with (CLIP: about 100)."""

    def images(self, images: Sequence[RGB]) -> Floats:
        """Embeddings float32 [N, D] of length 1 for uint8 [H, W, 3] sRGB images of any sizes."""

    def texts(self, texts: Sequence[str]) -> Floats:
        """Embeddings float32 [N, D] of length 1; each distinct text is encoded once and kept."""


@dataclass(frozen=True, slots=True)
class Setting:
    """All that a scorer may need to know when it is opened."""

    encoder: Encoder  # the one whose embeddings it will see
    facet_texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # facet → value name → text
    template: str | None = None  # the prompt with {facet} in the facets' places
    aesthetic_head: str | None = None  # name or file of a head; None: the one that fits the encoder
    safety_threshold: float | None = None  # images whose safety is below it are flagged; None: see Safety
    online: bool = False  # whether weights may be fetched


class Scorer(Protocol):
    """One kind of score. Register the class itself: it is constructed with a Setting when a sweep opens it.

    A package adds its own under the entry point group `nonesuch.scorers`.
    """

    @property
    def name(self) -> str:
        """What a sweep file calls it."""

    @property
    def facets(self) -> Sequence[str]:
        """The facets it was opened for, handed to `columns`; empty where it needs none."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Values of its string columns, the same for every image."""

    @staticmethod
    def columns(facets: Sequence[str]) -> tuple[Column, ...]:
        """The columns it fills; `facets` are those that have texts. Called without any weights."""

    def score(self, batch: Batch) -> Mapping[str, npt.NDArray[Any]]:
        """One array [N] for each of its columns that is not a string."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What one image was asked to show."""

    prompt: str  # the full prompt as it was drawn
    facets: Mapping[str, str] = field(default_factory=dict)  # facet name → value name


@dataclass(frozen=True, slots=True)
class Batch:
    """What a scorer sees: N images with their embeddings, in one order."""

    images: Sequence[RGB]  # uint8 [H, W, 3] each
    embeddings: Floats  # float32 [N, D], length 1
    captions: Sequence[Caption]


@dataclass(frozen=True, slots=True)
class Scores:
    """What scoring N images gives; `columns` and `facts` together fill scoring_columns()."""

    columns: dict[str, npt.NDArray[Any]]  # one value for each image: float32, int32 or bool [N]
    embeddings: Floats  # float32 [N, D], length 1
    facts: dict[str, str]  # the same for every image: encoder, preprocessing, head, …
