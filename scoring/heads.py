"""Aesthetic heads: small networks from an image embedding to a score, their sources, and the encoders they fit.

The public heads are .pth files whose digest is pinned here. The project's own format is two files of one
stem: STEM.safetensors with the linear layers, `N.weight` and `N.bias` in order of N, and STEM.json with
`activation` (what lies between the layers: "gelu", "relu" or "identity"), and, unless the encoder's
open_clip_model.safetensors lies in the same folder, `encoder_digest`, the SHA-256 of the encoder's weights
that the head was trained on. `name` is optional and defaults to the folder's.
"""

from __future__ import annotations

import http.client
import io
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from nonesuch.foundation.errors import DependencyError, InputError, ScoringError
from nonesuch.foundation.files import atomic_write, cache_dir, file_digest
from nonesuch.foundation.images import read_limited
from nonesuch.scoring.base import Encoder, Floats
from nonesuch.scoring.encoders import EMBEDDED

Activation = Literal["gelu", "relu", "identity"]

_MAX_BYTES = 32 << 20  # no head comes near it
_TIMEOUT = 60  # seconds without an answer while fetching


@dataclass(frozen=True, slots=True)
class PublicHead:
    """A published head, pinned by the digest of its file."""

    name: str
    url: str
    digest: str  # SHA-256 of the file
    encoders: tuple[tuple[str, str | None], ...]  # (name, tag) that make the embeddings; None: any tag


@dataclass(frozen=True, slots=True)
class Head:
    """Linear layers with one activation between them, for embeddings of length 1."""

    name: str
    digest: str  # SHA-256 of the weight file
    layers: tuple[tuple[Floats, Floats], ...]  # weight [out, in] and bias [out]; the last out is 1
    activation: Activation

    @property
    def dim(self) -> int:
        """Length of the embeddings it takes."""
        return int(self.layers[0][0].shape[1])

    def score(self, embeddings: Floats) -> Floats:
        """float32 [N] for float32 [N, D]."""
        values = embeddings
        for place, (weight, bias) in enumerate(self.layers):
            if place:
                values = _activate(values, self.activation)
            values = values @ weight.T + bias
        return np.asarray(values[:, 0], np.float32)


_B32 = (
    ("ViT-B-32", "openai"),
    ("ViT-B-32-quickgelu", "openai"),
    ("hf-hub:timm/vit_base_patch32_clip_224.openai", None),
)
_L14 = (
    ("ViT-L-14", "openai"),
    ("ViT-L-14-quickgelu", "openai"),
    ("hf-hub:timm/vit_large_patch14_clip_224.openai", None),
)
_LAION = "https://github.com/LAION-AI/aesthetic-predictor/raw/main"
_IMPROVED = "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main"

# The first that fits an encoder is its default.
PUBLIC_HEADS = (
    PublicHead(
        "improved-mlp-vit-l-14",
        f"{_IMPROVED}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
        "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        _L14,
    ),
    PublicHead(
        "laion-linear-vit-l-14",
        f"{_LAION}/sa_0_4_vit_l_14_linear.pth",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
        _L14,
    ),
    PublicHead(
        "laion-linear-vit-b-32",
        f"{_LAION}/sa_0_4_vit_b_32_linear.pth",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
        _B32,
    ),
)


def open_head(name: str | None, encoder: Encoder, *, online: bool) -> Head:
    """The head `name`, checked against the encoder that will make the embeddings.

    name: one of PUBLIC_HEADS, "embedded", the path of a head's .json file, or None for the encoder's default.
    Raises InputError when no head fits or the named one was trained on another encoder, DependencyError when
    its file isn't on this machine and may not be fetched, ScoringError when the file isn't what it should be.
    """
    if name is None:
        name = _default(encoder)
    if name == "embedded":
        return own_head(EMBEDDED / "aesthetic.json", encoder)
    if name.endswith(".json"):
        return own_head(Path(name), encoder)
    for public in PUBLIC_HEADS:
        if public.name == name:
            if not _fits(public, encoder):
                raise InputError(
                    f"the aesthetic head {name!r} doesn't fit the encoder {encoder.name}/{encoder.tag}",
                    hint=f"It was trained on {public.encoders[0][0]}/{public.encoders[0][1]}.",
                )
            return public_head(public, head_file(public, online=online))
    known = ", ".join(["embedded", *(public.name for public in PUBLIC_HEADS)])
    raise InputError(f"unknown aesthetic head {name!r}", hint=f"Known: {known}, or a head's .json file.")


def head_file(public: PublicHead, *, online: bool) -> Path:
    """The head's file in the cache, fetched first when it isn't there and `online`; its digest is checked."""
    path = cache_dir() / "aesthetic" / f"{public.name}.pth"
    if not path.is_file():
        if not online:
            raise DependencyError(
                f"the aesthetic head {public.name!r} is not on this machine",
                where=str(path),
                hint=f"Allow fetching it (online), or put the file of {public.url} there.",
            )
        data = _fetch(public.url)
        _check_digest(public, data, public.url)
        atomic_write(path, data)
    return path


def public_head(public: PublicHead, path: Path) -> Head:
    """The head from its .pth file. Raises ScoringError when the digest isn't the pinned one."""
    import torch

    data = read_limited(path, max_bytes=_MAX_BYTES)
    _check_digest(public, data, str(path))
    try:
        # from the bytes that were checked, never from the file a second time
        tensors = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
        layers = {str(key): value.double().numpy() for key, value in tensors.items()}
    except Exception as error:  # the unpickler and a file of something else raise many kinds
        raise ScoringError(f"is not an aesthetic head: {error}", where=str(path)) from error
    return Head(public.name, public.digest, _layers(layers, "identity", str(path)), "identity")


def own_head(card: Path, encoder: Encoder) -> Head:
    """A head in the project's own format. Raises InputError when it was trained on another encoder."""
    from safetensors.numpy import load

    path = card.with_suffix(".safetensors")
    for file in (card, path):
        if not file.is_file():
            raise DependencyError(
                "this aesthetic head's file is missing",
                where=str(file),
                hint="A head is STEM.json beside STEM.safetensors.",
            )
    data = read_limited(path, max_bytes=_MAX_BYTES)
    weights = card.parent / "open_clip_model.safetensors"
    try:
        facts: dict[str, Any] = json.loads(read_limited(card, max_bytes=_MAX_BYTES))
        name, activation = str(facts.get("name", card.resolve().parent.name)), facts["activation"]
        digest = facts["encoder_digest"] if "encoder_digest" in facts else file_digest(weights)
        tensors = {key: value.astype(np.float64) for key, value in load(data).items()}
        if activation not in get_args(Activation):
            raise ValueError(f"unknown activation {activation!r}")
    except Exception as error:  # json's and safetensors' own kinds, missing keys, no weights beside it
        raise ScoringError(f"is not an aesthetic head: {error!r}", where=str(card)) from error
    if digest != encoder.digest:
        raise InputError(
            f"the aesthetic head {name!r} was trained on another encoder than {encoder.name}/{encoder.tag}",
            where=str(card),
            hint="Use the head that came with the encoder, or train one for it.",
        )
    return Head(name, sha256(data).hexdigest(), _layers(tensors, activation, str(path)), activation)


def _default(encoder: Encoder) -> str:
    if encoder.name == "embedded":
        return "embedded"
    for public in PUBLIC_HEADS:
        if _fits(public, encoder):
            return public.name
    raise InputError(
        f"no aesthetic head is known for the encoder {encoder.name}/{encoder.tag}",
        hint="Leave the scorer 'aesthetic' out, name a head's .json file, or use ViT-L-14/openai.",
    )


def _fits(public: PublicHead, encoder: Encoder) -> bool:
    return any(encoder.name == name and tag in (None, encoder.tag) for name, tag in public.encoders)


def _layers(
    tensors: dict[str, npt.NDArray[np.float64]], activation: Activation, where: str
) -> tuple[tuple[Floats, Floats], ...]:
    """The layers in order, float32, from `weight` and `bias`, `N.weight` …, or `layers.N.weight` ….

    Without an activation they are folded into one, in float64: the improved predictor's "MLP" has dropout
    between its layers and nothing else, so that loses nothing.
    """
    stems = sorted((key[: -len("weight")] for key in tensors if key.endswith("weight")), key=_place)
    try:
        if {f"{stem}{part}" for stem in stems for part in ("weight", "bias")} != set(tensors) or not stems:
            raise ValueError(f"its tensors are {sorted(tensors)}")
        layers = [(tensors[f"{stem}weight"], tensors[f"{stem}bias"]) for stem in stems]
        weight, bias = layers[0]
        for after, more in layers[1:]:
            weight, bias = after @ weight, after @ bias + more
        if weight.shape[0] != 1 or any(w.shape[:1] != b.shape for w, b in layers):
            raise ValueError(f"its layers have the shapes {[w.shape for w, _ in layers]}")
    except (ValueError, IndexError) as error:
        raise ScoringError(f"is not an aesthetic head: {error}", where=where) from error
    if activation == "identity":
        layers = [(weight, bias)]
    return tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers)


def _place(stem: str) -> int:
    """N of 'N.' and 'layers.N.', 0 for a single layer without a number."""
    return next((int(part) for part in stem.split(".") if part.isdigit()), 0)


def _activate(values: Floats, activation: Activation) -> Floats:
    """GELU is the exact one of Hendrycks and Gimpel 2016 (arXiv:1606.08415), as torch's default."""
    if activation == "relu":
        return np.maximum(values, 0)
    from scipy.special import erf

    return np.asarray(values * 0.5 * (1 + erf(values / np.sqrt(2))), np.float32)


def _check_digest(public: PublicHead, data: bytes, where: str) -> None:
    digest = sha256(data).hexdigest()
    if digest != public.digest:
        raise ScoringError(
            f"is not the aesthetic head {public.name!r}: its SHA-256 is {digest}, not {public.digest}",
            where=where,
            hint="Remove the file; if it comes back like this, the published head has changed: report it.",
        )


def _fetch(url: str) -> bytes:
    """The bytes behind `url`, at most _MAX_BYTES. Raises DependencyError when they can't be had."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            data: bytes = answer.read(_MAX_BYTES + 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise DependencyError(
            f"can't be fetched: {error}", where=url, hint="Check the connection."
        ) from error
    if len(data) > _MAX_BYTES:
        raise ScoringError(f"is over {_MAX_BYTES:,} bytes, too large for a head", where=url)
    return data
